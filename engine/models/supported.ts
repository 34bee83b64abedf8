// Which models this version can run: what finding, the catalogue, `hearth info` and loading go by.
import type { GgufHeader, MetadataValue } from '../../native/index';
import { matrixTypes } from '../gguf/tensor-types';
import { quote } from '../quote';
import { CONTROL_NAMES } from '../tokenizer/control-names';
import { PRE_TOKENIZER_NAMES } from '../tokenizer/pre-tokenizer';

/** What the native core is told of the vocabularies that can be read, to say of a header whether its model could be opened. */
export const VOCABULARY_RULES = { preTokenizers: PRE_TOKENIZER_NAMES, controlNames: CONTROL_NAMES };

/**
 * Architectures and the tensor types of their weight matrices. native/core/model.cpp (`kArchitectures`) has the last word when a
 * model is loaded; this says the same without loading one, and a test holds the two together.
 */
export const SUPPORTED: Readonly<Record<string, readonly string[]>> = {
	'gpt-oss': matrixTypes,
	llama: matrixTypes,
	qwen2: matrixTypes,
	qwen3: matrixTypes,
	qwen3moe: matrixTypes,
};

/** What a GGUF's header says about what it is. */
interface ModelKind {
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
		return `this version runs ${Object.keys(SUPPORTED).join(', ')} models and not the architecture ${quote(architecture)}`;
	}
	const strange = matrixTypes.filter((type) => !supported.includes(type));
	if (strange.length === 0) return undefined;
	return `this version does not compute with ${strange.join(', ')} weights (${supported.join(', ')} are possible)`;
}

/**
 * Why this version cannot run a file's model, as part of a sentence; undefined: it can. This is everything that loading checks but
 * for memory, and loading asks it, too: what the native core says of the header, with plainer words where there are some. A header
 * that was read without rules, or made by hand, is judged by its architecture and types alone.
 */
export function whyNotRun(header: GgufHeader): string | undefined {
	const { metadata, tensors, refusal } = header;
	const architecture = text(metadata.get('general.architecture'));
	const kind = text(metadata.get('general.type'));
	if (tensors.length === 0) return 'it holds no weights';
	if (kind === 'adapter') return 'it is an adapter (LoRA) for a model, not a model';
	if (kind === 'mmproj') return OTHER_KINDS['clip'];
	if (architecture === 'eagle3') return 'it is a draft head that guesses for a larger model, not a model of its own';
	if (refusal === '') return undefined;
	const matrices = tensors.filter(({ shape }) => shape.filter((length) => length > 1).length > 1);
	const matrixTypes = [...new Set(matrices.map(({ type }) => type))];
	return whyUnsupported({ architecture, matrixTypes }) ?? (refusal && withoutFile(refusal, header.path ?? ''));
}

/** An error's sentence about a file where the file is named beside it. */
export function withoutFile(message: string, file: string): string {
	if (message.startsWith(`${file} `)) return `it ${message.slice(file.length + 1)}`;
	return message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message;
}

/** Metadata that should be text and may be anything. */
export function text(value: MetadataValue | undefined): string {
	return typeof value === 'string' ? value : '';
}
