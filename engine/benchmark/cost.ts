// The least that a step must read and multiply, computed from the architecture. It is the roofline that speeds are
// compared with.
import type { ModelInfo } from '../../native/index';
import type { WeightBytes } from '../models/weight-bytes';
import { MAX_CHUNK } from '../runtime/scheduler';

export interface ModelCost {
	info: Pick<
		ModelInfo,
		| 'layers'
		| 'embeddingLength'
		| 'vocabularySize'
		| 'headCount'
		| 'headCountKv'
		| 'headLength'
		| 'expertCount'
		| 'expertUsedCount'
		| 'expertFeedForwardLength'
		| 'slidingWindow'
		| 'bytesPerToken'
	>;
	weights: WeightBytes;
	/** Bytes of the keys and values that one position takes in all layers. */
	cacheBytesPerToken: number;
}

/** Experts of a layer that `rows` rows touch on average if each row chooses independently: n·(1 − (1 − k/n)^rows). */
export function expectedExperts(experts: number, used: number, rows: number): number {
	return experts * (1 - (1 - used / experts) ** rows);
}

/**
 * Bytes of weights that a step of `rows` rows reads, each weight once.
 * @param outputs whether any row's successor is sampled.
 */
export function stepWeightBytes({ info, weights }: ModelCost, rows: number, outputs = true): number {
	if (info.expertCount === 0) return info.bytesPerToken - (outputs ? 0 : weights.headBytes);
	const share = (touched: number) => (weights.expertBytes * touched) / info.expertCount;
	const others = info.bytesPerToken - share(info.expertUsedCount);
	const experts = share(expectedExperts(info.expertCount, info.expertUsedCount, rows));
	return others + experts - (outputs ? 0 : weights.headBytes);
}

/**
 * Bytes of the keys and values that the row at `position` reads: all of them in full layers, those of the window in
 * sliding layers. Where the model has a window, the even layers slide.
 */
export function attentionBytes({ info, cacheBytesPerToken }: ModelCost, position: number): number {
	const layer = cacheBytesPerToken / info.layers;
	const full = info.slidingWindow === 0 ? info.layers : Math.floor(info.layers / 2);
	const seen = position + 1;
	return layer * (full * seen + (info.layers - full) * Math.min(seen, info.slidingWindow));
}

/** Multiply-adds with weights for one row. Attention over the cache is not int8 work, so it is left out. */
export function multiplyAdds({ info }: ModelCost, output = true): number {
	const { embeddingLength: width, headCount, headCountKv, headLength } = info;
	const attention = 2 * width * headLength * (headCount + headCountKv);
	// A dense feed-forward network counts as one expert that needs no router.
	const feedForward = width * (info.expertCount + 3 * Math.max(1, info.expertUsedCount) * info.expertFeedForwardLength);
	return info.layers * (attention + feedForward) + (output ? width * info.vocabularySize : 0);
}

export interface Work {
	/** Bytes that are read for each token of the test. */
	bytesPerToken: number;
	multiplyAddsPerToken: number;
}

/** The work of `streams` sequences that decode `length` tokens each in common steps, from position `depth` on. */
export function decodeWork(model: ModelCost, streams: number, length: number, depth = 0): Work {
	let attention = 0;
	for (let i = 0; i < length; i++) attention += attentionBytes(model, depth + i);
	return {
		bytesPerToken: stepWeightBytes(model, streams) / streams + attention / length,
		multiplyAddsPerToken: multiplyAdds(model),
	};
}

/**
 * The work of a prompt that is read in the scheduler's largest chunks. Only its last row is sampled. Each chunk reads
 * the keys and values before it once.
 */
export function prefillWork(model: ModelCost, length: number): Work {
	let bytes = 0;
	for (let start = 0; start < length; start += MAX_CHUNK) {
		const rows = Math.min(MAX_CHUNK, length - start);
		const last = start + rows === length;
		bytes += stepWeightBytes(model, rows, last) + attentionBytes(model, start + rows - 1);
	}
	const head = multiplyAdds(model) - multiplyAdds(model, false);
	return { bytesPerToken: bytes / length, multiplyAddsPerToken: multiplyAdds(model, false) + head / length };
}
