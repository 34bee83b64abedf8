// The pre-tokenizers that Hearth knows, by the name that a GGUF gives them in `tokenizer.ggml.pre`. A pre-tokenizer
// cuts text into pieces that byte-pair merges never cross. Some rules go with it.

import { quote } from '../quote';
import { Gpt2Scanner } from './gpt2-scanner';
import { Llama3Scanner } from './llama3-scanner';
import { O200kScanner } from './o200k-scanner';
import type { Scanner } from './scanner';

export interface PreTokenizer {
	/** Scans valid UTF-8 in `bytes[0, length)`. */
	scan(bytes: Uint8Array, length: number): Scanner;
	/** Whether a piece that is itself a token is taken whole and not merged, as in tiktoken. */
	wholePieces: boolean;
	/** Whether text begins with the BOS token where `tokenizer.ggml.add_bos_token` does not say. */
	addsBos: boolean;
}

const o200k: PreTokenizer = {
	scan: (bytes, length) => new O200kScanner(bytes, length),
	wholePieces: true,
	addsBos: false,
};
const llama3: PreTokenizer = {
	scan: (bytes, length) => new Llama3Scanner(bytes, length, 3),
	wholePieces: true,
	addsBos: true,
};
const qwen2: PreTokenizer = {
	scan: (bytes, length) => new Llama3Scanner(bytes, length, 1),
	wholePieces: false,
	addsBos: false,
};
const gpt2: PreTokenizer = {
	scan: (bytes, length) => new Gpt2Scanner(bytes, length, false),
	wholePieces: false,
	addsBos: false,
};
const smollm: PreTokenizer = {
	scan: (bytes, length) => new Gpt2Scanner(bytes, length, true),
	wholePieces: false,
	addsBos: false,
};

/** The names are llama.cpp's (`src/llama-vocab.cpp`). Some of them mean the same. */
const preTokenizers = new Map<string, PreTokenizer>([
	['gpt-4o', o200k],
	['llama-bpe', llama3],
	['llama3', llama3],
	['llama-v3', llama3],
	['qwen2', qwen2],
	['deepseek-r1-qwen', qwen2],
	['gpt-2', gpt2],
	['smollm', smollm],
	// Code models by BigCode and IBM use these. Their tokenizers differ from SmolLM's in the vocabulary only.
	['starcoder', smollm],
	['refact', smollm],
]);

/** The names in the order in which messages list them. */
export const PRE_TOKENIZER_NAMES: readonly string[] = [...preTokenizers.keys()];

/** @throws an error that names the pre-tokenizer and those that are known. */
export function preTokenizerOf(name: string): PreTokenizer {
	const known = preTokenizers.get(name);
	if (known) return known;
	const names = PRE_TOKENIZER_NAMES.map((each) => `"${each}"`).join(', ');
	throw new Error(`tokenizer.ggml.pre ${quote(name)} is not supported; Hearth knows ${names}`);
}
