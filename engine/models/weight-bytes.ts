// The parts of a model's weights, in bytes. They tell how many bytes a step reads at least.
import type { GgufHeader } from '../../native/index';

export interface WeightBytes {
	/** Bytes of all experts together. A token reads only a few of them. */
	expertBytes: number;
	/** Bytes of the output head. Only rows whose output is sampled read it. */
	headBytes: number;
}

export function weightBytes(header: GgufHeader): WeightBytes {
	return {
		expertBytes: tensorBytes(header, /_exps\./),
		// A file with tied embeddings has no output matrix; the embedding is the head.
		headBytes: tensorBytes(header, /^output\.weight$/) || tensorBytes(header, /^token_embd\.weight$/),
	};
}

function tensorBytes({ tensors }: GgufHeader, name: RegExp): number {
	return tensors.filter((tensor) => name.test(tensor.name)).reduce((sum, { bytes }) => sum + bytes, 0);
}
