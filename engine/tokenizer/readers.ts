// The kinds of tokenizers that Hearth reads, by the name that a GGUF gives them.
import { quote } from '../quote';
import type { TokensReader } from './encoder';
import { readByteLevelBpe } from './read-byte-level-bpe';

/** The readers by `tokenizer.ggml.model`. The names are llama.cpp's (`src/llama-vocab.cpp`). */
const READERS: ReadonlyMap<string, TokensReader> = new Map([['gpt2', readByteLevelBpe]]);

/** @throws an error that names the kind of tokenizer and the known ones. */
export function readerOf(model: string): TokensReader {
	const reader = READERS.get(model);
	if (reader) return reader;
	throw new Error(`tokenizer.ggml.model ${quote(model)} is not supported; Hearth reads byte-level BPE ("gpt2")`);
}
