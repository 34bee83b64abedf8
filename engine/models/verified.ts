// What says of a file that its checksum was verified: a note beside it, which holds for as long as the file stays the same. A
// file without one may be anything that has the right size.
import type { Hash } from 'node:crypto';
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Checksum } from './network';
import { readSmallFile } from './small-file';

const READ_BYTES = 2 * 2 ** 20;
const MOST_BYTES = 4096;

interface Note {
	bytes: number;
	/** Milliseconds since 1970, as the file system has it. */
	modified: number;
	checksum: Checksum;
}

/** Remembers that a file was verified. Where that cannot be written it is only verified again. */
export async function noteVerified(file: string, checksum: Checksum): Promise<void> {
	try {
		const { size, mtimeMs } = await stat(file);
		const note: Note = { bytes: size, modified: mtimeMs, checksum };
		await replaceFile(noteOf(file), JSON.stringify(note));
	} catch {}
}

/** What a file was found to be; undefined where it has not been verified or has changed since. */
export async function verifiedChecksum(file: string): Promise<Checksum | undefined> {
	try {
		const { size, mtimeMs } = await stat(file);
		const { bytes, modified, checksum } = JSON.parse((await readSmallFile(noteOf(file), MOST_BYTES)) ?? '') as Note;
		return bytes === size && modified === mtimeMs && typeof checksum?.value === 'string' ? checksum : undefined;
	} catch {
		return undefined;
	}
}

/** Adds the first bytes of a file to a hash, in pieces between which others have their turn. */
export async function hashFile(
	file: string,
	hash: Hash,
	bytes: number,
	onRead: (bytes: number) => void,
	signal?: AbortSignal,
): Promise<number> {
	const handle = await open(file, 'r');
	let read = 0;
	try {
		const buffer = Buffer.alloc(READ_BYTES);
		while (read < bytes) {
			signal?.throwIfAborted();
			onRead(read);
			const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - read));
			if (bytesRead === 0) break;
			hash.update(buffer.subarray(0, bytesRead));
			read += bytesRead;
		}
	} finally {
		await handle.close();
	}
	return read;
}

/** Writes a file whole or, on a full disk, leaves it as it was. */
export async function replaceFile(file: string, text: string): Promise<void> {
	const whole = `${file}.new`;
	try {
		// Only ever a new file: a link that waits under this name would lead elsewhere, and a pipe take for ever.
		await rm(whole, { force: true });
		await writeFile(whole, text, { flag: 'wx' });
		await rename(whole, file);
	} catch (error) {
		await rm(whole, { force: true }).catch(() => {});
		throw error;
	}
}

function noteOf(file: string): string {
	return path.join(path.dirname(file), `.${path.basename(file)}.verified`);
}
