// Small models whose weights are all zero, for tests of what is read of a header. Each test changes one thing.
import path from 'node:path';
import type { TensorType } from '../../engine/gguf/tensor-types';
import { type GgufValue, writeGguf } from '../../engine/gguf/writer';
import { type ModelShape, metadataOf, planTensors } from '../../engine/synth/architecture';
import { trainedVocabulary } from '../../engine/synth/vocabulary';

export const vocabulary = trainedVocabulary('the cat sat on the mat. '.repeat(3), 20);
/** Tokens of the vocabulary, which is also the number of rows of the output matrix. */
export const vocabularySize = vocabulary.tokenTypes.length;

const shape: ModelShape = {
	...{ architecture: 'qwen3', layers: 1, embedding: 64, heads: 4, headsKv: 2, headLength: 16, feedForward: 64 },
	...{ experts: 4, expertsUsed: 2, slidingWindow: 16, contextLength: 128, ropeScaling: 'none', tied: false },
	...{ attentionType: 'Q8_0', feedForwardType: 'Q8_0' },
};

export interface Parts {
	metadata: Map<string, GgufValue>;
	tensors: { name: string; type: TensorType; shape: number[] }[];
}
export type Edit = (parts: Parts) => void;

/** Sets a key of the metadata. */
export function set(key: string, value: GgufValue): Edit {
	return ({ metadata }) => {
		metadata.set(key, value);
	};
}

/** Writes `<folder>/<name>.gguf` and resolves to its path. */
export async function writeSmall(
	folder: string,
	name: string,
	edit: Edit = () => {},
	change: Partial<ModelShape> = {},
): Promise<string> {
	const file = path.join(folder, `${name.replaceAll(/\W+/g, '-')}.gguf`);
	const full = { ...shape, ...change };
	const metadata = metadataOf(full, vocabulary, 'a model');
	metadata.set('tokenizer.ggml.pre', { type: 'string', value: 'qwen2' });
	const parts: Parts = { metadata, tensors: planTensors(full, vocabularySize) };
	edit(parts);
	const tensors = parts.tensors.map((tensor) => ({ ...tensor, *chunks() {} }));
	await writeGguf(file, parts.metadata, tensors, { sparse: true });
	return file;
}
