// Trains a byte-level BPE vocabulary, as GPT-2 has it, on a text of some kilobytes (Sennrich et al. 2016).
import { o200kPattern } from '../tokenizer/o200k-scanner';

interface TrainedMerges {
	/** The bytes of each token by id: first the 256 single bytes, then one token for each merge. */
	tokens: Uint8Array[];
	/** Token 256 + i joins the pair of ids at i. */
	merges: [left: number, right: number][];
}

/**
 * Trains up to `count` merges, and fewer where no pair occurs twice. Each merge joins the most frequent pair; of
 * equally frequent ones, that of the lowest ids.
 */
export function trainMerges(corpus: string, count: number): TrainedMerges {
	const frequencies = new Map<string, number>();
	for (const [piece] of corpus.matchAll(o200kPattern)) frequencies.set(piece, (frequencies.get(piece) ?? 0) + 1);
	const encoder = new TextEncoder();
	const words = [...frequencies].map(([piece, frequency]) => ({ ids: [...encoder.encode(piece)], frequency }));

	const tokens = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
	const seen = new Set(tokens.map((token) => token.join()));
	const banned = new Set<number>();
	const merges: [number, number][] = [];
	while (merges.length < count) {
		const pairs = new Map<number, number>();
		for (const { ids, frequency } of words) {
			for (let i = 1; i < ids.length; i++) {
				const pair = ids[i - 1]! * 2 ** 24 + ids[i]!;
				pairs.set(pair, (pairs.get(pair) ?? 0) + frequency);
			}
		}
		let best = -1;
		let bestCount = 1;
		for (const [pair, pairCount] of pairs) {
			if (banned.has(pair)) continue;
			if (pairCount > bestCount || (pairCount === bestCount && best >= 0 && pair < best)) {
				best = pair;
				bestCount = pairCount;
			}
		}
		if (best < 0) break;
		const left = Math.floor(best / 2 ** 24);
		const right = best % 2 ** 24;
		const merged = Uint8Array.of(...tokens[left]!, ...tokens[right]!);
		// Two pairs may spell the same bytes, but a vocabulary holds a token's bytes only once.
		if (seen.has(merged.join())) {
			banned.add(best);
			continue;
		}
		seen.add(merged.join());
		const id = tokens.push(merged) - 1;
		merges.push([left, right]);
		for (const word of words) word.ids = mergePair(word.ids, left, right, id);
	}
	return { tokens, merges };
}

function mergePair(ids: number[], left: number, right: number, merged: number): number[] {
	const result: number[] = [];
	for (let i = 0; i < ids.length; i++) {
		if (ids[i] === left && ids[i + 1] === right) {
			result.push(merged);
			i++;
		} else {
			result.push(ids[i]!);
		}
	}
	return result;
}
