// Names by which a token is no text, whatever type its file gives it: turns and gaps of models are marked with them, and text must
// never become one. llama.cpp overrides the types of most of them, too (`src/llama-vocab.cpp`, "control-looking token").

/** Names that end a turn or a text. */
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
 * Names of the tokens of fill-in-the-middle, by the kind that a GGUF's keys have for them (`tokenizer.ggml.fim_…_token_id`): of
 * Qwen, StarCoder and Granite, DeepSeek, CodeLlama, GLM. This is the only list of them.
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
 * StarCoder 2's and Granite's names of two of these tokens. They are tokens of fill-in-the-middle only where a tokenizer.json has
 * them: in a GGUF llama.cpp does not go by these names.
 */
export const FILL_NAMES_OF_CONVERSION: Partial<Record<FillKind, readonly string[]>> = {
	rep: ['<repo_name>'],
	sep: ['<file_sep>'],
};

/** All of these names. */
export const CONTROL_NAMES: readonly string[] = [...END_NAMES, ...Object.values(FILL_NAMES).flat()];

const ENCLOSED = /^<(?:\|.+\||｜.+｜)>$/su;
const names = new Set(CONTROL_NAMES);

/** Whether a token of this name is a control token whatever its type says: one of the names above, `<|…|>` or `<｜…｜>`. */
export function isControlName(name: string): boolean {
	return names.has(name) || ENCLOSED.test(name);
}
