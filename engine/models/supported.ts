// Which models this version can run: the one table that finding, the catalogue and `hearth models` go by.

/**
 * Architectures and the tensor types of their weight matrices that the native core computes with. Keep it as native/core/model.cpp
 * is: that file has the last word when a model is loaded, this table says the same without loading one.
 */
export const SUPPORTED: Readonly<Record<string, readonly string[]>> = {
	'gpt-oss': ['MXFP4', 'Q8_0', 'F16', 'BF16', 'F32'],
};

/** What a GGUF's header says about what it is. */
export interface ModelKind {
	/** `general.architecture` */
	architecture: string;
	/** Types of its tensors of two and more dimensions. */
	matrixTypes: readonly string[];
}

/** What files hold that are no language models, by architecture. */
const OTHER_KINDS: Readonly<Record<string, string>> = {
	clip: 'it is the vision part of a model, not a language model',
	bert: 'it makes embeddings and does not write',
	'nomic-bert': 'it makes embeddings and does not write',
	'jina-bert-v2': 'it makes embeddings and does not write',
	whisper: 'it recognises speech and is no language model',
	gptoss:
		'it has Ollama’s own layout of gpt-oss (architecture "gptoss"), which only Ollama reads; download gpt-oss as a GGUF of architecture "gpt-oss"',
};

/** Why this version cannot run such a model, as part of a sentence; undefined: it can. */
export function whyUnsupported({ architecture, matrixTypes }: ModelKind): string | undefined {
	if (architecture === '') return 'it names no architecture';
	const supported = Object.hasOwn(SUPPORTED, architecture) ? SUPPORTED[architecture] : undefined;
	if (!supported) {
		if (Object.hasOwn(OTHER_KINDS, architecture)) return OTHER_KINDS[architecture];
		return `this version runs ${Object.keys(SUPPORTED).join(', ')} models and not the architecture "${architecture}"`;
	}
	const strange = matrixTypes.filter((type) => !supported.includes(type));
	if (strange.length === 0) return undefined;
	return `this version does not compute with ${strange.join(', ')} weights (${supported.join(', ')} are possible)`;
}
