// What proposes tokens to verify. Speculation is lossless whatever a source proposes: a draft is kept only where it equals
// the token the model itself then chooses, so a bad source costs time and never a token.
import type { StepBatch } from '../../native/index';

/** A sequence as a source sees it: the same object from its first step until it is released. */
export interface DraftSequence {
	/** The prompt and what was accepted since: it only ever grows. The last token has not been computed yet when drafts are asked for. */
	readonly tokens: readonly number[];
}

export interface DraftRequest {
	sequence: DraftSequence;
	/** Tokens to propose at most; at least 1. */
	limit: number;
	/**
	 * The sequence's block table in the target's KV cache, with room for positions below `tokens.length + limit`. A source whose
	 * own cache lies in blocks of the same numbers needs it. It is valid until the next step has run.
	 */
	blocks: readonly number[];
}

/** What a draft is founded on. Drafts of one kind are right about equally often, which is learned, from `prior` on. */
export interface DraftGround {
	kind: number;
	/** Probability that a drafted token is right, given that those before it were, until it is known. */
	prior: number;
}

/**
 * Follows all sequences of an engine and guesses how they go on. Every call comes between two steps and is awaited, so a
 * source may compute natively, all sequences of a step in one pass. An error from it ends its use and fails no request.
 */
export interface DraftSource {
	/**
	 * What the next draft of a sequence would be founded on, told before its length is chosen and without making it; undefined
	 * where there would be none. Absent: the source's drafts are all alike.
	 */
	ground?(sequence: DraftSequence): DraftGround | undefined;
	/**
	 * @returns for each request the tokens that may come next, the likeliest continuation, at most `limit`; none where it has
	 * no idea.
	 */
	propose(requests: readonly DraftRequest[]): number[][] | Promise<number[][]>;
	/**
	 * Sees every step before it runs and may add to it what it needs from the step; `sequences[i]` has `batch.blockTables[i]`.
	 */
	prepare?(batch: StepBatch, sequences: readonly DraftSequence[]): void;
	/** The sequence has ended. */
	release?(sequence: DraftSequence): void;
	/** The engine closes; no call comes later. */
	close?(): void;
}
