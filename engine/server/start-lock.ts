// A lock for the start of an engine. Its holder looks whether another engine listens, removes the socket file that a
// killed one left, and listens itself.
import { readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { startTicks } from '../machine/process-identity';

/** How often a held lock is looked at again, and for how long. The work that it guards takes milliseconds. */
const POLL_MILLISECONDS = 15;
const PATIENCE_MILLISECONDS = 10_000;
/**
 * Some systems do not tell when a process began. An owner that seems to be alive for this long is then taken for
 * another process that has got its number.
 */
const STALE_MILLISECONDS = PATIENCE_MILLISECONDS / 2;

const FREE = 'free';

/**
 * Runs `work` while holding the lock `file`. A lock that a killed process left behind is taken over.
 *
 * The lock is a row of links `file.1`, `file.2`… The last link says who holds the lock. Making a link fails where one
 * of that name exists, and the link has its text from the start. The lock is taken, taken over and given back by making
 * the next link; only then are the earlier links removed. So a process that finds a dead owner cannot remove the lock
 * that somebody else has taken meanwhile.
 * @throws Error where a living process holds the lock for too long, or an error of the file system.
 */
export async function withStartLock<T>(file: string, work: () => Promise<T>): Promise<T> {
	const own = `${process.pid}.${startTicks(process.pid) ?? ''}`;
	const held = await take(file, own);
	try {
		return await work();
	} finally {
		try {
			symlinkSync(FREE, `${file}.${held + 1}`);
			removeBefore(file, held + 1);
		} catch {
			// The folder has gone, or another process has taken the lock for abandoned.
		}
	}
}

async function take(file: string, own: string): Promise<number> {
	const began = performance.now();
	let seen = { last: 0, since: began };
	for (;;) {
		const last = generations(file).at(-1) ?? 0;
		// The age is measured from when this process first saw the link. The link's own time comes from a clock that may
		// have been set since.
		if (last !== seen.last) seen = { last, since: performance.now() };
		const owner = last === 0 ? FREE : ownerOf(`${file}.${last}`);
		// The link was removed meanwhile, so there is a later one.
		if (owner === undefined) continue;
		if (owner === FREE || !isAlive(owner, performance.now() - seen.since)) {
			if (makeLink(own, `${file}.${last + 1}`)) {
				// A list that is read while links come and go may lack the last one. If the list ends with the new link, no
				// later one has been made.
				if (generations(file).at(-1) === last + 1) {
					removeBefore(file, last + 1);
					return last + 1;
				}
				rmSync(`${file}.${last + 1}`, { force: true });
			}
			continue;
		}
		if (performance.now() - began > PATIENCE_MILLISECONDS) {
			const processId = owner.split('.')[0];
			throw new Error(`process ${processId} is starting there and does not get on; end it, or remove ${file}.${last}`);
		}
		await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
	}
}

/** The numbers of the lock's links, ascending. */
function generations(file: string): number[] {
	const prefix = `${path.basename(file)}.`;
	return readdirSync(path.dirname(file))
		.filter((name) => name.startsWith(prefix) && /^[1-9]\d{0,14}$/.test(name.slice(prefix.length)))
		.map((name) => Number(name.slice(prefix.length)))
		.sort((a, b) => a - b);
}

function removeBefore(file: string, generation: number): void {
	for (const earlier of generations(file)) {
		if (earlier >= generation) return;
		try {
			rmSync(`${file}.${earlier}`, { force: true });
		} catch {
			// A folder that somebody else gave such a name does not count as a link, so it is in nobody's way.
		}
	}
}

/** @returns false where there is a link of that name already. */
function makeLink(text: string, link: string): boolean {
	try {
		symlinkSync(text, link);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
		throw error;
	}
}

/** The text of a link. Undefined where the link is gone. Anything else of that name belongs to nobody. */
function ownerOf(link: string): string | undefined {
	try {
		return readlinkSync(link);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		return FREE;
	}
}

/**
 * Whether the process that a link names is alive.
 * @param held milliseconds for which this process has seen the owner hold the lock.
 */
function isAlive(owner: string, held: number): boolean {
	const [, id, start] = /^(\d{1,10})\.(\d*)$/.exec(owner) ?? [];
	const processId = Number(id);
	if (!processId) return false;
	try {
		process.kill(processId, 0);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
	}
	return start === '' ? held < STALE_MILLISECONDS : startTicks(processId) === start;
}
