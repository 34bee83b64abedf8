// Reads small files that anyone may have put in their place: a pipe or a device there would block a thread for good.
import { constants, type Stats } from 'node:fs';
import { lstat, open } from 'node:fs/promises';

/** What is at a path itself, links not followed; undefined where nothing is. @throws where it cannot be looked at. */
export async function entryAt(file: string): Promise<Stats | undefined> {
	try {
		return await lstat(file);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		throw error;
	}
}

/** What an entry is, for a message: "a folder", "a link". */
export function describeEntryAt(stats: Stats): string {
	if (stats.isFile()) return 'a file';
	if (stats.isDirectory()) return 'a folder';
	if (stats.isSymbolicLink()) return 'a link';
	if (stats.isFIFO()) return 'a pipe';
	return stats.isSocket() ? 'a socket' : 'a device';
}

/**
 * The text of a regular file, up to a length in bytes; undefined where there is none, or something else in its place.
 * @throws where it cannot be read.
 */
export async function readSmallFile(file: string, mostBytes: number): Promise<string | undefined> {
	const stats = await entryAt(file);
	if (!stats?.isFile()) return undefined;
	// It may have become a pipe by now; opening one would wait for its other end. Windows has neither flag nor pipes in folders.
	const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch((error) => {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		throw error;
	});
	if (!handle) return undefined;
	try {
		if (!(await handle.stat()).isFile()) return undefined;
		const { buffer, bytesRead } = await handle.read(Buffer.alloc(mostBytes), 0, mostBytes, 0);
		return buffer.toString('utf8', 0, bytesRead);
	} finally {
		await handle.close();
	}
}
