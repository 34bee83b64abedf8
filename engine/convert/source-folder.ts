// Reads the files of a Hugging Face folder, and records which were asked for. The result of a conversion depends on
// what it has read and on what it looked for in vain. Since reading writes the record, there is no list of names that
// could be incomplete.
import { createHash } from 'node:crypto';
import { type FileHandle, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { openRegular, readBounded, realFile } from '../files/input-file';
import { kindOf } from '../files/kind';
import { messageOf } from '../quote';
import { isObject, JsonObject } from './json';

/**
 * The largest real files are tokenizer.json of gpt-oss, with 28 MB, and the index of a model of 100,000 tensors, with
 * 10 MB.
 */
const MOST_BYTES = 64 * 2 ** 20;
export const MOST_TEMPLATE_BYTES = 2 ** 20;
/** The record's entry for the names of all weight files. */
const LISTING = '*.safetensors';
const ABSENT = 'absent';

/** The name of everything that was asked for, and what was found there: a digest, a size and time, or nothing. */
export type SourceRecord = Map<string, string>;

export class SourceFolder {
	readonly path: string;
	readonly record: SourceRecord;
	readonly #prefix: string;

	/** @param prefix goes before names in the record. Folders that share a record have different prefixes. */
	constructor(path: string, record: SourceRecord = new Map(), prefix = '') {
		this.path = path;
		this.record = record;
		this.#prefix = prefix;
	}

	/** The model's config.json. @throws where the path is no folder, or a folder without config.json. */
	async config(): Promise<JsonObject> {
		const stats = await stat(this.path).catch(() => undefined);
		if (stats && !stats.isDirectory()) {
			throw new Error(`${this.path} is ${kindOf(stats)}, not the folder of a Hugging Face model`);
		}
		const config = await this.json('config.json');
		if (!config) throw new Error(`${this.path} is no folder of a Hugging Face model: it lacks config.json`);
		return config;
	}

	/**
	 * Reads a JSON object; undefined where there is no such file.
	 * @throws where the file is not a regular file of the folder, is far too large, or holds no JSON object.
	 */
	async json(name: string): Promise<JsonObject | undefined> {
		const file = path.join(this.path, name);
		const text = await this.#read(name, MOST_BYTES);
		if (text === undefined) return undefined;
		let value: unknown;
		try {
			// Editors on Windows write a byte order mark, which JSON does not allow.
			value = JSON.parse(text.toString('utf8').replace(/^\uFEFF/, ''));
		} catch (error) {
			throw new Error(`${file} is no valid JSON: ${messageOf(error)}`);
		}
		if (!isObject(value)) throw new Error(`${file} is no JSON object`);
		return new JsonObject(file, value);
	}

	/** Reads a small text, such as a chat template; undefined where there is no such file. @throws as `json` does. */
	async text(name: string): Promise<string | undefined> {
		return (await this.#read(name, MOST_TEMPLATE_BYTES))?.toString('utf8');
	}

	/**
	 * Opens a file of weights. It may be a link to any place, since weights often lie where there is room for them.
	 * @throws where there is no such file, or no regular one.
	 */
	async weights(name: string): Promise<FileHandle> {
		const file = path.join(this.path, name);
		const handle = await openRegular(file);
		if (!handle) {
			this.#note(name, ABSENT);
			throw new Error(`there is no file ${file}`);
		}
		try {
			const { size, mtimeMs } = await handle.stat();
			this.#note(name, `${size} bytes of ${mtimeMs}, ${await sampleDigest(handle, size)}`);
			return handle;
		} catch (error) {
			await handle.close();
			throw new Error(`cannot read ${file}: ${messageOf(error)}`);
		}
	}

	/** The names of all safetensors files in the folder. */
	async weightFiles(): Promise<string[]> {
		const names = (await readdir(this.path)).filter((name) => name.endsWith('.safetensors')).sort();
		this.#note(LISTING, JSON.stringify(names));
		return names;
	}

	/** Reads again what a name in a record stands for, and enters it in this folder's record. */
	async look(name: string): Promise<void> {
		if (name === LISTING) await this.weightFiles();
		else if (name.endsWith('.safetensors')) await (await this.weights(name)).close();
		else await this.#read(name, MOST_BYTES);
	}

	async #read(name: string, most: number): Promise<Buffer | undefined> {
		const file = path.join(this.path, name);
		const real = await realFile(this.path, file);
		const handle = real === undefined ? undefined : await openRegular(file, real);
		if (!handle) {
			this.#note(name, ABSENT);
			return undefined;
		}
		try {
			const bytes = await readBounded(handle, file, most);
			this.#note(name, createHash('sha256').update(bytes).digest('hex'));
			return bytes;
		} finally {
			await handle.close();
		}
	}

	#note(name: string, found: string): void {
		this.record.set(this.#prefix + name, found);
	}
}

/** How many pieces of a weight file go into its digest. They lie evenly from the file's beginning to its end. */
const PIECES = 4;
const PIECE_BYTES = 2 ** 18;

/**
 * A digest of some pieces of a file; of all of it, where the file is small. Reading gigabytes at each check would take
 * minutes. Other weights of the same size and time differ everywhere, so some pieces are enough.
 */
async function sampleDigest(handle: FileHandle, size: number): Promise<string> {
	const hash = createHash('sha256');
	const buffer = Buffer.allocUnsafe(PIECE_BYTES);
	const last = Math.max(0, size - PIECE_BYTES);
	for (let n = 0; n < PIECES; n++) {
		const at = size <= PIECES * PIECE_BYTES ? n * PIECE_BYTES : Math.floor((last * n) / (PIECES - 1));
		const { bytesRead } = await handle.read(buffer, 0, PIECE_BYTES, at);
		hash.update(buffer.subarray(0, bytesRead));
	}
	return hash.digest('hex');
}

/** In the record: precedes the names of files in the folder of a draft head's target model. */
const TARGET = 'target/';
/** In the record: the target model, where it is one file. */
const TARGET_FILE = 'target';

/** Everything that one conversion reads. */
export class Sources {
	readonly record: SourceRecord = new Map();
	readonly folder: SourceFolder;
	/** The folder of a draft head's target model, where that is a folder. */
	readonly target: SourceFolder | undefined;
	readonly #targetPath: string | undefined;

	constructor(folder: string, targetPath: string | undefined) {
		this.#targetPath = targetPath;
		this.folder = new SourceFolder(folder, this.record);
		this.target = targetPath === undefined ? undefined : new SourceFolder(targetPath, this.record, TARGET);
	}

	/** Enters the target model in the record, where it is one file. */
	async noteTargetFile(): Promise<void> {
		const stats = await stat(this.#targetPath!).catch(() => undefined);
		this.record.set(TARGET_FILE, stats ? `${stats.size} bytes of ${stats.mtimeMs}` : ABSENT);
	}

	/** The names in the record. `lookAgain` makes the same record from them, without planning a conversion. */
	get names(): string[] {
		return [...this.record.keys()].sort();
	}

	/** Whether the conversion has read this file. Writing over such a file would lose it. */
	async includes({ dev, ino }: { dev: number; ino: number }): Promise<boolean> {
		for (const name of this.names) {
			const [folder, own] = name.startsWith(TARGET)
				? [this.#targetPath!, name.slice(TARGET.length)]
				: name === TARGET_FILE
					? [this.#targetPath!, '']
					: [this.folder.path, name];
			const stats = await stat(path.join(folder, own)).catch(() => undefined);
			if (stats?.ino === ino && stats.dev === dev) return true;
		}
		return false;
	}

	/** A digest of the record and of `choices`. */
	digest(choices: unknown): string {
		const read = this.names.map((name) => [name, this.record.get(name)]);
		return createHash('sha256')
			.update(JSON.stringify([2, choices, read]))
			.digest('hex');
	}
}

/**
 * Makes the record of an earlier conversion again, from the files as they are now.
 * @param names what `Sources.names` gave then. They come from a file, so they are checked: they cannot lead out of the
 * folders.
 * @throws where one of the files can no longer be read.
 */
export async function lookAgain(
	folder: string,
	target: string | undefined,
	names: readonly string[],
): Promise<Sources> {
	const sources = new Sources(folder, target);
	for (const name of names) {
		const own = name.startsWith(TARGET) ? name.slice(TARGET.length) : name;
		if (name === TARGET_FILE) await sources.noteTargetFile();
		else if (/[/\\]/.test(own) || own === '..' || own === '.') throw new Error(`${own} is no name of a file`);
		else await (name.startsWith(TARGET) ? sources.target : sources.folder)?.look(own);
	}
	return sources;
}
