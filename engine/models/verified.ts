// Remembers that a file's checksum was verified, by a note beside the file. The note holds for as long as the file
// stays the same. A file without a note may be anything of the right size.
import type { Hash } from 'node:crypto';
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Checksum } from './network';
import { readSmallFile } from './small-file';

const READ_BYTES = 2 * 2 ** 20;
const MOST_BYTES = 4096;

interface Note {
	bytes: number;
	/** When the file was modified, as the file system has it, in milliseconds since 1970. */
	modified: number;
	checksum: Checksum;
}

/** Remembers that a file was verified. Where the note cannot be written, the file is only verified again later. */
export async function noteVerified(file: string, checksum: Checksum): Promise<void> {
	try {
		const { size, mtimeMs } = await stat(file);
		const note: Note = { bytes: size, modified: mtimeMs, checksum };
		await replaceFile(noteOf(file), JSON.stringify(note));
	} catch {}
}

/** The checksum that a file was verified with. Undefined where it has not been verified or has changed since. */
export async function verifiedChecksum(file: string): Promise<Checksum | undefined> {
	try {
		const { size, mtimeMs } = await stat(file);
		const { bytes, modified, checksum } = JSON.parse((await readSmallFile(noteOf(file), MOST_BYTES)) ?? '') as Note;
		return bytes === size && modified === mtimeMs && typeof checksum?.value === 'string' ? checksum : undefined;
	} catch {
		return undefined;
	}
}

/**
 * Adds the first bytes of a file to a hash, in pieces. Other work of the process runs between the pieces.
 * @returns how many bytes were read.
 */
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

/** Writes a file whole. On a full disk it leaves the file as it was. */
export async function replaceFile(file: string, text: string): Promise<void> {
	const whole = `${file}.new`;
	try {
		// The file is always made anew. A link of this name could lead elsewhere, and writing to a pipe could take for
		// ever.
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
