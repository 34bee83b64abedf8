// A streaming writer of GGUF v3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). It writes the header
// first, and then the bytes of tensors as they come, in any order. So a file of any size takes little memory.
import { type FileHandle, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { StringTable } from '../../native/index';
import { type OutputTarget, outputTarget, PartialFile } from '../files/output-file';
import { type TensorType, tensorTypes } from './tensor-types';

export const ALIGNMENT = 32;

export type GgufValue =
	| { type: 'u32' | 'i32' | 'f32' | 'u64'; value: number }
	| { type: 'bool'; value: boolean }
	| { type: 'string'; value: string }
	| { type: 'strings'; value: StringTable }
	| { type: 'i32s'; value: Int32Array };

export interface TensorShape {
	name: string;
	type: TensorType;
	/** The dimensions in ggml's order, which has the contiguous one first. */
	shape: number[];
}

export interface GgufTensor extends TensorShape {
	/**
	 * The tensor's bytes, `tensorBytes` in all. A yielded chunk must not change until the chunk after the next one is
	 * asked for. So a producer may use two buffers in turn.
	 */
	chunks(): Iterable<Uint8Array>;
}

export interface WriteProgress {
	writtenBytes: number;
	totalBytes: number;
}

export interface WriteOptions {
	onProgress?: (progress: WriteProgress) => void;
	/**
	 * Writes the header alone. The tensors are a hole in the file, which reads as zeros and takes almost no room on the
	 * disk.
	 */
	sparse?: boolean;
	/** If it is aborted, the written file is removed, and the call rejects with the signal's reason. */
	signal?: AbortSignal;
}

const valueTypes = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 } as const;

/**
 * The bytes of a tensor.
 * @throws an error if a row is not a whole number of the type's blocks.
 */
export function tensorBytes(tensor: TensorShape): number {
	const { blockValues, blockBytes } = tensorTypes[tensor.type];
	const row = tensor.shape[0] ?? 0;
	if (row % blockValues !== 0) {
		throw new Error(
			`${tensor.name}: rows of ${row} values cannot be ${tensor.type}, which needs a multiple of ${blockValues}`,
		);
	}
	return (tensor.shape.reduce((product, length) => product * length, 1) / blockValues) * blockBytes;
}

/**
 * A GGUF file that is being written. It gets its name only when it is complete, and has a temporary name in the same
 * folder until then. A file that has the name by then is replaced only if it had it already when the writing began.
 */
export class GgufFile {
	readonly #partial: PartialFile;
	readonly #tensors: readonly TensorShape[];
	readonly #onProgress: WriteOptions['onProgress'];
	readonly totalBytes: number;
	#writtenBytes: number;
	readonly #missing: number[];
	readonly #starts: number[] = [];

	private constructor(
		partial: PartialFile,
		tensors: readonly TensorShape[],
		header: Uint8Array,
		onProgress: WriteOptions['onProgress'],
	) {
		this.#partial = partial;
		this.#tensors = tensors;
		this.#onProgress = onProgress;
		this.#missing = tensors.map(tensorBytes);
		let end = header.length;
		for (const bytes of this.#missing) {
			this.#starts.push(end);
			end += align(bytes);
		}
		this.totalBytes = end;
		this.#writtenBytes = header.length;
	}

	/**
	 * Writes the header and reserves the rest of the file.
	 * @param place the file's name, or the result of `outputTarget` for it.
	 * @throws an error of one line: no such folder, a disk without the room, or a name that no file can have.
	 */
	static async create(
		place: string | OutputTarget,
		metadata: ReadonlyMap<string, GgufValue>,
		tensors: readonly TensorShape[],
		{ onProgress, sparse }: Pick<WriteOptions, 'onProgress' | 'sparse'> = {},
	): Promise<GgufFile> {
		const header = encodeHeader(metadata, tensors);
		const totalBytes = tensors.reduce((sum, tensor) => sum + align(tensorBytes(tensor)), header.length);
		const target = typeof place === 'string' ? await outputTarget(place) : place;
		await checkRoom(path.dirname(target.path), target.file, sparse ? header.length : totalBytes);
		const partial = await PartialFile.create(target);
		const made = new GgufFile(partial, tensors, header, onProgress);
		try {
			await writeChunk(partial.handle, header, 0);
			// The padding is never written. It reads as zeros because the file is extended here.
			await partial.handle.truncate(totalBytes);
			if (sparse) made.#missing.fill(0);
		} catch (error) {
			await made.discard();
			throw made.explain(error);
		}
		return made;
	}

