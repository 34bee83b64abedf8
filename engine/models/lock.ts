// A lock file. It keeps two processes (two engines, or an engine and the command line) from writing to the same file.
import { randomUUID } from 'node:crypto';
import { type FileHandle, link, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { kindOf } from '../files/kind';
import { ownIdentity, type ProcessIdentity, stateOf } from '../machine/process-identity';
import { messageOf } from '../quote';
import { entryAt, readSmallFile } from './small-file';

/**
 * How often the owner shows that it lives. Other machines and containers cannot see its process, but they see this
 * sign.
 */
const SIGN_MILLISECONDS = 10_000;
/** How long a lock is watched for such signs before it counts as left behind. */
const WATCH_MILLISECONDS = 2.5 * SIGN_MILLISECONDS;
/**
 * How long a lock is watched that names no owner. Either it is being written this moment, or its process ended while
 * writing it.
 */
const WRITING_MILLISECONDS = 1000;
const LOOK_MILLISECONDS = 250;
/** After this many tries the lock is left to the others, who keep taking and giving it back. */
const MOST_TRIES = 50;
const MOST_BYTES = 4096;

/** Another process holds the lock. */
export class LockedError extends Error {
	override name = 'LockedError';
}

interface LockOptions {
	/** Aborts the wait. `takeLock` waits where it must find out whether the lock's owner lives. */
	signal?: AbortSignal;
	/** For tests: the length of that wait, in milliseconds. */
	watch?: number;
}

/**
 * Takes the lock `file` and returns a function that gives it back. A lock that a killed process left behind is taken
 * over, but never because of what a clock says.
 * @throws LockedError where a living process holds it; an error of one line that names the file where it is no lock of
 * ours or cannot be read, written or removed; the signal's reason.
 */
export async function takeLock(
	file: string,
	{ signal, watch = WATCH_MILLISECONDS }: LockOptions = {},
): Promise<() => Promise<void>> {
	const own = JSON.stringify({ ...(await ownIdentity()), token: randomUUID() });
	for (let tries = 0; tries < MOST_TRIES; tries++) {
		signal?.throwIfAborted();
		const made = await create(file, own);
		if ('handle' in made) return keep(file, own, made.handle);
		const held = await read(file);
		if (held === undefined) continue; // the lock was given back meanwhile
		if (await isHeld(file, held, made.now, watch, signal)) {
			throw new LockedError(`another Hearth process is downloading it; if there is none, remove ${file}`);
		}
		await removeAbandoned(file, held);
	}
	throw new LockedError(`other Hearth processes keep taking the lock ${file}; try again later`);
}

/**
 * Makes the lock. It appears with all of its text at once, so nobody reads half of it. Where there is a lock already,
 * `now` is the time that the folder's file system gives to a new file.
 */
async function create(file: string, own: string): Promise<{ handle: FileHandle } | { now: number }> {
	const whole = `${file}.${randomUUID()}`;
	let now = 0;
	try {
		await writeFile(whole, own, { flag: 'wx' });
		now = (await stat(whole)).mtimeMs;
		try {
			await link(whole, file);
		} catch (error) {
			if (codeOf(error) === 'EEXIST') return { now };
			// Some file systems have no links.
			await writeFile(file, own, { flag: 'wx' });
		}
		return { handle: await open(file, 'r+') };
	} catch (error) {
		if (codeOf(error) === 'EEXIST') return { now };
		throw new Error(`the lock ${file} cannot be written (${messageOf(error)})`);
	} finally {
		await rm(whole, { force: true }).catch(() => {});
	}
}

/** Shows that this process lives until the lock is given back. */
function keep(file: string, own: string, handle: FileHandle): () => Promise<void> {
	// The handle belongs to the lock itself. Its name may be that of another file by then.
	const signs = setInterval(() => {
		const now = new Date();
		handle.utimes(now, now).catch(() => {});
	}, SIGN_MILLISECONDS);
	signs.unref();
	return async () => {
		clearInterval(signs);
		await handle.close().catch(() => {});
		if ((await readSmallFile(file, MOST_BYTES).catch(() => undefined)) === own) {
			await rm(file, { force: true }).catch(() => {});
		}
	};
}

/**
 * The lock's text. Undefined where there is no lock any more.
 * @throws where the file is no lock of ours.
 */
async function read(file: string): Promise<string | undefined> {
	try {
		const stats = await entryAt(file);
		if (!stats) return undefined;
		if (stats.isFile()) return await readSmallFile(file, MOST_BYTES);
		throw new Error(`it is ${kindOf(stats)}`);
	} catch (error) {
		throw new Error(`the lock ${file} cannot be used (${messageOf(error)}); remove it and try again`);
	}
}

async function isHeld(
	file: string,
	held: string,
	now: number,
	watch: number,
	signal: AbortSignal | undefined,
): Promise<boolean> {
	const owner = parse(held);
	if (!owner) return changes(file, Math.min(watch, WRITING_MILLISECONDS), signal);
	const state = await stateOf(owner);
	if (state !== 'unknown') return state === 'alive';
	// A sign that is new spares the wait. Any other age says nothing, because the clock may have been set since.
	const age = now - ((await entryAt(file).catch(() => undefined))?.mtimeMs ?? 0);
	return (age >= 0 && age < watch) || changes(file, watch, signal);
}

/** Whether a file changes within so many milliseconds. */
async function changes(file: string, milliseconds: number, signal: AbortSignal | undefined): Promise<boolean> {
	const look = async () => {
		const stats = await entryAt(file).catch(() => undefined);
		return stats && `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
	};
	const before = await look();
	const began = performance.now();
	while (performance.now() - began < milliseconds) {
		await sleep(Math.min(LOOK_MILLISECONDS, milliseconds), undefined, signal && { signal }).catch((error) => {
			throw signal?.aborted ? signal.reason : error;
		});
		const now = await look();
		// A lock that has gone is held by nobody.
		if (now !== before) return now !== undefined;
	}
	return false;
}

/**
 * Removes a lock that was left behind. Two processes may find the same lock abandoned, and the slower one could remove
 * the new lock of the other. So the lock is moved aside and then read again.
 */
async function removeAbandoned(file: string, held: string): Promise<void> {
	const aside = `${file}.${randomUUID()}`;
	try {
		await rename(file, aside);
		if ((await readSmallFile(aside, MOST_BYTES)) !== held) await rename(aside, file);
		await rm(aside, { force: true });
	} catch (error) {
		if (codeOf(error) === 'ENOENT') return;
		throw new Error(
			`the lock ${file} was left behind and cannot be removed (${messageOf(error)}); remove it and try again`,
		);
	}
}

function parse(held: string): Partial<ProcessIdentity> | undefined {
	try {
		const { processId, machine, started } = JSON.parse(held) as Record<string, unknown>;
		if (typeof processId !== 'number') return undefined;
		return {
			processId,
			...(typeof machine === 'string' && { machine }),
			...(typeof started === 'string' && { started }),
		};
	} catch {
		return undefined;
	}
}

function codeOf(error: unknown): string | undefined {
	return (error as NodeJS.ErrnoException).code;
}
