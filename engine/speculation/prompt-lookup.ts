// Drafts from the sequence's own text. The last few tokens are looked for earlier in the prompt or the generated text,
// and the tokens that followed them there are the draft. Code and edits repeat themselves, and such a draft needs no
// model and hardly any memory. The method follows Saxena, "Prompt Lookup Decoding" (2023), with two differences: it
// takes the longest match instead of a fixed n-gram, and it remembers the place that is being copied. Behind a change
// in an edit, copying goes on near that place.
import type { DraftGround, DraftRequest, DraftSequence, DraftSource } from './draft-source';

/** At least so many tokens must agree before a continuation is proposed. Two tokens alone agree by chance too often. */
const LEAST_MATCH = 3;
/** At least so many tokens must agree near the place that is being copied. */
const LEAST_MATCH_NEAR = 2;
/**
 * An edit may repeat or remove text. Copying may therefore go on so many tokens before or behind the expected place.
 */
const NEAR_BEFORE = 4;
const NEAR_BEHIND = 16;
/** The length of a match is counted up to this. */
const LONGEST_MATCH = 64;
/** At most so many earlier places are looked at, the latest first. */
const MAX_CANDIDATES = 24;

/**
 * The kinds of matches, each with the least number of tokens that agree. Text that has repeated for long goes on
 * repeating, above all where it was being copied. docs/performance-log.md tells what the distinction gains.
 */
const KINDS: readonly (DraftGround & { near: boolean; tokens: number })[] = [
	{ near: true, tokens: 64, kind: 12, prior: 0.98 },
	{ near: true, tokens: 32, kind: 11, prior: 0.97 },
	{ near: true, tokens: 16, kind: 10, prior: 0.95 },
	{ near: true, tokens: 6, kind: 9, prior: 0.85 },
	{ near: true, tokens: 3, kind: 8, prior: 0.65 },
	{ near: true, tokens: LEAST_MATCH_NEAR, kind: 7, prior: 0.6 },
	{ near: false, tokens: 64, kind: 6, prior: 0.97 },
	{ near: false, tokens: 32, kind: 5, prior: 0.95 },
	{ near: false, tokens: 16, kind: 4, prior: 0.9 },
	{ near: false, tokens: 10, kind: 3, prior: 0.8 },
	{ near: false, tokens: 6, kind: 2, prior: 0.65 },
	{ near: false, tokens: 4, kind: 1, prior: 0.55 },
	{ near: false, tokens: LEAST_MATCH, kind: 0, prior: 0.5 },
];

/** An earlier place in a sequence that has the same tokens as the sequence's end. */
interface Match {
	/** The length that the sequence had when the match was found. */
	readonly at: number;
	/** The position behind the tokens that agree, and -1 if there is no match. */
	readonly end: number;
	/** How many tokens agree, up to LONGEST_MATCH. */
	readonly length: number;
	/** Whether the match is near the place that is being copied. */
	readonly near: boolean;
}

/** Proposes for each sequence the tokens that followed the longest earlier match in its own text. */
export class PromptLookup implements DraftSource {
	readonly #indices = new WeakMap<DraftSequence, LookupIndex>();

