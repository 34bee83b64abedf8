// Vocabularies of synthetic models: o200k_harmony, as gpt-oss has it, and a small one for small files.
import type { GgufHeader, StringTable } from '../../native/index';
import { StringTableBuilder } from '../gguf/string-table';
import { encodeByteLevel } from '../tokenizer/byte-level';
import { TokenIndex } from '../tokenizer/token-index';
import { TokenType } from '../tokenizer/token-type';
import { trainMerges } from './bpe-trainer';

export interface VocabularyTables {
	/** The text of each token in the byte-level alphabet. A special token has its name. */
	tokens: StringTable;
	/** [tokens]: the type of each token by llama.cpp's numbers. */
	tokenTypes: Int32Array;
	/** Each merge as "left right", in the byte-level alphabet. */
	merges: StringTable;
	bosId: number;
	eosId: number;
	paddingId: number;
}

const textEncoder = new TextEncoder();

/**
 * The special tokens that o200k_harmony lists, in the order of their ids from 199,998 on (openai/harmony
 * `src/tiktoken_ext/public_encodings.rs`).
 */
const harmonySpecials = [
	'<|startoftext|>',
	'<|endoftext|>',
	'<|reserved_200000|>',
	'<|reserved_200001|>',
	'<|return|>',
	'<|constrain|>',
	'<|reserved_200004|>',
	'<|channel|>',
	'<|start|>',
	'<|end|>',
	'<|message|>',
	'<|reserved_200009|>',
	'<|reserved_200010|>',
	'<|reserved_200011|>',
	'<|call|>',
	'<|reserved_200013|>',
	'<|reserved_200014|>',
	'<|reserved_200015|>',
	'<|reserved_200016|>',
	'<|reserved_200017|>',
	'<|endofprompt|>',
];

/** gpt-oss pads its vocabulary to a multiple of 64 with tokens that are never used. */
const O200K_TOKENS = 201_088;

/**
 * The 201,088 tokens and 446,189 merges of gpt-oss. The merges are every split of every token into two tokens, in the
 * order of the tokens' ranks. Hugging Face's conversion of tiktoken files makes the same ones (transformers
 * `TikTokenConverter`).
 */
export async function o200kVocabulary(): Promise<VocabularyTables> {
	const { o200kRanks } = await import('./o200k-ranks.js');
	return rankedVocabulary(o200kRanks, harmonySpecials, O200K_TOKENS);
}

/**
 * A vocabulary in tiktoken's order: first the tokens of text by rank, then the special ones. A token of text is given
 * as text, or as bytes where they are not UTF-8.
 * @param size tokens of the whole vocabulary. The ids that are left over become tokens that are never used.
 */
export function rankedVocabulary(
	ranks: readonly (string | readonly number[])[],
	specials: readonly string[],
	size = ranks.length + specials.length,
): VocabularyTables {
	const texts = ranks.map((token) => (typeof token === 'string' ? textEncoder.encode(token) : Uint8Array.from(token)));
	return vocabulary(texts, everySplit(texts), [...specials], size);
}

/**
 * A vocabulary of the 256 bytes, up to `mergeCount` merges trained on `corpus`, and the named special tokens of
 * o200k_harmony. The special tokens have other ids than in gpt-oss, so look them up by name.
 */
export function trainedVocabulary(corpus: string, mergeCount: number): VocabularyTables {
	const { tokens, merges } = trainMerges(corpus, mergeCount);
	const specials = harmonySpecials.filter((name) => !name.startsWith('<|reserved'));
	return vocabulary(tokens, merges, specials, tokens.length + specials.length);
}

/** The part of a GGUF header that a tokenizer needs. `pre` is the pre-tokenizer's name. */
export function vocabularyHeader(vocabulary: VocabularyTables, pre = 'gpt-4o'): GgufHeader {
	const metadata: GgufHeader['metadata'] = new Map();
	metadata.set('tokenizer.ggml.model', 'gpt2');
	metadata.set('tokenizer.ggml.pre', pre);
	metadata.set('tokenizer.ggml.bos_token_id', vocabulary.bosId);
	metadata.set('tokenizer.ggml.tokens', vocabulary.tokens);
	metadata.set('tokenizer.ggml.token_type', vocabulary.tokenTypes);
	metadata.set('tokenizer.ggml.merges', vocabulary.merges);
	return { version: 3, fileBytes: 0, metadata, tensors: [] };
}

function vocabulary(
	texts: Uint8Array[],
	merges: Iterable<[left: number, right: number]>,
	specials: string[],
	size: number,
): VocabularyTables {
	const tokens = new StringTableBuilder();
	const tokenTypes = new Int32Array(size).fill(TokenType.unused);
	const written: Uint8Array[] = [];
	for (const text of texts) {
		const target = new Uint8Array(2 * text.length);
		const token = target.subarray(0, encodeByteLevel(text, 0, text.length, target, 0));
		written.push(token);
		tokens.add(token);
	}
	tokenTypes.fill(TokenType.normal, 0, texts.length);
	for (const name of specials) tokens.add(name);
	tokenTypes.fill(TokenType.control, texts.length, texts.length + specials.length);
	// llama.cpp's convert_hf_to_gguf.py gives this name to ids without a token.
	for (let id = texts.length + specials.length; id < size; id++) tokens.add(`[PAD${id}]`);

	const lines = new StringTableBuilder();
	let line = new Uint8Array(512);
	for (const [left, right] of merges) {
		const [a, b] = [written[left]!, written[right]!];
		if (a.length + b.length + 1 > line.length) line = new Uint8Array(2 * (a.length + b.length + 1));
		line.set(a);
		line[a.length] = 0x20;
		line.set(b, a.length + 1);
		lines.add(line.subarray(0, a.length + 1 + b.length));
	}
	const id = (name: string) => texts.length + specials.indexOf(name);
	return {
		tokens: tokens.build(),
		tokenTypes,
		merges: lines.build(),
		bosId: id('<|startoftext|>'),
		eosId: id('<|return|>'),
		paddingId: id('<|endoftext|>'),
	};
}

/**
 * Every split of each token into two tokens. Tokens come in order; the splits of one token are ordered by the ids of
 * their parts.
 */
function* everySplit(texts: Uint8Array[]): Iterable<[left: number, right: number]> {
	const starts = new Uint32Array(texts.length + 1);
	for (let id = 0; id < texts.length; id++) starts[id + 1] = starts[id]! + texts[id]!.length;
	const bytes = new Uint8Array(starts[texts.length]!);
	const index = new TokenIndex(bytes, starts, texts.length);
	for (let id = 0; id < texts.length; id++) {
		bytes.set(texts[id]!, starts[id]!);
		index.add(id);
	}
	for (const text of texts) {
		const splits: [number, number][] = [];
		for (let cut = 1; cut < text.length; cut++) {
			const left = index.find(text, 0, cut);
			const right = left < 0 ? -1 : index.find(text, cut, text.length);
			if (right >= 0) splits.push([left, right]);
		}
		yield* splits.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
	}
}