	/**
	 * The path of the file before it is complete. Its header and size are right from the beginning, and unwritten parts
	 * read as zeros.
	 */
	get unfinishedPath(): string {
		return this.#partial.path;
	}

	/** Writes `chunk` at byte `at` of a tensor. Calls may overlap in time, but no byte may be written twice. */
	async write(tensor: number, at: number, chunk: Uint8Array): Promise<void> {
		const { name } = this.#tensors[tensor]!;
		if (at + chunk.length > tensorBytes(this.#tensors[tensor]!))
			throw new Error(`${name}: its producer made too many bytes`);
		this.#onProgress?.({ writtenBytes: this.#writtenBytes, totalBytes: this.totalBytes });
		try {
			await writeChunk(this.#partial.handle, chunk, this.#starts[tensor]! + at);
		} catch (error) {
			throw this.explain(error);
		}
		this.#missing[tensor]! -= chunk.length;
		this.#writtenBytes += chunk.length;
	}

	/**
	 * Gives the file its name.
	 * @throws an error if a tensor is incomplete. The file is then removed.
	 */
	async commit(): Promise<void> {
		try {
			const short = this.#missing.findIndex((bytes) => bytes !== 0);
			if (short >= 0) {
				const wanted = tensorBytes(this.#tensors[short]!);
				throw new Error(
					`${this.#tensors[short]!.name}: its producer made ${wanted - this.#missing[short]!} bytes where ${wanted} belong`,
				);
			}
			await this.#partial.place();
		} catch (error) {
			await this.discard();
			throw this.explain(error);
		}
		this.#onProgress?.({ writtenBytes: this.totalBytes, totalBytes: this.totalBytes });
	}

	/** Removes what was written. */
	async discard(): Promise<void> {
		await this.#partial.discard();
	}

	/** The error to report for an error while writing this file. If the disk is full, it says how much room is needed. */
	explain(error: unknown): unknown {
		return (error as NodeJS.ErrnoException)?.code === 'ENOSPC'
			? fullDisk(this.#partial.target.file, this.totalBytes)
			: error;
	}
}

/**
 * Writes a GGUF file whose tensors are made one after another. On any error the written file is removed.
 * @returns the file's size in bytes.
 * @throws an error of one line. If the disk is full, it says how much room is needed.
 */
export async function writeGguf(
	file: string | OutputTarget,
	metadata: ReadonlyMap<string, GgufValue>,
	tensors: readonly GgufTensor[],
	{ onProgress, signal, sparse = false }: WriteOptions = {},
): Promise<number> {
	const output = await GgufFile.create(file, metadata, tensors, { ...(onProgress && { onProgress }), sparse });
	try {
		let pending: Promise<void> = Promise.resolve();
		for (const [index, tensor] of sparse ? [] : tensors.entries()) {
			let at = 0;
			for (const chunk of tensor.chunks()) {
				// One write runs while the next chunk is made.
				await pending;
				signal?.throwIfAborted();
				pending = output.write(index, at, chunk);
				// The next `await pending` sees a failure. This handler only keeps it from counting as unhandled until then.
				pending.catch(() => undefined);
				at += chunk.length;
			}
		}
		await pending;
		await output.commit();
	} catch (error) {
		await output.discard();
		throw output.explain(error);
	}
	return output.totalBytes;
}

async function writeChunk(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
	for (let done = 0; done < chunk.length; ) {
		const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
		done += bytesWritten;
	}
}

const align = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

async function checkRoom(folder: string, file: string, totalBytes: number): Promise<void> {
	const { bavail, bsize } = await statfs(folder).catch((error: NodeJS.ErrnoException) => {
		if (error.code === 'ENOENT') throw new Error(`cannot write ${file}: there is no folder ${folder}`);
		throw error;
	});
	if (bavail * bsize < totalBytes) throw fullDisk(file, totalBytes, bavail * bsize);
}

function fullDisk(file: string, totalBytes: number, freeBytes?: number): Error {
	const free = freeBytes === undefined ? '' : ` and ${gigabytes(freeBytes)} are free`;
	return new Error(
		`the disk is full: ${file} needs ${gigabytes(totalBytes)}${free}; make room or choose another folder`,
	);
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;

function encodeHeader(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly TensorShape[]): Uint8Array {
	const out = new ByteWriter();
	out.bytes(new TextEncoder().encode('GGUF'));
	out.u32(3);
	out.u64(tensors.length);
	out.u64(metadata.size);
	for (const [key, value] of metadata) {
		out.string(key);
		encodeValue(out, value);
	}
	let offset = 0;
	for (const tensor of tensors) {
		out.string(tensor.name);
		out.u32(tensor.shape.length);
		for (const length of tensor.shape) out.u64(length);
		out.u32(tensorTypes[tensor.type].id);
		out.u64(offset);
		offset += align(tensorBytes(tensor));
	}
	out.pad(ALIGNMENT);
	return out.take();
}

function encodeValue(out: ByteWriter, value: GgufValue): void {
	switch (value.type) {
		case 'strings': {
			const { bytes, offsets } = value.value;
			out.u32(valueTypes.array);
			out.u32(valueTypes.string);
			out.u64(offsets.length - 1);
			for (let i = 0; i + 1 < offsets.length; i++) out.text(bytes.subarray(offsets[i], offsets[i + 1]));
			break;
		}
		case 'i32s':
			out.u32(valueTypes.array);
			out.u32(valueTypes.i32);
			out.u64(value.value.length);
			for (const item of value.value) out.i32(item);
			break;
		case 'string':
			out.u32(valueTypes.string);
			out.string(value.value);
			break;
		case 'bool':
			out.u32(valueTypes.bool);
			out.bytes(Uint8Array.of(value.value ? 1 : 0));
			break;
		default:
			out.u32(valueTypes[value.type]);
			out[value.type](value.value);
	}
}

/** Appends little-endian values to one growing buffer. */
class ByteWriter {
	#buffer = new Uint8Array(1 << 20);
	#view = new DataView(this.#buffer.buffer);
	#length = 0;

	bytes(value: Uint8Array): void {
		const at = this.#reserve(value.length);
		this.#buffer.set(value, at);
	}

	u32(value: number): void {
		const at = this.#reserve(4);
		this.#view.setUint32(at, value, true);
	}

	i32(value: number): void {
		const at = this.#reserve(4);
		this.#view.setInt32(at, value, true);
	}

	f32(value: number): void {
		const at = this.#reserve(4);
		this.#view.setFloat32(at, value, true);
	}

	u64(value: number): void {
		const at = this.#reserve(8);
		this.#view.setBigUint64(at, BigInt(value), true);
	}

	/** Appends a string as its length and its bytes. */
	text(value: Uint8Array): void {
		this.u64(value.length);
		this.bytes(value);
	}

	string(value: string): void {
		this.text(new TextEncoder().encode(value));
	}

	pad(alignment: number): void {
		this.#reserve((alignment - (this.#length % alignment)) % alignment);
	}

	take(): Uint8Array {
		return this.#buffer.subarray(0, this.#length);
	}

	/** Makes room for `count` bytes and returns where they begin. It may replace `#buffer` and `#view`. */
	#reserve(count: number): number {
		const at = this.#length;
		this.#length += count;
		if (this.#length > this.#buffer.length) {
			const grown = new Uint8Array(2 * this.#length);
			grown.set(this.#buffer);
			this.#buffer = grown;
			this.#view = new DataView(grown.buffer);
		}
		return at;
	}
}
