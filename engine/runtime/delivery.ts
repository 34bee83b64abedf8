// Hands the tokens of one step to its requests, round by round. For each token it verifies drafts and applies the stop
// rules.
import type { StepBatch, StepResult } from '../../native/index';
import { learnFromDrafts } from './drafting';
import type { LiveRequest, LiveRequests } from './live-requests';
import { checkTokens } from './request-check';
import type { RunningModel } from './running-model';
import type { StepEntry, StepPlan } from './scheduler';

/** The results of one round of a step. */
interface Round {
	/** The model's own choices, [outputs]. */
	tokens: Int32Array;
	/** [outputs, vocabulary], where a request asks for them. */
	logits: Float32Array | undefined;
	/** The round's number, counted from 0. */
	number: number;
}

export class Delivery {
	readonly #plan: StepPlan<LiveRequest>;
	readonly #requests: LiveRequests;
	readonly #contextTokens: number;
	readonly #vocabularySize: number;
	#rounds = 0;
	#extraTokens = 0;

	constructor(plan: StepPlan<LiveRequest>, running: RunningModel, requests: LiveRequests) {
		this.#plan = plan;
		this.#requests = requests;
		this.#contextTokens = running.scheduler.contextTokens;
		this.#vocabularySize = running.info.vocabularySize;
	}

	/** Rounds that were handed out. */
	get rounds(): number {
		return this.#rounds;
	}

	/** Tokens that were handed out beyond one for each row that decodes: drafts that were right, and later rounds. */
	get extraTokens(): number {
		return this.#extraTokens;
	}

	/** Hands out the next round's tokens. */
	handOut(tokens: Int32Array, logits: Float32Array | undefined): void {
		const round: Round = { tokens, logits, number: this.#rounds++ };
		let output = 0;
		for (const entry of this.#plan.entries) {
			const request = entry.sequence;
			request.cachedTokens ??= entry.start;
			if (!entry.output) {
				if (!request.wantsOutput && entry.end === request.tokens.length) this.#requests.finish(request, 'length');
				continue;
			}
			const index = output;
			output += 1 + entry.drafts.length;
			// A later round computes the token that the round before has chosen. It counts as computed only if that token was
			// taken.
			if (round.number > 0 && entry.end < request.tokens.length) entry.end++;
			if (request.settled) continue;
			if (round.number > 0) this.#extraTokens++;
			if (entry.drafts.length > 0) {
				this.#verify(entry, round, index);
				continue;
			}
			const chosen = request.choosing ? this.#choose(request, round, index) : undefined;
			if (request.settled) continue;
			if (chosen === undefined) request.choosing = false;
			const forced = request.options.forced?.[request.tokens.length - request.promptTokens];
			this.#accept(request, chosen ?? forced ?? round.tokens[index]!);
		}
	}

	/** Hands out what a finished step has beyond the rounds that were handed out while it ran. */
	handOutRest(batch: StepBatch, result: StepResult): void {
		const outputs = batch.outputs.length;
		while (this.#rounds === 0 || this.#rounds * outputs < result.tokens.length) {
			const first = this.#rounds * outputs;
			this.handOut(result.tokens.subarray(first, first + outputs), result.logits);
		}
	}

	/** The token that the caller's own rule picks. An error in that rule fails only its own request. */
	#choose(request: LiveRequest, { logits }: Round, output: number): number | undefined {
		const row = logits?.subarray(output * this.#vocabularySize, (output + 1) * this.#vocabularySize);
		try {
			const chosen = row && request.options.choose?.(row);
			if (chosen !== undefined) checkTokens([chosen], this.#vocabularySize);
			return chosen;
		} catch (error) {
			this.#requests.fail(request, error as Error);
			return undefined;
		}
	}

	/**
	 * Takes the model's own tokens for as long as the draft before each was right, and the model's own token in place of
	 * the first wrong draft. Rows behind a wrong draft were computed from that draft, so their tokens are dropped. The
	 * outcome is that of plain decoding, sampled tokens included, because each position draws its own random number
	 * (Leviathan et al. 2023, arXiv 2211.17192, for drafts that are certain of themselves).
	 */
	#verify(entry: StepEntry<LiveRequest>, { tokens }: Round, first: number): void {
		const { sequence: request, drafts } = entry;
		let right = 0;
		for (let i = 0; i <= drafts.length && !request.settled; i++) {
			const before = request.tokens.length;
			const token = request.options.forced?.[before - request.promptTokens] ?? tokens[first + i]!;
			this.#accept(request, token);
			if (i === drafts.length || token !== drafts[i] || request.tokens.length === before) break;
			right++;
		}
		entry.end += right;
		request.drafts.proposed += drafts.length;
		request.drafts.accepted += right;
		this.#extraTokens += right;
		learnFromDrafts(entry, right);
	}

	/** Gives a request its next token, and ends it where its stop rules say so. */
	#accept(request: LiveRequest, token: number): void {
		const { options } = request;
		request.firstTokenAt ??= performance.now();
		if (options.stopIds?.has(token)) {
			this.#requests.finish(request, 'stop', token);
			return;
		}
		request.tokens.push(token);
		try {
			if (options.onToken?.(token) === 'stop') this.#requests.finish(request, 'stop');
		} catch (error) {
			this.#requests.fail(request, error as Error);
		}
		if (request.settled) return;
		if (request.tokens.length - request.promptTokens >= options.maxTokens) this.#requests.finish(request, 'length');
		else if (request.tokens.length >= this.#contextTokens) this.#requests.finish(request, 'context');
	}
}
