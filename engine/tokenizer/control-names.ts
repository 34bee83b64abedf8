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

/** Of fill-in-the-middle, where the file has no ids: Qwen, StarCoder and Granite, DeepSeek, CodeLlama, GLM. */
export const FILL_NAMES = {
	pre: ['<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '▁<PRE>', '<|code_prefix|>'],
	suf: ['<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>', '<｜fim▁hole｜>', '<SUF>', '▁<SUF>', '<|code_suffix|>'],
	mid: ['<|fim_middle|>', '<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '▁<MID>', '<|code_middle|>'],
	pad: ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>'],
	rep: ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
	sep: ['<|file_sep|>'],
} as const;

/** All of them. */
export const CONTROL_NAMES: readonly string[] = [...END_NAMES, ...Object.values(FILL_NAMES).flat()];

const ENCLOSED = /^<(?:\|.+\||｜.+｜)>$/su;
const names = new Set(CONTROL_NAMES);

/** Whether a token of this name is a control token whatever its type says: one of the names above, `<|…|>` or `<｜…｜>`. */
export function isControlName(name: string): boolean {
	return names.has(name) || ENCLOSED.test(name);
}
