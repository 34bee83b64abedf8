// The weights of a Hugging Face folder: one safetensors file, or several with an index
// (https://github.com/huggingface/safetensors, "Format"). Headers are untrusted: every length, offset and name is
// checked before it is used, and before any tensor's bytes are read.
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { quote } from '../quote';
import type { JsonObject } from './json';
import type { SourceFolder } from './source-folder';

/** Bytes of one element. */
export const elementBytes = { F32: 4, F16: 2, BF16: 2, U8: 1, I64: 8, I32: 4, BOOL: 1 } as const;
export type ElementType = keyof typeof elementBytes;

export interface SafeTensor {
	name: string;
	/** The type's name in the file. A type that this reader cannot use is refused only where the tensor is needed. */
	dtype: string;
	/** Lengths of the dimensions. The contiguous one is last. */
	shape: number[];
	shard: Shard;
	/** Absolute offset in the shard. */
	offset: number;
	bytes: number;
}

export interface Shard {
	file: string;
	handle: FileHandle;
}

/** The limit that the format sets. */
const MAX_HEADER_BYTES = 100_000_000;
const INDEX = 'model.safetensors.index.json';
const SINGLE = 'model.safetensors';

/** All tensors of a folder, by name. Whoever opens it has to close it. */
export class SafetensorsFolder {
	readonly folder: string;
	readonly tensors: ReadonlyMap<string, SafeTensor>;
	readonly #shards: readonly Shard[];

	private constructor(folder: string, tensors: ReadonlyMap<string, SafeTensor>, shards: readonly Shard[]) {
		this.folder = folder;
		this.tensors = tensors;
		this.#shards = shards;
	}

	/**
	 * Opens all shards at the same time and reads their headers.
	 * @throws an error of one line naming the file and the tensor at fault.
	 */
	static async open(source: SourceFolder): Promise<SafetensorsFolder> {
		const folder = source.path;
		const index = await source.json(INDEX);
		const wanted = index && weightMap(index);
		const names = wanted ? [...new Set(wanted.values())] : [await singleFile(source)];
		const opened = await Promise.allSettled(names.map((name) => openShard(source, name)));
		const shards = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value.shard] : []));
		try {
			const tensors = new Map<string, SafeTensor>();
			opened.forEach((result, i) => {
				if (result.status === 'rejected') throw result.reason;
				for (const tensor of result.value.tensors) {
					if (wanted && wanted.get(tensor.name) !== names[i]) {
						throw new Error(`${tensor.shard.file} has the tensor ${shown(tensor.name)}, which ${INDEX} has elsewhere`);
					}
					tensors.set(tensor.name, tensor);
				}
			});
			for (const [name, file] of wanted ?? []) {
				if (!tensors.has(name))
					throw new Error(`${path.join(folder, file)} lacks the tensor ${shown(name)} of ${INDEX}`);
			}
			return new SafetensorsFolder(folder, tensors, shards);
		} catch (error) {
			await Promise.all(shards.map(({ handle }) => handle.close()));
			throw error;
		}
	}

	async close(): Promise<void> {
		await Promise.all(this.#shards.map(({ handle }) => handle.close()));
	}
}

/** Reads `length` bytes of a tensor into `target`, from byte `offset` of the tensor on. */
export async function readTensor(
	tensor: SafeTensor,
	offset: number,
	length: number,
	target: Uint8Array,
): Promise<void> {
	await readAt(tensor.shard, target, length, tensor.offset + offset);
}

async function readAt({ file, handle }: Shard, target: Uint8Array, length: number, position: number): Promise<void> {
	for (let done = 0; done < length; ) {
		const { bytesRead } = await handle.read(target, done, length - done, position + done);
		if (bytesRead === 0) throw new Error(`${file} ended early; it was changed while it was read`);
		done += bytesRead;
	}
}

/** Quotes a name from a file in a message. */
export const shown = quote;

