// Writes files under names that users chose. Anything but a regular file is refused by name. A file that another
// program made is not replaced. A file appears under its name only when it is complete.
import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { kindOf } from './kind';

/** A place for a file, as it was before anything was written. */
export interface OutputTarget {
	/** The name as the user gave it, for messages. */
	readonly file: string;
	/** The path of the file. Where the name is a link to a file, this is the path of that file. */
	readonly path: string;
	/** The file that lies there now and will be replaced; undefined: there is none. */
	readonly found: Pick<Stats, 'dev' | 'ino' | 'size' | 'mtimeMs'> | undefined;
}

/**
 * Checks the place that a file is to be written to.
 * @throws an error of one line where something else than a regular file has that name: a folder, a device, a pipe, a
 * socket, or a link to one of these or to nothing.
 */
export async function outputTarget(file: string): Promise<OutputTarget> {
	if (file.endsWith('/') || file.endsWith(path.sep)) {
		throw new Error(`cannot write ${file}: it names a folder; give the name of a file`);
	}
	const own = await lstat(file).catch((error: NodeJS.ErrnoException) => {
		if (error.code === 'ENOENT') return undefined;
		throw new Error(`cannot write ${file}: ${error.message}`);
	});
	if (!own) return { file, path: path.resolve(file), found: undefined };
	if (!own.isSymbolicLink()) {
		if (!own.isFile()) throw new Error(`cannot write ${file}: it is ${kindOf(own)}; give the name of a file`);
		return { file, path: path.resolve(file), found: own };
	}
	const found = await stat(file).catch(() => undefined);
	if (!found?.isFile()) {
		const to = found ? kindOf(found) : 'nothing';
		throw new Error(`cannot write ${file}: it is a link to ${to}; give the name of a file`);
	}
	return { file, path: await realpath(file), found };
}

/**
 * @throws where a file lies in the place that Hearth may not replace. An empty file may always be replaced.
 * @param isOurs whether Hearth made the file at that path; a rejection means no.
 */
export async function refuseForeign(target: OutputTarget, isOurs: (file: string) => Promise<boolean>): Promise<void> {
	if (!target.found || target.found.size === 0) return;
	if (await isOurs(target.path).catch(() => false)) return;
	throw new Error(
		`${target.file} is there already and Hearth did not make it; give another name, or --overwrite to replace it`,
	);
}

/** A file that is being written. It lies beside its place, under a name of its own. */
export class PartialFile {
	readonly target: OutputTarget;
	/** The path of the file until it is complete. */
	readonly path: string;
	readonly handle: FileHandle;

	private constructor(target: OutputTarget, path: string, handle: FileHandle) {
		this.target = target;
		this.path = path;
		this.handle = handle;
	}

	/** @throws where the folder does not exist or cannot be written to. */
	static async create(target: OutputTarget): Promise<PartialFile> {
		// The name is cut, since the partial file's longer name must not be too long for the file system.
		const name = Array.from(path.basename(target.path)).slice(0, 40).join('');
		const suffix = `${process.pid}-${randomBytes(4).toString('hex')}`;
		const partial = path.join(path.dirname(target.path), `.${name}.${suffix}.partial`);
		// The flag x creates a new file or fails. A link that somebody put under this name would lead elsewhere.
		return new PartialFile(target, partial, await open(partial, 'wx+'));
	}

	/**
	 * Gives the file its name.
	 * @throws where the place is no longer as it was found. Whatever has come there stays, and so does the partial file.
	 */
	async place(): Promise<void> {
		await this.handle.close();
		const { path: to, file, found } = this.target;
		if (found) {
			const now = await lstat(to).catch(() => undefined);
			if (now && !isSame(now, found))
				throw new PlaceChangedError(`${file} was changed while it was to be replaced; nothing was written`);
			if (now) return rename(this.path, to);
		}
		await linkNew(this.path, to).catch((error: NodeJS.ErrnoException) => {
			if (error.code !== 'EEXIST') throw error;
			throw new PlaceChangedError(`${file} has appeared while it was made; nothing was replaced`);
		});
	}

	/** Removes the file, where it is not yet in its place. */
	async discard(): Promise<void> {
		await this.handle.close().catch(() => undefined);
		await rm(this.path, { force: true });
	}
}

/** While a file was made, another one has appeared in its place. */
export class PlaceChangedError extends Error {}

/** Writes a small file completely, or leaves what was there. */
export async function writeOutputFile(target: OutputTarget, data: string | Uint8Array): Promise<void> {
	const partial = await PartialFile.create(target);
	try {
		await partial.handle.writeFile(data);
		await partial.place();
	} catch (error) {
		await partial.discard();
		throw error;
	}
}

/** Whether the file at a path is the one that was found there. */
function isSame(now: Stats, found: NonNullable<OutputTarget['found']>): boolean {
	return (
		now.isFile() &&
		now.dev === found.dev &&
		now.ino === found.ino &&
		now.size === found.size &&
		now.mtimeMs === found.mtimeMs
	);
}

/** Gives a file a new name that nothing has. @throws EEXIST where something has that name. */
async function linkNew(from: string, to: string): Promise<void> {
	try {
		await link(from, to);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
		// The file system has no hard links (exFAT, some network shares). So an empty file takes the name, and is then
		// replaced.
		await (await open(to, 'wx')).close();
		return rename(from, to);
	}
	await rm(from, { force: true });
}
