// What a caller asks of an engine, and what the caller gets.
import type { Sampling } from '../../native/index';
import type { DraftSource } from '../speculation/draft-source';
import type { Priority } from './scheduler';

/**
 * Picks a token by the caller's own rule from the logits of one position ([vocabulary], valid during the call only).
 * `undefined` leaves the choice to the sampling parameters, for this and all later positions.
 */
export type TokenChooser = (logits: Float32Array) => number | undefined;

export interface GenerateOptions {
	/** The whole prompt. */
	tokens: ArrayLike<number>;
	priority: Priority;
	/** Absent: the most likely token is taken (greedy). */
	sampling?: Sampling;
	/** Tokens to generate at most. 0 only fills the cache. */
	maxTokens: number;
	/** Tokens before which generation ends. The one that ended it is `stopToken` of the result. */
	stopIds?: ReadonlySet<number>;
	/** Picks the first tokens, for as long as it returns one. */
	choose?: TokenChooser;
	/**
	 * Tokens that are taken one after another in place of those that the model chooses. Drafts are verified against them.
	 * Benchmarks use this: they feed random tokens, so that experts differ, and recordings, so that drafts are as good as
	 * they would be in real use.
	 */
	forced?: ArrayLike<number>;
	/**
	 * The source of this request's drafts, of which each step gets `length`, whether or not that pays: for benchmarks.
	 */
	drafts?: { source: DraftSource; length: number };
	/** false: no drafts for this request, for benchmarks of plain decoding. */
	speculation?: boolean;
	signal?: AbortSignal;
	/** Called for each token but the stop token. If it returns 'stop', the generation ends after this token. */
	onToken?: (token: number) => 'stop' | undefined;
}

export interface GenerateResult {
	/** The tokens that were generated, without the stop token. */
	tokens: number[];
	/** `context`: the context is full. */
	stopReason: 'stop' | 'length' | 'context' | 'canceled';
	stopToken?: number;
	promptTokens: number;
	/** How many tokens of the prompt were found in the cache. */
	cachedTokens: number;
	/** Tokens that were drafted and verified beside others, and how many of them were right. */
	drafts: { proposed: number; accepted: number };
	timings: {
		/** Milliseconds from the call to the first generated token; without such a token, to the end. */
		firstTokenMilliseconds: number;
		milliseconds: number;
		/** The speed of the tokens after the first; 0 if there are none. */
		decodeTokensPerSecond: number;
	};
}

/** The sampling of completions: always the most likely token. */
export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };
