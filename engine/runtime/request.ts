// What a caller asks of an engine, and what it gets.
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
	/** Absent: greedy. */
	sampling?: Sampling;
	/** Tokens to generate at most; 0 only fills the cache. */
	maxTokens: number;
	/** Generation ends before these; the one that ended it is `stopToken` of the result. */
	stopIds?: ReadonlySet<number>;
	/** Constrains the first tokens, for as long as it returns one. */
	choose?: TokenChooser;
	/**
	 * Taken one after another in place of what the model says, drafts being verified against them: benchmarks feed random
	 * tokens, so that experts differ, and recordings, so that drafts are as good as they would be in real use.
	 */
	forced?: ArrayLike<number>;
	/** Where this request's drafts come from, `length` of them a step whether or not that pays: for benchmarks. */
	drafts?: { source: DraftSource; length: number };
	/** false: no drafts for this request; benchmarks of plain decoding. */
	speculation?: boolean;
	signal?: AbortSignal;
	/** Called for each token but the stop token; returning 'stop' ends the generation after this one. */
	onToken?: (token: number) => 'stop' | undefined;
}

export interface GenerateResult {
	/** What was generated, without the stop token. */
	tokens: number[];
	/** `context`: the context is full. */
	stopReason: 'stop' | 'length' | 'context' | 'canceled';
	stopToken?: number;
	promptTokens: number;
	/** Of the prompt, how many were found in the cache. */
	cachedTokens: number;
	/** Tokens guessed and verified beside others, and how many of them were right. */
	drafts: { proposed: number; accepted: number };
	timings: {
		/** From the call to the first generated token; without one, to the end. */
		firstTokenMilliseconds: number;
		milliseconds: number;
		/** Of the tokens after the first; 0 if there are none. */
		decodeTokensPerSecond: number;
	};
}

/** GREEDY is what completions use: the most likely token, always. */
export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };
