// Runs token sequences through the native core in pieces that the test chooses.
import type { CacheType, NativeCache, NativeModel } from '../../native/index';

export interface ForwardOptions {
	/** The most rows of a step; default 512. */
	chunk?: number;
	/** Positions whose logits are wanted, ascending; default: all. */
	positions?: readonly number[];
	/** The blocks of the sequence; default 0, 1, 2… */
	blockTable?: Int32Array;
	/** A cache to use, which stays open; default: a new cache that is closed afterwards. */
	cache?: NativeCache;
	/** Tokens before this position are assumed to be in the cache already. */
	start?: number;
	cacheType?: CacheType;
}

/** Computes `tokens` as one sequence. Returns [positions × vocabulary] logits. */
export async function forward(
	model: NativeModel,
	tokens: ArrayLike<number>,
	options: ForwardOptions = {},
): Promise<Float32Array> {
	const { chunk = 512, start = 0 } = options;
	const blocks = Math.ceil(tokens.length / 32);
	const cache =
		options.cache ?? model.createCache({ blocks, ...(options.cacheType ? { type: options.cacheType } : {}) });
	const blockTable = options.blockTable ?? Int32Array.from({ length: blocks }, (_, i) => i);
	const wanted = options.positions ?? Array.from({ length: tokens.length - start }, (_, i) => start + i);
	const vocabulary = model.info.vocabularySize;
	const logits = new Float32Array(wanted.length * vocabulary);
	let filled = 0;
	for (let first = start; first < tokens.length; first += chunk) {
		const rows = Math.min(chunk, tokens.length - first);
		const outputs = wanted.filter((position) => position >= first && position < first + rows);
		const result = await model.step(cache, {
			tokens: Int32Array.from({ length: rows }, (_, i) => tokens[first + i]!),
			positions: Int32Array.from({ length: rows }, (_, i) => first + i),
			sequences: new Int32Array(rows),
			blockTables: [blockTable],
			outputs: Int32Array.from(outputs, (position) => position - first),
			logits: true,
		});
		if (result.logits) logits.set(result.logits, filled * vocabulary);
		filled += outputs.length;
	}
	if (!options.cache) cache.close();
	return logits;
}

/** Seeded token ids below `vocabulary` (Lehmer's generator, MINSTD). */
export function randomTokens(count: number, vocabulary: number, seed: number): Int32Array {
	let state = (seed % 2147483646) + 1;
	return Int32Array.from({ length: count }, () => {
		state = (state * 48271) % 2147483647;
		return state % vocabulary;
	});
}
