// The tokens with a meaning beside text, as a GGUF names them or, where it does not, by the names that models in use have.
import type { GgufHeader } from '../../native/index';
import { optionalNumber } from '../gguf/metadata';
import type { Tokenizer } from '../tokenizer/tokenizer';

/** Names that end a turn or a text in the models llama.cpp knows (`src/llama-vocab.cpp`, end-of-generation tokens). */
export const END_NAMES = [
	'<|eot_id|>',
	'<|eom_id|>',
	'<|im_end|>',
	'<|end|>',
	'<|return|>',
	'<|call|>',
	'<|endoftext|>',
	'<|end_of_text|>',
	'<end_of_turn>',
	'</s>',
	'<eos>',
];

/** Where generation ends: what the file says, and all tokens that end a turn in some family. */
export function endOfGeneration(header: GgufHeader, tokenizer: Tokenizer): Set<number> {
	const ids = ['eos', 'eot', 'eom'].map((key) => idAt(header, tokenizer, `tokenizer.ggml.${key}_token_id`));
	const named = END_NAMES.map((name) => tokenizer.findSpecial(name));
	return new Set([...ids, ...named].filter((id) => id !== undefined));
}

export interface FillTokens {
	prefix: number;
	suffix: number;
	middle: number;
	/** Before a repository's name and before each of its files; where the model knows them. */
	repository: number | undefined;
	file: number | undefined;
}

/** Names by family where the file has no ids (llama.cpp's `src/llama-vocab.cpp`): Qwen, StarCoder and Granite, DeepSeek, CodeLlama, GLM. */
const FILL_NAMES = {
	pre: ['<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '<|code_prefix|>'],
	suf: ['<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>', '<｜fim▁hole｜>', '<SUF>', '<|code_suffix|>'],
	mid: ['<|fim_middle|>', '<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '<|code_middle|>'],
	rep: ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
	sep: ['<|file_sep|>'],
} as const;

/** The tokens of fill-in-the-middle; undefined where the model was not trained for it. */
export function fillTokens(header: GgufHeader, tokenizer: Tokenizer): FillTokens | undefined {
	const find = (kind: keyof typeof FILL_NAMES) =>
		idAt(header, tokenizer, `tokenizer.ggml.fim_${kind}_token_id`) ??
		FILL_NAMES[kind].map((name) => tokenizer.findSpecial(name)).find((id) => id !== undefined);
	const [prefix, suffix, middle] = [find('pre'), find('suf'), find('mid')];
	if (prefix === undefined || suffix === undefined || middle === undefined) return undefined;
	return { prefix, suffix, middle, repository: find('rep'), file: find('sep') };
}

/** @throws where the file gives an id outside the vocabulary. */
function idAt(header: GgufHeader, tokenizer: Tokenizer, key: string): number | undefined {
	const id = optionalNumber(header, key);
	if (id !== undefined && !(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabularySize)) {
		throw new Error(`${key} is ${id}, outside the vocabulary of ${tokenizer.vocabularySize} tokens`);
	}
	return id;
}
