// The interface of what proposes tokens for the model to verify. Speculation is lossless whatever a source proposes. A
// drafted token is kept only if the model itself chooses the same token there, so a bad source costs time but changes
// no token.
import type { StepBatch } from '../../native/index';

/** A sequence as a source sees it. It is the same object from the sequence's first step until its release. */
export interface DraftSequence {
	/**
	 * The prompt and all tokens accepted since. It only grows. When drafts are asked for, the last token has not been
	 * computed yet.
	 */
	readonly tokens: readonly number[];
}

export interface DraftRequest {
	sequence: DraftSequence;
	/** The most tokens to propose, at least 1. */
	limit: number;
	/**
	 * The sequence's block table in the target's KV cache. It has room for positions below `tokens.length + limit`, and is
	 * valid until the next step has run. A source needs it if its own cache lies in blocks with the same numbers.
	 */
	blocks: readonly number[];
}

/**
 * The ground that a draft is founded on. Drafts of one kind are right about equally often. How often is learned,
 * starting from `prior`.
 */
export interface DraftGround {
	kind: number;
	/**
	 * The assumed probability that a drafted token is right, given that those before it were. It counts until drafts were
	 * measured.
	 */
	prior: number;
}

/**
 * A draft source follows all sequences of an engine and guesses how they go on. Every call comes between two steps and
 * is awaited, so a source may compute natively and for all sequences of a step in one pass. An error ends the use of
 * the source and fails no request.
 */
export interface DraftSource {
	/**
	 * The ground of a sequence's next draft. It is asked for before the draft's length is chosen, and must not make the
	 * draft. It is undefined if there would be no draft. A source whose drafts are all alike does not have this method.
	 */
	ground?(sequence: DraftSequence): DraftGround | undefined;
	/**
	 * @returns for each request the likeliest continuation, at most `limit` tokens, and no tokens if the source has no
	 * guess.
	 */
	propose(requests: readonly DraftRequest[]): number[][] | Promise<number[][]>;
	/**
	 * Is called before every step. It may add to the batch what the source needs from the step. The block table of
	 * `sequences[i]` is `batch.blockTables[i]`.
	 */
	prepare?(batch: StepBatch, sequences: readonly DraftSequence[]): void;
	/** Is called when the sequence has ended. */
	release?(sequence: DraftSequence): void;
	/** Is called when the engine closes. No call comes later. */
	close?(): void;
}
