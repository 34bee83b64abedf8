// The engine's public interface: one model for any number of callers. A caller gives all tokens of its prompt and gets
// tokens back. Caching, batching and chunking happen inside and never change a token.
import type { Ceilings, ModelInfo, NativeModel } from '../../native/index';
import { type LiveRequest, LiveRequests, type LossOptions } from './live-requests';
import type { GenerateOptions, GenerateResult } from './request';
import { checkRequest } from './request-check';
import { StepArbiter, type StepTurns } from './step-arbiter';
import { StepLoop, type StepLoopOptions } from './step-loop';

export interface EngineOptions extends StepLoopOptions, LossOptions {
	/** The model's place among the models of this process, which run one step at a time. Default: the model is alone. */
	turns?: StepTurns;
}

/** One loaded model serving all requests in one step loop. An idle engine does nothing. */
export class Engine {
	/** Positions one request may span. */
	readonly contextTokens: number;
	readonly #requests: LiveRequests;
	readonly #loop: StepLoop;

	/**
	 * Takes the model over: `close` closes it.
	 * @throws if the memory for its cache cannot be had; the model then still belongs to the caller.
	 */
	constructor(model: NativeModel, options: EngineOptions = {}) {
		const turns = options.turns ?? new StepArbiter().join();
		this.#requests = new LiveRequests(turns, options);
		this.#loop = new StepLoop(model, this.#requests, turns, options);
		this.contextTokens = this.#loop.running.scheduler.contextTokens;
	}

	/** The model, and the backend that it is on now. */
	get info(): ModelInfo {
		return this.#loop.running.info;
	}

	get cacheBytes(): number {
		return this.#requests.closed ? 0 : this.#loop.running.nativeCache.bytes;
	}

	/** Positions in cache blocks that hold something, and positions of all blocks. */
	get cacheUse(): { usedTokens: number; capacityTokens: number } {
		const { usedBlocks, blockCount, blockTokens } = this.#loop.running.cache;
		return { usedTokens: usedBlocks * blockTokens, capacityTokens: blockCount * blockTokens };
	}

	/** Memory that closing gives back, in bytes: cache blocks that were written, and weights moved out of the file. */
	get heldBytes(): number {
		if (this.#requests.closed) return 0;
		const { usedTokens, capacityTokens } = this.cacheUse;
		const repacked = this.#loop.running.repacker?.movedBytes ?? 0;
		return Math.round((this.cacheBytes * usedTokens) / Math.max(1, capacityTokens)) + repacked;
	}

	/** Tokens a second over the last seconds of work. Undefined before any work. */
	get speed(): { prefill: number; decode: number } | undefined {
		return this.#loop.speed.read();
	}

	/** Whether any request runs or waits. */
	get busy(): boolean {
		return this.#requests.any;
	}

	/**
	 * Generates after a prompt. A cancelled request resolves at once with what it has; its cache is freed at the next step.
	 * @throws ContextOverflowError, OverloadedError, EngineClosedError; RangeError naming an option that cannot be used; an error with
	 * the code FILE_CHANGED; or what the native step reports.
	 */
	generate(options: GenerateOptions): Promise<GenerateResult> {
		return new Promise((resolve, reject) => {
			this.#requests.checkOpen();
			checkRequest(options, this.info.vocabularySize);
			const tokens = Array.from(options.tokens);
			const { signal } = options;
			const onAbort = () => {
				this.#requests.finish(request, 'canceled');
				this.#loop.endRun();
			};
			const request: LiveRequest = {
				priority: options.priority,
				tokens,
				wantsOutput: options.maxTokens > 0,
				options,
				promptTokens: tokens.length,
				startedAt: performance.now(),
				cachedTokens: undefined,
				firstTokenAt: undefined,
				choosing: options.choose !== undefined,
				records: new Map(),
				drafts: { proposed: 0, accepted: 0 },
				settled: false,
				resolve: (result) => {
					signal?.removeEventListener('abort', onAbort);
					resolve(result);
				},
				reject: (error) => {
					signal?.removeEventListener('abort', onAbort);
					reject(error);
				},
			};
			this.#requests.add(request);
			if (signal?.aborted) {
				onAbort();
				return;
			}
			signal?.addEventListener('abort', onAbort);
			this.#loop.wake();
		});
	}

	/**
	 * Drops what is cached for these tokens alone, e.g. for a conversation that the user deleted. This happens at the
	 * start of the next step.
	 */
	forget(tokens: ArrayLike<number>): void {
		if (!this.#requests.closed) this.#loop.forget(tokens);
	}

	/**
	 * Moves all weights into the faster layout now instead of when idle, for benchmarks: users soon come to that state.
	 * @returns false where the machine's memory does not allow it, or where there is no such layout.
	 */
	async finishRepacking(): Promise<boolean> {
		return (await this.#loop.running.repacker?.finish()) ?? false;
	}

	/**
	 * The most that the hardware which computes can do; see `NativeModel.measureCeilings`. It is best measured while
	 * nothing else runs.
	 */
	measureCeilings(): Promise<Ceilings> {
		return this.#loop.running.model.measureCeilings();
	}

	/** Fails all requests and frees the model once the running step has ended. */
	async close(): Promise<void> {
		if (this.#requests.closed) return;
		this.#requests.close();
		await this.#loop.close();
	}
}
