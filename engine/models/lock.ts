// A lock file, so that two processes (two engines, or one and the command line) never write to the same file.
import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';

/** How often the owner shows that it lives, and how old its last sign must be before a lock counts as left behind. */
const SIGN_MILLISECONDS = 10_000;
const STALE_MILLISECONDS = 120_000;

/** Another process holds the lock. */
export class LockedError extends Error {
	override name = 'LockedError';
}

/**
 * Takes the lock `file` and returns what gives it back. One that a process left behind when it was killed is taken over.
 * @throws LockedError where a living process holds it.
 */
export async function takeLock(file: string): Promise<() => Promise<void>> {
	const own = JSON.stringify({ processId: process.pid, token: randomUUID() });
	for (;;) {
		try {
			await writeFile(file, own, { flag: 'wx' });
			break;
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
		}
		const held = await readFile(file, 'utf8').catch(() => undefined);
		if (held === undefined) continue; // given back meanwhile
		if (await isAlive(file, held)) throw new LockedError(`another Hearth process is downloading it (${file})`);
		// Of two that find it abandoned one could take away the other's new lock: what was moved is looked at again.
		const aside = `${file}.${randomUUID()}`;
		await rename(file, aside).catch(() => {});
		const moved = await readFile(aside, 'utf8').catch(() => undefined);
		if (moved !== undefined && moved !== held) await rename(aside, file).catch(() => {});
		await rm(aside, { force: true });
	}
	const signs = setInterval(() => {
		const now = new Date();
		utimes(file, now, now).catch(() => {});
	}, SIGN_MILLISECONDS);
	signs.unref();
	return async () => {
		clearInterval(signs);
		if ((await readFile(file, 'utf8').catch(() => undefined)) === own) await rm(file, { force: true });
	};
}

async function isAlive(file: string, held: string): Promise<boolean> {
	const { mtimeMs } = (await stat(file).catch(() => undefined)) ?? { mtimeMs: 0 };
	if (Date.now() - mtimeMs > STALE_MILLISECONDS) return false;
	let processId: unknown;
	try {
		({ processId } = JSON.parse(held));
	} catch {
		// Being written this moment, or by a process that was killed in the middle: age decides.
		return Date.now() - mtimeMs < SIGN_MILLISECONDS;
	}
	if (typeof processId !== 'number' || processId <= 0) return false;
	try {
		process.kill(processId, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === 'EPERM';
	}
}
