// Which models this version can run. Finding models, the catalogue, `hearth info` and loading all ask this file.
import type { GgufHeader, MetadataValue } from '../../native/index';
import { matrixTypes } from '../gguf/tensor-types';
import { quote } from '../quote';
import { CONTROL_NAMES } from '../tokenizer/control-names';
import { PRE_TOKENIZER_NAMES } from '../tokenizer/pre-tokenizer';

/**
 * The vocabularies that this version can read. The native core needs them to say from a header whether its model could
 * be opened.
 */
export const VOCABULARY_RULES = { preTokenizers: PRE_TOKENIZER_NAMES, controlNames: CONTROL_NAMES };

/**
 * Architectures and the tensor types of their weight matrices. native/core/model.cpp (`kArchitectures`) decides when a
 * model is loaded. This table says the same without loading a model, and a test compares the two.
 */
export const SUPPORTED: Readonly<Record<string, readonly string[]>> = {
	'gpt-oss': matrixTypes,
	llama: matrixTypes,
	qwen2: matrixTypes,
	qwen3: matrixTypes,
	qwen3moe: matrixTypes,
};

/** What kind of model a GGUF's header describes. */
interface ModelKind {
	/** `general.architecture` */
	architecture: string;
	/** The types of its tensors that have two or more dimensions. */
	matrixTypes: readonly string[];
}

/** Files that hold no language model, by architecture, and what they hold instead. */
const OTHER_KINDS: Readonly<Record<string, string>> = {
	clip: 'it is the vision part of a model, not a language model',
	bert: 'it makes embeddings and does not write',
	'nomic-bert': 'it makes embeddings and does not write',
	'jina-bert-v2': 'it makes embeddings and does not write',
	whisper: 'it recognises speech and is no language model',
	gptoss:
		'it has Ollama’s own layout of gpt-oss (architecture "gptoss"), which only Ollama reads; download gpt-oss as a GGUF of architecture "gpt-oss"',
};

/** Why this version cannot run such a model, as part of a sentence. Undefined where it can. */
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
 * Why this version cannot run a file's model, as part of a sentence. Undefined where it can. This covers everything
 * that loading checks except memory, and loading asks it, too: it gives the native core's refusal of the header, in
 * plainer words where there are some. A header that was read without rules, or made by hand, is judged by its
 * architecture and types alone.
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

/** An error's sentence about a file, without the file's name: for places that show the name beside it. */
export function withoutFile(message: string, file: string): string {
	if (message.startsWith(`${file} `)) return `it ${message.slice(file.length + 1)}`;
	return message.startsWith(`${file}: `) ? message.slice(file.length + 2) : message;
}

/** A metadata value that should be text but may be anything. */
export function text(value: MetadataValue | undefined): string {
	return typeof value === 'string' ? value : '';
}