function weightMap(index: JsonObject): Map<string, string> {
	const map = new Map<string, string>();
	for (const [name, file] of Object.entries(index.object('weight_map').values)) {
		// Only a plain name passes, so that an index cannot lead out of its folder.
		if (typeof file !== 'string' || !/^[\w.-]+\.safetensors$/.test(file)) {
			throw new Error(`${index.file}: ${shown(String(file))} is no name of a safetensors file`);
		}
		map.set(name, file);
	}
	if (map.size === 0) throw new Error(`${index.file} lists no tensors`);
	return map;
}

async function singleFile(source: SourceFolder): Promise<string> {
	const folder = source.path;
	const files = await source.weightFiles();
	if (files.includes(SINGLE)) return SINGLE;
	if (files.length === 1) return files[0]!;
	throw new Error(
		files.length === 0
			? `${folder} holds no safetensors file; a model's folder has config.json, tokenizer.json and model.safetensors`
			: `${folder} holds ${files.length} safetensors files but no ${INDEX}`,
	);
}

async function openShard(source: SourceFolder, name: string): Promise<{ shard: Shard; tensors: SafeTensor[] }> {
	const handle = await source.weights(name);
	try {
		const shard = { file: path.join(source.path, name), handle };
		return { shard, tensors: await readShardHeader(shard) };
	} catch (error) {
		await handle.close();
		throw error;
	}
}

async function readShardHeader(shard: Shard): Promise<SafeTensor[]> {
	const { file, handle } = shard;
	const { size } = await handle.stat();
	const prefix = new Uint8Array(8);
	const { bytesRead } = await handle.read(prefix, 0, 8, 0);
	if (bytesRead < 8) throw new Error(`${file} is no safetensors file: it has ${size} bytes`);
	const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
	if (headerBytes > MAX_HEADER_BYTES) throw new Error(`${file} is no safetensors file: its header would be too long`);
	if (8 + headerBytes > size) {
		throw new Error(`${file} is truncated: its header needs ${headerBytes} bytes, but the file has ${size}`);
	}
	const bytes = Buffer.alloc(headerBytes);
	await readAt(shard, bytes, headerBytes, 8);
	let header: unknown;
	try {
		header = JSON.parse(bytes.toString('utf8'));
	} catch {
		throw new Error(`${file} is damaged: its header is no JSON`);
	}
	if (typeof header !== 'object' || header === null || Array.isArray(header)) {
		throw new Error(`${file} is damaged: its header is no JSON object`);
	}
	const start = 8 + headerBytes;
	const tensors = Object.entries(header)
		.filter(([name]) => name !== '__metadata__')
		.map(([name, entry]) => readEntry(shard, name, entry, start, size));
	let end = start;
	for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
		if (tensor.offset < end) throw new Error(`${file} is damaged: tensor ${shown(tensor.name)} overlaps another`);
		end = tensor.offset + tensor.bytes;
	}
	return tensors;
}

function readEntry(shard: Shard, name: string, entry: unknown, start: number, size: number): SafeTensor {
	const fail = (what: string) => new Error(`${shard.file} is damaged: tensor ${shown(name)} ${what}`);
	const { dtype, shape, data_offsets: range } = (entry ?? {}) as Record<string, unknown>;
	const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
	if (typeof dtype !== 'string') throw fail('has no dtype');
	if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) throw fail('has an impossible shape');
	if (!Array.isArray(range) || range.length !== 2 || !range.every(isCount) || range[0]! > range[1]!) {
		throw fail('has impossible offsets');
	}
	const [from, to] = range as [number, number];
	if (start + to > size) {
		throw new Error(
			`${shard.file} is truncated: tensor ${shown(name)} ends at byte ${start + to}, but the file has ${size}; download it again`,
		);
	}
	const elements = shape.reduce((product: number, length) => product * length, 1);
	if (Object.hasOwn(elementBytes, dtype) && elements * elementBytes[dtype as ElementType] !== to - from) {
		throw fail(`has ${to - from} bytes, which its shape [${shape.join(', ')}] of ${dtype} does not take`);
	}
	return { name, dtype, shape, shard, offset: start + from, bytes: to - from };
}
