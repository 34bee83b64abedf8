// Drafts from the text itself: what followed the last few tokens where they stood before, in the prompt or in what was
// generated. Code and edits repeat themselves, so this is the cheapest draft there is: no model, no memory to speak of.
// After Saxena, "Prompt Lookup Decoding" (2023), with the longest match instead of a fixed n-gram.
import type { DraftGround, DraftRequest, DraftSequence, DraftSource } from './draft-source';

/** Tokens that must agree before a continuation is proposed: two alone agree by chance too often. */
const LEAST_MATCH = 3;
/** Matches are told apart by length up to this. */
const LONGEST_MATCH = 32;
/** Earlier places looked at, latest first. */
const MAX_CANDIDATES = 24;

/**
 * Kinds of matches by the tokens that agree, at least: text that has gone on as before for long goes on so. The priors are from a
 * recorded code edit (engine/benchmark/recording.ts), where telling matches apart and drafting up to 32 tokens took a fifth less
 * time than one record for all and 16.
 */
const KINDS: readonly (DraftGround & { tokens: number })[] = [
	{ tokens: 32, kind: 5, prior: 0.95 },
	{ tokens: 16, kind: 4, prior: 0.9 },
	{ tokens: 10, kind: 3, prior: 0.8 },
	{ tokens: 6, kind: 2, prior: 0.65 },
	{ tokens: 4, kind: 1, prior: 0.55 },
	{ tokens: LEAST_MATCH, kind: 0, prior: 0.5 },
];

/** Proposes for each sequence what followed the longest earlier match in its own text. */
export class PromptLookup implements DraftSource {
	readonly #indices = new WeakMap<DraftSequence, LookupIndex>();

	ground(sequence: DraftSequence): DraftGround | undefined {
		const { length } = this.#indexOf(sequence).match();
		return KINDS.find(({ tokens }) => length >= tokens);
	}

	propose(requests: readonly DraftRequest[]): number[][] {
		return requests.map(({ sequence, limit }) => this.#indexOf(sequence).propose(limit));
	}

	#indexOf(sequence: DraftSequence): LookupIndex {
		const index = this.#indices.get(sequence) ?? new LookupIndex();
		this.#indices.set(sequence, index);
		index.update(sequence.tokens);
		return index;
	}
}

/** An index over one growing sequence: every place by the `LEAST_MATCH` tokens before it. */
export class LookupIndex {
	readonly #tokens: number[] = [];
	/** Position after the latest occurrence of an n-gram, by the n-gram's hash. */
	readonly #latest = new Map<number, number>();
	/** For each position, the position before it with the same hash; -1 for none. */
	readonly #earlier: number[] = [];
	/** The last answer of `match`, and the length of the sequence it is for. */
	#match = { at: -1, end: -1, length: 0 };

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

	/**
	 * The longest earlier match of the sequence's end, the latest among equals, as text repeats what is near: where it ends, and the
	 * tokens that agree, up to LONGEST_MATCH; length 0 if fewer than LEAST_MATCH do.
	 */
	match(): { end: number; length: number } {
		const { length: end } = this.#tokens;
		if (this.#match.at === end) return this.#match;
		this.#match = { at: end, end: -1, length: 0 };
		if (end < LEAST_MATCH) return this.#match;
		let position = this.#latest.get(this.#hash(end)) ?? -1;
		for (let seen = 0; position >= 0 && seen < MAX_CANDIDATES && this.#match.length < LONGEST_MATCH; seen++) {
			const length = this.#matchLength(position, end);
			if (length >= LEAST_MATCH && length > this.#match.length) this.#match = { at: end, end: position, length };
			position = this.#earlier[position] ?? -1;
		}
		return this.#match;
	}

	/** At most `limit` tokens that may come next. */
	propose(limit: number): number[] {
		const { end: from, length } = this.match();
		if (length === 0) return [];
		// A match that overlaps the end goes on by repeating itself: "a, b, " proposes "a, b, a, b, …".
		const draft: number[] = [];
		const end = this.#tokens.length;
		for (let i = 0; i < limit; i++) {
			const at = from + i;
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
