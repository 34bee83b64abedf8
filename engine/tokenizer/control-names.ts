// Names that make a token a control token, whatever type its file gives it. Such tokens mark turns and gaps, so text
// must never become one. llama.cpp overrides the types of most of them, too (`src/llama-vocab.cpp`, "control-looking
// token").

/** The names of tokens that end a turn or a text. */
export const END_NAMES = [
	'<|eot_id|>',
	'<|eom_id|>',
	'<|im_end|>',
	'<|end|>',
	'<|return|>',
	'<|call|>',
	'<|endoftext|>',
	'<|end_of_text|>',
	'<｜end▁of▁sentence｜>',
	'<end_of_turn>',
	'<end_of_utterance>',
	'<EOT>',
	'_<EOT>',
] as const;

/**
 * The names of the tokens of fill-in-the-middle, by the kind that a GGUF's keys have for them
 * (`tokenizer.ggml.fim_…_token_id`). They are those of Qwen, StarCoder and Granite, DeepSeek, CodeLlama and GLM. This
 * is the only list of them.
 */
export const FILL_NAMES = {
	pre: ['<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '▁<PRE>', '<|code_prefix|>'],
	suf: ['<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>', '<｜fim▁hole｜>', '<SUF>', '▁<SUF>', '<|code_suffix|>'],
	mid: ['<|fim_middle|>', '<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '▁<MID>', '<|code_middle|>'],
	pad: ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>'],
	rep: ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
	sep: ['<|file_sep|>'],
} as const satisfies Record<string, readonly string[]>;
export type FillKind = keyof typeof FILL_NAMES;

/**
 * StarCoder 2's and Granite's names of two of these tokens. Only in a tokenizer.json they mean fill-in-the-middle. In a
 * GGUF, llama.cpp ignores these names, and so does Hearth.
 */
export const FILL_NAMES_OF_CONVERSION: Partial<Record<FillKind, readonly string[]>> = {
	rep: ['<repo_name>'],
	sep: ['<file_sep>'],
};

/** All of these names. */
export const CONTROL_NAMES: readonly string[] = [...END_NAMES, ...Object.values(FILL_NAMES).flat()];

const ENCLOSED = /^<(?:\|.+\||｜.+｜)>$/su;
const names = new Set(CONTROL_NAMES);

/**
 * Whether a token of this name is a control token whatever its type says: one of the names above, `<|…|>` or `<｜…｜>`.
 */
export function isControlName(name: string): boolean {
	return names.has(name) || ENCLOSED.test(name);
}
