// A lock file, so that two processes (two engines, or one and the command line) never write to the same file.
import { randomUUID } from 'node:crypto';
import { type FileHandle, link, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { kindOf } from '../files/kind';
import { ownIdentity, type ProcessIdentity, stateOf } from '../machine/process-identity';
import { messageOf } from '../quote';
import { entryAt, readSmallFile } from './small-file';

/** How often the owner shows that it lives, for those who cannot see its process. */
const SIGN_MILLISECONDS = 10_000;
/** For how long a lock is watched for such signs before it counts as left behind. */
const WATCH_MILLISECONDS = 2.5 * SIGN_MILLISECONDS;
/** For how long one is watched that says nothing: it is being written this moment, or was when its process ended. */
const WRITING_MILLISECONDS = 1000;
const LOOK_MILLISECONDS = 250;
/** One that others take and give back this often while we come is theirs. */
const MOST_TRIES = 50;
const MOST_BYTES = 4096;

/** Another process holds the lock. */
export class LockedError extends Error {
	override name = 'LockedError';
}

interface LockOptions {
	/** Ends the wait where it has to be found out whether the lock's owner lives. */
	signal?: AbortSignal;
	/** For tests: how long that wait is, in milliseconds. */
	watch?: number;
}

/**
 * Takes the lock `file` and returns what gives it back. One that a process left behind when it was killed is taken over; clocks
 * have no part in that.
 * @throws LockedError where a living process holds it; an error of one line that names the file where it is none of ours or
 * cannot be read, written or removed; the signal's reason.
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
		if (held === undefined) continue; // given back meanwhile
		if (await isHeld(file, held, made.now, watch, signal)) {
			throw new LockedError(`another Hearth process is downloading it; if there is none, remove ${file}`);
		}
		await removeAbandoned(file, held);
	}
	throw new LockedError(`other Hearth processes keep taking the lock ${file}; try again later`);
}

/** Makes the lock, whole at once, so that nobody reads half of it; where there is one, `now` as its folder's files have it. */
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
			// Not every file system has links.
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

/** Shows that we live until the lock is given back. */
function keep(file: string, own: string, handle: FileHandle): () => Promise<void> {
	// On the file itself and not on whatever has its name by then.
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

/** The lock's text; undefined where there is none any more. @throws where it is no lock of ours. */
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
	// A sign of just now spares the wait. No other age says anything: the clock may have been set since.
	const age = now - ((await entryAt(file).catch(() => undefined))?.mtimeMs ?? 0);
	return (age >= 0 && age < watch) || changes(file, watch, signal);
}

/** Whether anything happens to a file for so many milliseconds. */
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
		// One that has gone is no longer held by anyone.
		if (now !== before) return now !== undefined;
	}
	return false;
}

/** Of two that find it abandoned one could take away the other's new lock: what was moved is looked at again. */
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
