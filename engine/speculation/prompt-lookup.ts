// Drafts from the text itself: what followed the last few tokens where they stood before, in the prompt or in what was
// generated. Code and edits repeat themselves, so this is the cheapest draft there is: no model, no memory to speak of.
// After Saxena, "Prompt Lookup Decoding" (2023), with the longest match instead of a fixed n-gram.
import type { DraftRequest, DraftSequence, DraftSource } from './draft-source';

/** Tokens that must agree before a continuation is proposed: two alone agree by chance too often. */
const LEAST_MATCH = 3;
/** Matches are told apart by length up to this. */
const LONGEST_MATCH = 32;
/** Earlier places looked at, latest first. */
const MAX_CANDIDATES = 24;

/** Proposes for each sequence what followed the longest earlier match in its own text. */
export class PromptLookup implements DraftSource {
	readonly #indices = new WeakMap<DraftSequence, LookupIndex>();

	propose(requests: readonly DraftRequest[]): number[][] {
		return requests.map(({ sequence, limit }) => {
			const index = this.#indices.get(sequence) ?? new LookupIndex();
			this.#indices.set(sequence, index);
			index.update(sequence.tokens);
			return index.propose(limit);
		});
	}
}

/** An index over one growing sequence: every place by the `LEAST_MATCH` tokens before it. */
export class LookupIndex {
	readonly #tokens: number[] = [];
	/** Position after the latest occurrence of an n-gram, by the n-gram's hash. */
	readonly #latest = new Map<number, number>();
	/** For each position, the position before it with the same hash; -1 for none. */
	readonly #earlier: number[] = [];

	/** Takes in what was added to the sequence since the last call. */
	update(tokens: readonly number[]): void {
		while (this.#tokens.length < tokens.length) {
			this.#tokens.push(tokens[this.#tokens.length]!);
			const end = this.#tokens.length;
			// The newest n-gram has no continuation yet: it is indexed when the next token arrives.
			if (end <= LEAST_MATCH) {
				this.#earlier.push(-1);
				continue;
			}
			const hash = this.#hash(end - 1);
			this.#earlier.push(this.#latest.get(hash) ?? -1);
			this.#latest.set(hash, end - 1);
		}
	}

	/** At most `limit` tokens that may come next. */
	propose(limit: number): number[] {
		const end = this.#tokens.length;
		if (limit <= 0 || end < LEAST_MATCH) return [];
		let best = -1;
		let bestLength = LEAST_MATCH - 1;
		let position = this.#latest.get(this.#hash(end)) ?? -1;
		for (let seen = 0; position >= 0 && seen < MAX_CANDIDATES && bestLength < LONGEST_MATCH; seen++) {
			const length = this.#matchLength(position, end);
			// Among equal matches the latest place wins: text repeats what is near.
			if (length > bestLength) {
				best = position;
				bestLength = length;
			}
			position = this.#earlier[position] ?? -1;
		}
		if (best < 0) return [];
		// A match that overlaps the end goes on by repeating itself: "a, b, " proposes "a, b, a, b, …".
		const draft: number[] = [];
		for (let i = 0; i < limit; i++) {
			const at = best + i;
			draft.push(at < end ? this.#tokens[at]! : draft[at - end]!);
		}
		return draft;
	}

	/** Tokens before `position` that equal those before `end`, up to LONGEST_MATCH. */
	#matchLength(position: number, end: number): number {
		let length = 0;
		while (
			length < LONGEST_MATCH &&
			length < position &&
			this.#tokens[position - 1 - length] === this.#tokens[end - 1 - length]
		) {
			length++;
		}
		return length;
	}

	/** Of the LEAST_MATCH tokens before a position. Collisions are harmless: matches are compared token by token. */
	#hash(position: number): number {
		let hash = 0;
		for (let i = position - LEAST_MATCH; i < position; i++) hash = (Math.imul(hash, 0x01000193) ^ this.#tokens[i]!) | 0;
		return hash;
	}
}
