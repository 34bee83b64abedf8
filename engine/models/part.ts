// The part of a file that a download has received: the bytes, their hash so far, and a second file that says what they
// are part of.
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { kindOf } from '../files/kind';
import { type Checksum, LastingError } from './network';
import { entryAt, readSmallFile } from './small-file';
import { hashFile, replaceFile } from './verified';

/** The file that a part belongs to. */
export interface PartState {
	url: string;
	bytes: number;
	checksum: Checksum;
	/** The validator that the host of the bytes gave: its ETag, or Last-Modified where it has none. */
	tag?: string;
}

/** The largest state that is read. A real one is much smaller. */
const MOST_STATE_BYTES = 65_536;
const COPY_BYTES = 2 * 2 ** 20;

export class Part {
	readonly path: string;
	/** Bytes that have arrived and belong to `state`. */
	received = 0;
	state: PartState | undefined;
	#hash: Hash | undefined;
	#handle: FileHandle | undefined;

	constructor(path: string) {
		this.path = path;
	}

	get #statePath(): string {
		return `${this.path}.json`;
	}

	/**
	 * Checks the part's two file names.
	 * @throws LastingError where something that is no file has one of these names.
	 */
	async checkPlace(): Promise<void> {
		for (const file of [this.path, this.#statePath]) {
			const stats = await entryAt(file);
			if (stats && !stats.isFile()) throw new LastingError(`${file} is ${kindOf(stats)} and in the way; remove it`);
		}
	}

	/** Bytes of the part on the disk; 0 where its name is that of something else than a file. */
	async size(): Promise<number> {
		const stats = await entryAt(this.path).catch(() => undefined);
		return stats?.isFile() ? stats.size : 0;
	}

	/**
	 * Continues the part that an earlier run has left, if `fits` accepts its state. Otherwise the old part stays until
	 * `begin`.
	 */
	async resume(
		fits: (state: PartState) => PartState | undefined,
		onRead: (bytes: number) => void,
		signal?: AbortSignal,
	): Promise<void> {
		const left = await readState(this.#statePath);
		const state = left && fits(left);
		const size = await this.size();
		if (!state || size === 0 || size > state.bytes) return;
		this.state = state;
		this.#hash = newHash(state);
		this.received = await hashFile(this.path, this.#hash, size, onRead, signal);
	}

	/** Begins anew. An older part of this name is lost. */
	async begin(state: PartState): Promise<void> {
		await this.close();
		await rm(this.#statePath, { force: true });
		this.received = 0;
		this.#hash = newHash(state);
		this.#handle = await open(this.path, 'w');
		await this.describe(state);
	}

	/** Writes down what the part belongs to, for the next run. */
	async describe(state: PartState): Promise<void> {
		const text = JSON.stringify(state);
		if (this.state && JSON.stringify(this.state) === text) return;
		await inWords(this.path, () => replaceFile(this.#statePath, text));
		this.state = state;
	}

	/**
	 * Adds the next bytes.
	 * @throws LastingError where the disk is full. The bytes that were there before stay.
	 */
	async append(chunk: Buffer): Promise<void> {
		await inWords(this.path, async () => {
			this.#handle ??= await open(this.path, 'a');
			for (let at = 0; at < chunk.length; ) at += (await this.#handle.write(chunk, at)).bytesWritten;
		});
		this.#hash!.update(chunk);
		this.received += chunk.length;
	}

	/** Adds the first bytes of another part. */
	async copyFrom(other: Part, bytes: number, signal?: AbortSignal): Promise<void> {
		if (bytes === 0) return;
		const handle = await open(other.path, 'r');
		try {
			const buffer = Buffer.alloc(Math.min(COPY_BYTES, bytes));
			while (this.received < bytes) {
				signal?.throwIfAborted();
				const { bytesRead } = await handle.read(
					buffer,
					0,
					Math.min(buffer.length, bytes - this.received),
					this.received,
				);
				if (bytesRead === 0) throw new LastingError(`${other.path} became shorter meanwhile; try again`);
				await this.append(buffer.subarray(0, bytesRead));
			}
		} finally {
			await handle.close();
		}
	}

	/** Takes another part's place, with its bytes and its state. */
	async replace(other: Part): Promise<void> {
		await this.close();
		await other.close();
		// A crash in between leaves bytes without a state. Such bytes are never continued.
		await rm(this.#statePath, { force: true });
		await rename(this.path, other.path);
		await rm(other.#statePath, { force: true });
		Object.assign(other, { received: this.received, state: undefined });
		other.#hash = this.#hash;
		await other.describe(this.state!);
	}

	/** Whether all of the file is there and has the right checksum. */
	async verify(): Promise<boolean> {
		await this.#handle?.sync();
		return this.#hash!.copy().digest('hex') === this.state!.checksum.value;
	}

	/** Gives the bytes the name of the whole file. */
	async becomeFile(file: string): Promise<void> {
		await this.close();
		await rename(this.path, file);
		await rm(this.#statePath, { force: true });
	}

	async close(): Promise<void> {
		const handle = this.#handle;
		this.#handle = undefined;
		await handle?.close();
	}

	async remove(): Promise<void> {
		await this.close();
		await rm(this.path, { force: true });
		await rm(this.#statePath, { force: true });
		this.received = 0;
		this.state = undefined;
		this.#hash = undefined;
	}
}

export function newHash({ bytes, checksum }: Pick<PartState, 'bytes' | 'checksum'>): Hash {
	return checksum.algorithm === 'git' ? createHash('sha1').update(`blob ${bytes}\0`) : createHash('sha256');
}

async function inWords(file: string, work: () => Promise<void>): Promise<void> {
	try {
		await work();
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		if (code === 'ENOSPC' || code === 'EDQUOT') {
			throw new LastingError(`the disk is full (${path.dirname(file)}); free some space and resume the download`);
		}
		throw new LastingError(`cannot write ${file}: ${message}`);
	}
}

async function readState(file: string): Promise<PartState | undefined> {
	try {
		const text = (await readSmallFile(file, MOST_STATE_BYTES)) ?? '';
		const { url, bytes, checksum, tag } = JSON.parse(text) as Partial<PartState>;
		const known = checksum?.algorithm === 'sha256' || checksum?.algorithm === 'git';
		if (typeof url !== 'string' || !Number.isSafeInteger(bytes) || !known) return undefined;
		if (!/^[0-9a-f]{40,64}$/.test(checksum.value)) return undefined;
		return { url, bytes: bytes!, checksum, ...(typeof tag === 'string' && { tag }) };
	} catch {
		return undefined;
	}
}
