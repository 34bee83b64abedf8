// Hugging Face folders for tests: safetensors files, sharded or not, and the JSON files beside them.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { VocabularyTables } from '../../engine/synth/vocabulary';
import { TokenType } from '../../engine/tokenizer/token-type';
import type { StringTable } from '../../native/index';

export interface TensorData {
	dtype: string;
	shape: number[];
	bytes: Uint8Array;
}
export type Tensors = Record<string, TensorData>;

/** The bytes of a safetensors file. `header` replaces the header that the tensors would give. */
export function safetensors(tensors: Tensors, header?: unknown): Uint8Array {
	let end = 0;
	const entries = Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
		const start = end;
		end += bytes.length;
		return [name, { dtype, shape, data_offsets: [start, end] }];
	});
	const json = Buffer.from(
		JSON.stringify(header ?? { __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) }),
	);
	const prefix = Buffer.alloc(8);
	prefix.writeBigUInt64LE(BigInt(json.length));
	return Buffer.concat([prefix, json, ...Object.values(tensors).map(({ bytes }) => bytes)]);
}

/**
 * Writes `<parent>/<name>` with the JSON files and with the tensors distributed over `shards` files. Returns the
 * folder.
 */
export function writeFolder(
	parent: string,
	name: string,
	tensors: Tensors,
	files: Record<string, unknown>,
	shards = 1,
): string {
	const folder = path.join(parent, name);
	mkdirSync(folder, { recursive: true });
	for (const [file, value] of Object.entries(files)) {
		writeFileSync(path.join(folder, file), typeof value === 'string' ? value : JSON.stringify(value));
	}
	if (shards === 1) {
		writeFileSync(path.join(folder, 'model.safetensors'), safetensors(tensors));
		return folder;
	}
	const weightMap: Record<string, string> = {};
	for (let shard = 0; shard < shards; shard++) {
		const file = `model-${String(shard + 1).padStart(5, '0')}-of-${String(shards).padStart(5, '0')}.safetensors`;
		const part = Object.fromEntries(Object.entries(tensors).filter((_, i) => i % shards === shard));
		for (const tensor of Object.keys(part)) weightMap[tensor] = file;
		writeFileSync(path.join(folder, file), safetensors(part));
	}
	writeFileSync(
		path.join(folder, 'model.safetensors.index.json'),
		JSON.stringify({ metadata: {}, weight_map: weightMap }),
	);
	return folder;
}

export const f32 = (values: Float32Array, shape: number[]): TensorData => ({
	...{ dtype: 'F32', shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) },
});

/** Converts to bfloat16 by truncation. The conversion is exact only for numbers that are bfloat16 already. */
export function bf16(values: Float32Array, shape: number[]): TensorData {
	const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
	const halves = Uint16Array.from(words, (word) => word >>> 16);
	return { dtype: 'BF16', shape, bytes: new Uint8Array(halves.buffer) };
}

/** Seeded numbers that bfloat16 and binary16 hold exactly: they have 7 bits of mantissa and are about ±`size`. */
export function exactNumbers(count: number, size: number, seed: number): Float32Array {
	let state = (seed % 2147483646) + 1;
	return Float32Array.from({ length: count }, () => {
		state = (state * 48271) % 2147483647;
		return ((state % 255) - 127) * 2 ** (Math.round(Math.log2(size)) - 7);
	});
}

const textDecoder = new TextDecoder();
export const strings = ({ bytes, offsets }: StringTable): string[] =>
	Array.from({ length: offsets.length - 1 }, (_, i) => textDecoder.decode(bytes.subarray(offsets[i], offsets[i + 1])));

/** The patterns that published tokenizer.json files of each kind have. */
export const splitPatterns = {
	'gpt-4o':
		"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	'llama-bpe':
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	qwen2:
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
} as const;

/** The tokenizer.json of a vocabulary. Tokens of other types than normal become added tokens. */
export function tokenizerJson(
	vocabulary: VocabularyTables,
	pre: keyof typeof splitPatterns,
	mergesAsPairs = false,
): object {
	const texts = strings(vocabulary.tokens);
	const ids = texts.map((content, id) => ({ content, id, type: vocabulary.tokenTypes[id]! }));
	const merges = strings(vocabulary.merges);
	return {
		version: '1.0',
		added_tokens: ids
			.filter(({ type }) => type === TokenType.control)
			.map(({ content, id }) => ({ id, content, special: true, normalized: false })),
		normalizer: null,
		pre_tokenizer: {
			type: 'Sequence',
			pretokenizers: [
				{ type: 'Split', pattern: { Regex: splitPatterns[pre] }, behavior: 'Isolated', invert: false },
				{ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
			],
		},
		model: {
			type: 'BPE',
			vocab: Object.fromEntries(
				ids.filter(({ type }) => type === TokenType.normal).map(({ content, id }) => [content, id]),
			),
			merges: mergesAsPairs ? merges.map((merge) => merge.split(' ')) : merges,
		},
	};
}
