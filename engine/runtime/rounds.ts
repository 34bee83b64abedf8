// How many tokens a decode step goes on for by itself. In between nothing waits for JavaScript, and a GPU not for its host; any
// arrival, cancel or stop ends the step after the token it is at, so what a longer one costs is a token that nobody wants, at times.

import type { StepBatch } from '../../native/index';
import type { LiveRequest } from './live-requests';
import type { StepEntry, StepPlan } from './scheduler';

/** Milliseconds a step may go on for: not much longer than a reader or a request would wait if nothing could end it. */
const PATIENCE = 50;
/** More only gain what is between two steps, a smaller and smaller part of them. */
const MAX_ROUNDS = 8;

/**
 * @param milliseconds what a round takes; undefined: nobody knows yet.
 * @param limit tokens that are wanted at most.
 */
export function roundsWithin(milliseconds: number | undefined, limit: number): number {
	if (milliseconds === undefined) return 1;
	return Math.max(1, Math.min(limit, MAX_ROUNDS, Math.floor(PATIENCE / milliseconds)));
}

/** Tokens that every sequence of a step can get one after another without a word from JavaScript. */
export function tokensAhead({ entries }: StepPlan<LiveRequest>, contextTokens: number): number {
	const forced = entries.filter(({ sequence }) => sequence.options.forced).length;
	if (forced > 0 && forced < entries.length) return 1;
	return Math.min(...entries.map((entry) => entryTokensAhead(entry, contextTokens)));
}

function entryTokensAhead({ sequence, output, drafts }: StepEntry<LiveRequest>, contextTokens: number): number {
	const { maxTokens, forced, drafts: fixed } = sequence.options;
	if (!output || drafts.length > 0 || sequence.choosing || fixed) return 1;
	const generated = sequence.tokens.length - sequence.promptTokens;
	const most = Math.min(maxTokens, forced?.length ?? Number.POSITIVE_INFINITY);
	return Math.min(most - generated, contextTokens - sequence.tokens.length);
}

/** The first round of a step alone. */
export function oneRound({ rounds: _rounds, forced: _forced, stopIds: _stopIds, ...batch }: StepBatch): StepBatch {
	return batch;
}
