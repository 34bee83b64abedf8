// How many rounds a decode step runs by itself. In each round every sequence of the step goes on by one token. Between
// two rounds the native core does not wait for JavaScript, and a GPU does not wait for its host. A request that comes
// or ends stops the step after its current round, so a long step costs at most one token that nobody wants.

import type { StepBatch } from '../../native/index';
import type { LiveRequest } from './live-requests';
import type { StepEntry, StepPlan } from './scheduler';

/**
 * Milliseconds that a step may go on for. A reader or a request would not notice a wait of that length, even if nothing
 * ended the step.
 */
const PATIENCE = 50;
/**
 * The most rounds of a step. More would gain little: rounds save only the time between two steps, and that is a small
 * part of 8 rounds already.
 */
const MAX_ROUNDS = 8;

/**
 * The number of rounds that fit into the time of a step.
 * @param milliseconds the time of a round. Undefined while it has not been measured.
 * @param limit the most tokens that are wanted.
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
