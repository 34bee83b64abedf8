// Small files that anyone may have replaced by something else. What a path leads to is checked before it is read.
import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { openRegular } from '../files/input-file';

/**
 * What is at a path. Links are not followed. Undefined where nothing is there.
 * @throws where it cannot be looked at.
 */
export async function entryAt(file: string): Promise<Stats | undefined> {
	try {
		return await lstat(file);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		throw error;
	}
}

/**
 * The beginning of a regular file, as text. Undefined where there is no file.
 * @throws where it is something else or cannot be read.
 */
export async function readSmallFile(file: string, mostBytes: number): Promise<string | undefined> {
	const handle = await openRegular(file);
	if (!handle) return undefined;
	try {
		const { buffer, bytesRead } = await handle.read(Buffer.alloc(mostBytes), 0, mostBytes, 0);
		return buffer.toString('utf8', 0, bytesRead);
	} finally {
		await handle.close();
	}
}
