// Reads files of a folder that came from elsewhere. A path in such a folder may lead to a pipe, a device or another
// user's secrets. So only regular files are read. A file's size is limited, and reading stops at that limit.
import { constants } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { kindOf } from './kind';

/** Bytes that are read at a time, so that reading a file of megabytes can end early. */
const PIECE = 1 << 20;

/**
 * Opens a regular file for reading; undefined where there is none.
 * @param real the path where the file's links lead, if it has been checked. The checked path is the one that is opened.
 * @throws an error of one line where the path leads to anything else, or cannot be opened.
 */
export async function openRegular(file: string, real = file): Promise<FileHandle | undefined> {
	const named = (error: NodeJS.ErrnoException) => {
		if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
		throw new Error(`cannot read ${file}: ${error.message}`);
	};
	// This check comes first, since opening a device may already do something.
	const before = await stat(real).catch(named);
	if (!before) return undefined;
	if (!before.isFile()) throw new Error(`cannot read ${file}: it is ${kindOf(before)}, not a file`);
	// A pipe may take the file's place after the check. Without O_NONBLOCK, opening it would block a thread until
	// somebody writes into it.
	const handle = await open(real, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(named);
	if (!handle) return undefined;
	const now = await handle.stat();
	if (now.isFile()) return handle;
	await handle.close();
	throw new Error(`cannot read ${file}: it is ${kindOf(now)}, not a file`);
}

/** Reads all of an open file. @throws where the file has more than `most` bytes, whatever size it claims. */
export async function readBounded(handle: FileHandle, file: string, most: number): Promise<Buffer> {
	const tooLong = () => new Error(`${file} has more than ${most} bytes, which no such file needs`);
	if ((await handle.stat()).size > most) throw tooLong();
	const pieces: Buffer[] = [];
	for (let length = 0; ; ) {
		const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(PIECE), 0, PIECE, length);
		if (bytesRead === 0) return Buffer.concat(pieces, length);
		length += bytesRead;
		if (length > most) throw tooLong();
		pieces.push(buffer.subarray(0, bytesRead));
	}
}

/**
 * The real path of a file of `folder`; undefined where there is no such file. Links within the folder are allowed. So
 * are links to the store of a Hugging Face cache (models--OWNER--NAME/blobs), since that cache makes its folders of
 * such links.
 * @throws where the file is a link to any other place. A folder must not choose which file of this machine is read.
 */
export async function realFile(folder: string, file: string): Promise<string | undefined> {
	let real: string;
	let home: string;
	try {
		[home, real] = await Promise.all([realpath(folder), realpath(file)]);
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
		throw new Error(
			code === 'ELOOP' ? `cannot read ${file}: it is a link to itself` : `cannot read ${file}: ${message}`,
		);
	}
	const within = path.relative(home, real);
	if (within !== '..' && !within.startsWith(`..${path.sep}`) && !path.isAbsolute(within)) return real;
	const [blob = '', store, repository = ''] = real.split(path.sep).reverse();
	if (/^[0-9a-f]{32,}$/i.test(blob) && store === 'blobs' && /^models--/.test(repository)) return real;
	throw new Error(`${file} is a link out of its folder, which is not followed; put the file itself there`);
}
