// How the bytes of a model's weights are shared out, for what a step reads at least.
import type { GgufHeader } from '../../native/index';

export interface WeightBytes {
	/** Of all experts, of which a token reads a few. */
	expertBytes: number;
	/** Of the output head, which only rows that are sampled read. */
	headBytes: number;
}

export function weightBytes(header: GgufHeader): WeightBytes {
	return {
		expertBytes: tensorBytes(header, /_exps\./),
		// Where the file ties the two, the embedding is the head.
		headBytes: tensorBytes(header, /^output\.weight$/) || tensorBytes(header, /^token_embd\.weight$/),
	};
}

function tensorBytes({ tensors }: GgufHeader, name: RegExp): number {
	return tensors.filter((tensor) => name.test(tensor.name)).reduce((sum, { bytes }) => sum + bytes, 0);
}
