// One engine at a time looks whether another one listens, removes what a killed one left, and listens itself.
import { readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { startTicks } from '../machine/process-identity';

/** How often a lock that is held is looked at again, and for how long; what it guards takes milliseconds. */
const POLL_MILLISECONDS = 15;
const PATIENCE_MILLISECONDS = 10_000;
/** Where the system does not tell when a process began, an owner that is there for this long is another process with its number. */
const STALE_MILLISECONDS = PATIENCE_MILLISECONDS / 2;

const FREE = 'free';

/**
 * Runs `work` while holding the lock `file`. A lock that a killed process left behind is taken over.
 *
 * The lock is a row of links `file.1`, `file.2`…, whose last one says who holds it: making a link fails where there is one
 * already, and brings its text along. It is taken, taken over and given back by making the next one; only then are the earlier
 * ones removed. So whoever finds a dead owner cannot remove the lock that somebody else has taken meanwhile.
 * @throws Error where a living process holds it for too long, or what the file system says.
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
			// The folder has gone, or another process has taken it for abandoned.
		}
	}
}

async function take(file: string, own: string): Promise<number> {
	const began = performance.now();
	let seen = { last: 0, since: began };
	for (;;) {
		const last = generations(file).at(-1) ?? 0;
		// As long as we have looked: the link's own time goes by a clock that may have been set since.
		if (last !== seen.last) seen = { last, since: performance.now() };
		const owner = last === 0 ? FREE : ownerOf(`${file}.${last}`);
		// It was removed meanwhile, so that there is a later one.
		if (owner === undefined) continue;
		if (owner === FREE || !isAlive(owner, performance.now() - seen.since)) {
			if (makeLink(own, `${file}.${last + 1}`)) {
				// A list read while others come and go may lack the last one; one that is there stays until there is a later one.
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

/** The numbers of its links, ascending. */
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
			// Somebody else's folder of that name counts for nothing, and is in nobody's way.
		}
	}
}

/** @returns false where there is one already. */
function makeLink(text: string, link: string): boolean {
	try {
		symlinkSync(text, link);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
		throw error;
	}
}

/** What a link says; undefined: it is there no more. Something else in its place belongs to nobody. */
function ownerOf(link: string): string | undefined {
	try {
		return readlinkSync(link);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		return FREE;
	}
}

/** @param held milliseconds for which it has been seen to hold the lock. */
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
