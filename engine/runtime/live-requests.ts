// The requests that an engine works on. A request lives from the call of `generate` until it is settled. This file
// knows which requests live, which came or ended since the last step, and why no more requests are taken.
import { FILE_CHANGED } from '../../native/index';
import type { DraftRecord } from '../speculation/draft-length';
import type { DraftSource } from '../speculation/draft-source';
import { EngineClosedError } from './errors';
import type { GenerateOptions, GenerateResult } from './request';
import { PRIORITIES, type Sequence } from './scheduler';
import type { StepTurns } from './step-arbiter';

export interface LiveRequest extends Sequence {
	readonly options: GenerateOptions;
	readonly promptTokens: number;
	readonly startedAt: number;
	cachedTokens: number | undefined;
	firstTokenAt: number | undefined;
	/** Whether the caller's own rule picks the next token; see `TokenChooser`. */
	choosing: boolean;
	/** How good the drafts of each source were for this request. */
	readonly records: Map<DraftSource, DraftRecord>;
	drafts: { proposed: number; accepted: number };
	settled: boolean;
	/** Only `LiveRequests` calls these two, once. */
	resolve(result: GenerateResult): void;
	reject(error: Error): void;
}

export interface LossOptions {
	/**
	 * Called when the model's file has changed on the disk. Every request has failed with this error, and all later ones
	 * will. The engine is to be closed.
	 */
	onLost?: (error: Error) => void;
}

export class LiveRequests {
	readonly #turns: StepTurns;
	readonly #options: LossOptions;
	readonly #live = new Set<LiveRequest>();
	/** The scheduler changes only between steps. Requests that come or end while a step runs wait in these two lists. */
	#arriving: LiveRequest[] = [];
	#leaving: LiveRequest[] = [];
	#closed = false;
	/** Why nothing can be computed any more. */
	#lost: Error | undefined;

	/**
	 * @param turns the model's place among those that run one step at a time. It always knows how urgent the requests
	 * are.
	 */
	constructor(turns: StepTurns, options: LossOptions) {
		this.#turns = turns;
		this.#options = options;
	}

	get closed(): boolean {
		return this.#closed;
	}

	/** Whether any request runs or waits. */
	get any(): boolean {
		return this.#live.size > 0;
	}

	/** Whether a request has come that the scheduler does not know yet. */
	get someArrived(): boolean {
		return this.#arriving.length > 0;
	}

	/** Whether a request has come or ended that the scheduler does not know of yet. */
	get changed(): boolean {
		return this.#arriving.length > 0 || this.#leaving.length > 0;
	}

	/** @throws EngineClosedError, or the error with the code FILE_CHANGED, where no request can be taken any more. */
	checkOpen(): void {
		if (this.#closed) throw new EngineClosedError();
		if (this.#lost) throw this.#lost;
	}

	add(request: LiveRequest): void {
		this.#live.add(request);
		this.#arriving.push(request);
		this.#updateUrgency();
	}

	/** Hands over the requests that have ended since the last call: the scheduler is to drop them. */
	takeLeaving(): LiveRequest[] {
		return this.#leaving.splice(0);
	}

	/** Hands over the requests that have come since the last call, without those that have ended already. */
	takeArriving(): LiveRequest[] {
		return this.#arriving.splice(0).filter(({ settled }) => !settled);
	}

	/**
	 * Makes all requests arrive once more, for a scheduler that knows none of them.
	 * @returns the requests that the scheduler before knew: those that ended since, and those that live.
	 */
	arriveAgain(): LiveRequest[] {
		this.#arriving = [...this.#live];
		return [...this.#leaving.splice(0), ...this.#live];
	}

	/** Resolves a request with what it has. A request that is settled stays as it was. */
	finish(request: LiveRequest, stopReason: GenerateResult['stopReason'], stopToken?: number): void {
		if (request.settled) return;
		this.#settle(request);
		request.resolve(resultOf(request, stopReason, stopToken));
	}

	/** Rejects a request. A request that is settled stays as it was. */
	fail(request: LiveRequest, error: Error): void {
		if (request.settled) return;
		this.#settle(request);
		request.reject(error);
	}

	failAll(error: Error): void {
		for (const request of [...this.#live]) this.fail(request, error);
	}

	/**
	 * Fails all requests where an error says that the model's file has changed.
	 * @returns whether the error says so.
	 */
	failIfFileChanged(error: unknown): boolean {
		if ((error as NodeJS.ErrnoException | undefined)?.code !== FILE_CHANGED) return false;
		const first = this.#lost === undefined;
		this.#lost ??= error as Error;
		this.failAll(this.#lost);
		if (first) this.#options.onLost?.(this.#lost);
		return true;
	}

	/** Fails all requests. No more requests are taken from now on. */
	close(): void {
		this.#closed = true;
		for (const request of [...this.#live]) this.fail(request, new EngineClosedError());
	}

	#settle(request: LiveRequest): void {
		request.settled = true;
		this.#live.delete(request);
		this.#leaving.push(request);
		this.#updateUrgency();
	}

	#updateUrgency(): void {
		const ranks = [...this.#live].map(({ priority }) => PRIORITIES.indexOf(priority));
		this.#turns.urgency = ranks.length === 0 ? undefined : Math.min(...ranks);
	}
}

function resultOf(
	request: LiveRequest,
	stopReason: GenerateResult['stopReason'],
	stopToken: number | undefined,
): GenerateResult {
	const now = performance.now();
	const firstTokenAt = request.firstTokenAt ?? now;
	const tokens = request.tokens.slice(request.promptTokens);
	const decodeSeconds = (now - firstTokenAt) / 1000;
	return {
		tokens,
		stopReason,
		...(stopToken !== undefined && { stopToken }),
		promptTokens: request.promptTokens,
		cachedTokens: Math.min(request.cachedTokens ?? 0, request.promptTokens),
		drafts: request.drafts,
		timings: {
			firstTokenMilliseconds: firstTokenAt - request.startedAt,
			milliseconds: now - request.startedAt,
			decodeTokensPerSecond: tokens.length > 1 && decodeSeconds > 0 ? (tokens.length - 1) / decodeSeconds : 0,
		},
	};
}