	ground(sequence: DraftSequence): DraftGround | undefined {
		const match = this.#indexOf(sequence).match();
		return KINDS.find(({ near, tokens }) => near === match.near && match.length >= tokens);
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

/** An index of one growing sequence. It finds places by the `LEAST_MATCH` tokens before them. */
export class LookupIndex {
	readonly #tokens: number[] = [];
	/** The position behind the latest occurrence of an n-gram, by the n-gram's hash. */
	readonly #latest = new Map<number, number>();
	/** For each position the nearest earlier one with the same hash, and -1 if there is none. */
	readonly #earlier: number[] = [];
	#match: Match = { at: -1, end: -1, length: 0, near: false };
	/** The position at which copying would continue behind the sequence's end. It is -1 if nothing is being copied. */
	#copied = -1;

	/** Adds the tokens that the sequence has gained since the last call. */
	update(tokens: readonly number[]): void {
		while (this.#tokens.length < tokens.length) {
			this.#tokens.push(tokens[this.#tokens.length]!);
			const end = this.#tokens.length;
			// The newest n-gram has no continuation yet, so it is indexed when the next token arrives.
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
	 * Finds the longest earlier match of the sequence's end. Among equally long matches it takes the latest, since text
	 * repeats what is near. A match near the place being copied goes first if as many tokens agree there as elsewhere, or
	 * at least LEAST_MATCH do.
	 */
	match(): Match {
		const { length: end } = this.#tokens;
		if (this.#match.at === end) return this.#match;
		this.#moveOn(end);
		const copied = this.#longest(this.#placesNear(), LEAST_MATCH_NEAR);
		const any = this.#longest(this.#placesAlike(), LEAST_MATCH);
		const near = copied.length > 0 && (copied.length >= any.length || copied.length >= LEAST_MATCH);
		this.#match = { at: end, near: near || this.#isNear(any.end), ...(near ? copied : any) };
		return this.#match;
	}

	/**
	 * Moves the copied place. If tokens since the last match continued as predicted, copying goes on behind that match.
	 */
	#moveOn(end: number): void {
		const { at, end: from } = this.#match;
		if (at < 0) return;
		let right = 0;
		while (from >= 0 && at + right < end && this.#tokens[from + right] === this.#tokens[at + right]) right++;
		if (right > 0) this.#copied = from + end - at;
		else if (this.#copied >= 0) this.#copied += end - at;
	}

	#isNear(position: number): boolean {
		return this.#copied >= 0 && position >= this.#copied - NEAR_BEFORE && position <= this.#copied + NEAR_BEHIND;
	}

	/** The places near the one being copied, the nearest first. */
	*#placesNear(): Generator<number> {
		if (this.#copied < 0) return;
		for (let distance = 0; distance <= NEAR_BEHIND; distance++) {
			yield this.#copied + distance;
			if (distance > 0 && distance <= NEAR_BEFORE) yield this.#copied - distance;
		}
	}

	/** The places behind n-grams with the same hash as the n-gram at the end, the latest first. */
	*#placesAlike(): Generator<number> {
		if (this.#tokens.length < LEAST_MATCH) return;
		let position = this.#latest.get(this.#hash(this.#tokens.length)) ?? -1;
		for (let seen = 0; position >= 0 && seen < MAX_CANDIDATES; seen++) {
			yield position;
			position = this.#earlier[position] ?? -1;
		}
	}

	/** The one of `places` at which most tokens agree with the end, the first among equals. */
	#longest(places: Iterable<number>, least: number): { end: number; length: number } {
		let longest = { end: -1, length: 0 };
		for (const place of places) {
			const length = place < this.#tokens.length ? this.#matchLength(place, this.#tokens.length) : 0;
			if (length >= least && length > longest.length) longest = { end: place, length };
			if (length >= LONGEST_MATCH) break;
		}
		return longest;
	}

	/** At most `limit` tokens that may come next. */
	propose(limit: number): number[] {
		const { end: from, length } = this.match();
		if (length === 0) return [];
		// A match that reaches the end continues with the draft itself: "a, b, " proposes "a, b, a, b, …".
		const draft: number[] = [];
		const end = this.#tokens.length;
		for (let i = 0; i < limit; i++) {
			const at = from + i;
			draft.push(at < end ? this.#tokens[at]! : draft[at - end]!);
		}
		return draft;
	}

	/** How many tokens before `position` equal those before `end`, up to LONGEST_MATCH. */
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

	/**
	 * A hash of the LEAST_MATCH tokens before a position. Collisions do no harm, because matches are compared token by
	 * token.
	 */
	#hash(position: number): number {
		let hash = 0;
		for (let i = position - LEAST_MATCH; i < position; i++) hash = (Math.imul(hash, 0x01000193) ^ this.#tokens[i]!) | 0;
		return hash;
	}
}
