// The engine's public face: one model, any number of callers. A caller hands in all tokens of its prompt and gets tokens
// back; caching, batching and chunking happen behind it and never change a token.
import type {
	CacheType,
	Ceilings,
	ModelInfo,
	NativeCache,
	NativeModel,
	Sampling,
	StepBatch,
	StepResult,
} from '../../native/index';
import { DEVICE_FAILED, FILE_CHANGED } from '../../native/index';
import { machineMemory } from '../machine/memory';
import { ALIKE, DraftCost, DraftRecord, StepCost } from '../speculation/draft-length';
import type { DraftGround, DraftRequest, DraftSource } from '../speculation/draft-source';
import { HeadDrafts } from '../speculation/head-drafts';
import { PromptLookup } from '../speculation/prompt-lookup';
import { EngineClosedError } from './errors';
import { KvCache } from './kv-cache';
import { Repacker } from './repacker';
import { type GenerateOptions, type GenerateResult, GREEDY } from './request';
import { checkRequest, checkTokens } from './request-check';
import { oneRound, roundsWithin } from './rounds';
import { PRIORITIES, Scheduler, type Sequence, type StepEntry, type StepPlan } from './scheduler';
import { SpeedMeter } from './speed-meter';
import { StepArbiter, type StepTurns } from './step-arbiter';

export interface EngineOptions {
	/** Positions one request may span; at most, and by default, what the model was made for. */
	contextTokens?: number;
	/** Positions the KV cache holds for all requests together; default: `contextTokens`. Rounded up to whole blocks. */
	cacheTokens?: number;
	cacheType?: CacheType;
	maxRunning?: number;
	maxWaiting?: number;
	/** Milliseconds a step should take at most; Infinity where no one waits for anything but throughput. */
	latencyBudget?: number;
	/** Verify drafted tokens beside the next one where that pays. Changes speed, never a token. Default true. */
	speculation?: boolean;
	/** Move weights into a faster layout while idle, where memory allows. Changes speed, never a token. Default true. */
	repack?: boolean;
	/** Its place among the models of this process, which run one step at a time; default: it is alone. */
	turns?: StepTurns;
	/**
	 * Where drafts come from; the engine closes them. Default: lookup in each sequence's own text, and the draft head, where the
	 * model was opened with one.
	 */
	draftSources?: readonly DraftSource[];
	/** A source of drafts failed: it is not asked again, and generation goes on without. */
	onDraftFailure?: (error: Error) => void;
	/** Why the model is not on the backend that was asked for. */
	backendNote?: string;
	/** Opens the model again, on the CPU, once the GPU has failed; requests go on there from what they have. */
	reopen?: () => Promise<NativeModel>;
	/** Told why the CPU computes in Metal's place, each time that comes about. */
	onBackendNote?: (note: string) => void;
	/** The model's file has changed on the disk: every request has failed with this error, as all later ones will; close the engine. */
	onLost?: (error: Error) => void;
}

interface Request extends Sequence {
	readonly tokens: number[];
	readonly options: GenerateOptions;
	readonly promptTokens: number;
	readonly startedAt: number;
	cachedTokens: number | undefined;
	firstTokenAt: number | undefined;
	choosing: boolean;
	/** How good the drafts of each source were for it. */
	readonly records: Map<DraftSource, DraftRecord>;
	drafts: { proposed: number; accepted: number };
	settled: boolean;
	settle(result: GenerateResult): void;
	fail(error: Error): void;
}

/** One loaded model serving all requests in one step loop. An idle engine does nothing. */
export class Engine {
	/** Positions one request may span. */
	readonly contextTokens: number;
	readonly #options: EngineOptions;
	/** The model on its backend with all that depends on it: replaced as one where a GPU fails. */
	#running: Running;
	#info: ModelInfo;
	readonly #speed = new SpeedMeter();
	readonly #speculation: boolean;
	/** What drafting costs, by source. */
	readonly #draftSources: Map<DraftSource, DraftCost>;
	readonly #onDraftFailure: ((error: Error) => void) | undefined;
	readonly #turns: StepTurns;
	/** Requests that came or ended while a step ran: the scheduler changes only between steps. */
	#arriving: Request[] = [];
	#leaving: Request[] = [];
	#forgotten: ArrayLike<number>[] = [];
	#live = new Set<Request>();
	#loop: Promise<void> | undefined;
	#closed = false;
	/** Why nothing can be computed any more. */
	#lost: Error | undefined;

	/** Takes the model over: `close` closes it. Throws if the memory for its cache cannot be had. */
	constructor(model: NativeModel, options: EngineOptions = {}) {
		this.#options = options;
		this.#info = { ...model.info, ...(options.backendNote !== undefined && { backendNote: options.backendNote }) };
		this.#speculation = options.speculation ?? true;
		this.#onDraftFailure = options.onDraftFailure;
		this.#turns = options.turns ?? new StepArbiter().join();
		this.#running = this.#start(model);
		// Where a GPU fails, its model has no head, and a model with one does not fail so: the head's cache stays the engine's.
		const sources = options.draftSources ?? [
			new PromptLookup(),
			...(model.info.draftHead ? [new HeadDrafts(model, this.#running.nativeCache, this.#turns)] : []),
		];
		this.#draftSources = new Map((this.#speculation ? sources : []).map((source) => [source, new DraftCost()]));
		this.contextTokens = this.#running.scheduler.contextTokens;
		this.#running.repacker?.idle();
	}

	/** The model and the backend it is on now. */
	get info(): ModelInfo {
		return this.#info;
	}

	get cacheBytes(): number {
		return this.#closed ? 0 : this.#running.nativeCache.bytes;
	}

	/** Positions in cache blocks that hold something, and positions of all blocks. */
	get cacheUse(): { usedTokens: number; capacityTokens: number } {
		const { usedBlocks, blockCount, blockTokens } = this.#running.cache;
		return { usedTokens: usedBlocks * blockTokens, capacityTokens: blockCount * blockTokens };
	}

	/** Memory that closing gives back, in bytes: cache blocks that were written, and weights moved out of the file. */
	get heldBytes(): number {
		if (this.#closed) return 0;
		const { usedTokens, capacityTokens } = this.cacheUse;
		const repacked = this.#running.repacker?.movedBytes ?? 0;
		return Math.round((this.cacheBytes * usedTokens) / Math.max(1, capacityTokens)) + repacked;
	}

	/** Tokens a second over the last seconds of work; undefined before any. */
	get speed(): { prefill: number; decode: number } | undefined {
		return this.#speed.read();
	}

	/** Whether any request runs or waits. */
	get busy(): boolean {
		return this.#live.size > 0;
	}

	/**
	 * Generates after a prompt. A cancelled request resolves at once with what it has; its cache is freed at the next step.
	 * @throws ContextOverflowError, OverloadedError, EngineClosedError; RangeError naming an option that cannot be used; an error with
	 * the code FILE_CHANGED; or what the native step reports.
	 */
	generate(options: GenerateOptions): Promise<GenerateResult> {
		return new Promise((resolve, reject) => {
			if (this.#closed) throw new EngineClosedError();
			if (this.#lost) throw this.#lost;
			checkRequest(options, this.info.vocabularySize);
			const tokens = Array.from(options.tokens);
			const { signal } = options;
			const onAbort = () => this.#finish(request, 'canceled');
			const request: Request = {
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
				settle: (result) => {
					signal?.removeEventListener('abort', onAbort);
					resolve(result);
				},
				fail: (error) => {
					signal?.removeEventListener('abort', onAbort);
					reject(error);
				},
			};
			this.#live.add(request);
			this.#updateUrgency();
			if (signal?.aborted) {
				onAbort();
				return;
			}
			signal?.addEventListener('abort', onAbort);
			this.#arriving.push(request);
			this.#endRun();
			this.#running.repacker?.busy();
			this.#loop ??= this.#run();
		});
	}

	/** Drops what is cached for these tokens alone, e.g. of a conversation the user deleted; at the next step's start. */
	forget(tokens: ArrayLike<number>): void {
		this.#forgotten.push(tokens);
		if (!this.#loop && !this.#closed) this.#applyChanges();
	}

	/**
	 * Moves all weights into the faster layout now instead of when idle; benchmarks measure the state users come to.
	 * @returns false where the machine's memory does not allow it, or there is no such layout.
	 */
	async finishRepacking(): Promise<boolean> {
		return (await this.#running.repacker?.finish()) ?? false;
	}

	/** What the hardware that computes can do at most; see `NativeModel.measureCeilings`. Best asked for while nothing else runs. */
	measureCeilings(): Promise<Ceilings> {
		return this.#running.model.measureCeilings();
	}

	/** Fails all requests and frees the model once the running step has ended. */
	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		for (const request of [...this.#live]) this.#fail(request, new EngineClosedError());
		this.#turns.leave();
		await this.#loop;
		for (const source of this.#draftSources.keys()) source.close?.();
		await stop(this.#running);
	}

	#start(model: NativeModel): Running {
		return start(model, this.#options, this.#turns, (error) => this.#isLoss(error));
	}

	/** Whether an error says that the model's file has changed; all requests then fail with it. */
	#isLoss(error: unknown): boolean {
		if ((error as NodeJS.ErrnoException | undefined)?.code !== FILE_CHANGED) return false;
		const first = this.#lost === undefined;
		this.#lost ??= error as Error;
		for (const request of [...this.#live]) this.#fail(request, this.#lost);
		if (first) this.#options.onLost?.(this.#lost);
		return true;
	}

	async #run(): Promise<void> {
		// Requests made in the same turn of the event loop share their first step.
		await Promise.resolve();
		/** Of a step that failed: its sequences, each alone. */
		let alone: StepPlan<Request>[] = [];
		for (;;) {
			let plan = alone.shift();
			const retried = plan !== undefined;
			if (plan?.entries[0]?.sequence.settled) continue;
			const handedOut: HandedOut = { rounds: 0, accepted: 0 };
			try {
				if (!plan) {
					this.#applyChanges();
					plan = this.#closed ? undefined : this.#running.scheduler.plan();
					if (!plan) break;
					if (this.#speculation && plan.prefillRows === 0) await this.#addDrafts(plan);
				}
				const running = plan;
				const batch = assemble(running, retried ? 1 : this.#roundsFor(running));
				this.#prepareSources(running, batch);
				const step = () => this.#step(running, batch, handedOut);
				const result = await this.#turns.run(step, () => this.#running.model.endRuns());
				this.#handOutRest(plan, batch, result, handedOut);
				const { rounds, accepted } = handedOut;
				const { milliseconds } = result;
				const { scheduler, stepCost } = this.#running;
				scheduler.complete(plan, milliseconds);
				this.#speed.record(plan.prefillRows, plan.decodeRows + accepted, milliseconds);
				if (plan.prefillRows === 0) stepCost.observe(batch.tokens.length, milliseconds / rounds);
			} catch (error) {
				if (this.#isLoss(error)) alone = [];
				else if (isDeviceFailure(error) && (await this.#goOnWithoutDevice(error))) alone = [];
				else alone = this.#contain(plan, handedOut, error, alone);
			}
		}
		this.#loop = undefined;
		if (!this.#closed) this.#running.repacker?.idle();
	}

	/**
	 * After a step has failed: only a sequence that fails alone, and without drafts, is failed, but all of them where the error is
	 * not of one sequence.
	 * @param left what is to run alone already.
	 * @returns what is to run alone.
	 */
	#contain(
		plan: StepPlan<Request> | undefined,
		handedOut: HandedOut,
		error: unknown,
		left: StepPlan<Request>[],
	): StepPlan<Request>[] {
		const entries = plan?.entries ?? [];
		if (!plan || concernsAll(error)) {
			const failed = plan
				? [plan, ...left].flatMap((each) => each.entries.map(({ sequence }) => sequence))
				: this.#live;
			for (const request of [...failed]) this.#fail(request, error as Error);
			return [];
		}
		if (entries.length === 1 && entries[0]!.drafts.length === 0) {
			this.#fail(entries[0]!.sequence, error as Error);
			return left;
		}
		if (handedOut.rounds === 0) return entries.map((entry) => planOf({ ...entry, drafts: [] }));
		// What was handed out is computed: the next step goes on behind it, and shows who is at fault.
		this.#running.scheduler.complete(plan, 0);
		return left;
	}

	/** Runs a step whose turn has come, handing out the tokens of all rounds but the last as they finish. */
	#step(plan: StepPlan<Request>, batch: StepBatch, handedOut: HandedOut): Promise<StepResult> {
		const { model, nativeCache } = this.#running;
		// Its turn may have come after the engine was closed, and after something it should not keep waiting.
		if (this.#closed) return Promise.reject(new EngineClosedError());
		const changed = this.#arriving.length > 0 || this.#leaving.length > 0;
		return model.step(nativeCache, changed ? oneRound(batch) : batch, (tokens) => {
			this.#handOut(plan, { tokens, logits: undefined }, handedOut);
			if (this.#speculation && this.#wouldDraft(plan)) model.endRuns();
		});
	}

	/** Hands out what a finished step has beyond the rounds that were. */
	#handOutRest(plan: StepPlan<Request>, batch: StepBatch, result: StepResult, handedOut: HandedOut): void {
		const outputs = batch.outputs.length;
		while (handedOut.rounds === 0 || handedOut.rounds * outputs < result.tokens.length) {
			const tokens = result.tokens.subarray(handedOut.rounds * outputs, (handedOut.rounds + 1) * outputs);
			this.#handOut(plan, { tokens, logits: result.logits }, handedOut);
		}
	}

	#handOut(plan: StepPlan<Request>, part: Omit<RoundResult, 'round'>, handedOut: HandedOut): void {
		handedOut.accepted += this.#deliver(plan, { ...part, round: handedOut.rounds++ });
	}

	/** How many tokens a step is to decode for each of its sequences. */
	#roundsFor(plan: StepPlan<Request>): number {
		const { scheduler, stepCost } = this.#running;
		const forced = plan.entries.filter(({ sequence }) => sequence.options.forced).length;
		if (forced > 0 && forced < plan.entries.length) return 1;
		const wanted = Math.min(...plan.entries.map((entry) => this.#tokensAhead(entry)));
		const rounds = roundsWithin(stepCost.milliseconds(rowCount(plan)), wanted);
		return rounds > 1 && this.#arriving.length === 0 ? scheduler.reserveRounds(plan, rounds) : 1;
	}

	/** Tokens that an entry can get one after another without a word from this side. */
	#tokensAhead({ sequence: request, output, drafts }: StepEntry<Request>): number {
		const { maxTokens, forced, drafts: fixed } = request.options;
		if (!output || drafts.length > 0 || request.choosing || fixed) return 1;
		const generated = request.tokens.length - request.promptTokens;
		const most = Math.min(maxTokens, forced?.length ?? Number.POSITIVE_INFINITY);
		return Math.min(most - generated, this.contextTokens - request.tokens.length);
	}

	/** Whether drafts would pay by now for a sequence that is being decoded without. */
	#wouldDraft(plan: StepPlan<Request>): boolean {
		return plan.entries.some(
			(entry) =>
				!entry.sequence.settled &&
				entry.sequence.options.speculation !== false &&
				this.#chooseSource(plan, entry, 0) !== undefined,
		);
	}

	/** What came or went is not to wait for more than the token that is being computed. */
	#endRun(): void {
		if (this.#loop) this.#running.model.endRuns();
	}

	#updateUrgency(): void {
		const ranks = [...this.#live].map(({ priority }) => PRIORITIES.indexOf(priority));
		this.#turns.urgency = ranks.length === 0 ? undefined : Math.min(...ranks);
	}

	#applyChanges(): void {
		const { scheduler, cache } = this.#running;
		for (const request of this.#leaving.splice(0)) {
			scheduler.remove(request);
			for (const source of this.#draftSources.keys()) source.release?.(request);
		}
		for (const request of this.#arriving.splice(0)) {
			if (request.settled) continue;
			try {
				scheduler.submit(request);
			} catch (error) {
				this.#fail(request, error as Error);
			}
		}
		for (const tokens of this.#forgotten.splice(0)) cache.forget(tokens);
	}

	/**
	 * Moves to the CPU where the GPU has failed. What requests have generated is kept; their prompts are computed again.
	 * @returns false where there is no other backend, or the model cannot be opened again: requests then fail with the error.
	 */
	async #goOnWithoutDevice(failure: Error): Promise<boolean> {
		const { reopen } = this.#options;
		if (!reopen || this.#closed) return false;
		let next: Running;
		try {
			const model = await reopen();
			try {
				next = this.#start(model);
			} catch (error) {
				model.close();
				throw error;
			}
		} catch (error) {
			failure.message += `; the model could not be opened on the CPU either: ${(error as Error).message}`;
			return false;
		}
		const previous = this.#running;
		this.#running = next;
		const backendNote = `the CPU computes from here on: Metal failed while it worked: ${failure.message}`;
		this.#info = { ...next.model.info, backendNote };
		await stop(previous);
		// Sources that follow the old cache's blocks begin anew.
		for (const request of [...this.#leaving.splice(0), ...this.#live]) {
			for (const source of this.#draftSources.keys()) source.release?.(request);
		}
		this.#arriving = [...this.#live];
		this.#options.onBackendNote?.(backendNote);
		return true;
	}

	/**
	 * Lets the sequences of a pure decode step guess ahead, as far as the extra rows and the guessing pay for themselves: each
	 * by the source that promises it the most, and where that has no idea, by the next.
	 */
	async #addDrafts(plan: StepPlan<Request>): Promise<void> {
		let open = plan.entries.filter(
			({ output, sequence }) => output && !sequence.choosing && sequence.options.speculation !== false,
		);
		for (let round = 0; open.length > 0; round++) {
			const asked = new Map<DraftSource, { entry: StepEntry<Request>; request: DraftRequest }[]>();
			for (const entry of open) {
				const choice = this.#chooseSource(plan, entry, round);
				if (!choice || !this.#running.scheduler.reserveDrafts(entry, choice.length)) continue;
				entry.draftGround = choice.ground;
				const request = { sequence: entry.sequence, limit: choice.length, blocks: entry.lease.blocks };
				asked.set(choice.source, [...(asked.get(choice.source) ?? []), { entry, request }]);
			}
			open = [];
			for (const [source, items] of asked) {
				const drafts = await this.#propose(
					source,
					items.map(({ request }) => request),
				);
				items.forEach(({ entry, request }, i) => {
					entry.drafts = drafts[i]?.slice(0, request.limit) ?? [];
					entry.draftSource = source;
					if (entry.drafts.length === 0) open.push(entry);
				});
			}
		}
	}

	/** The source that promises a sequence the most after `round` others had no idea. */
	#chooseSource(
		plan: StepPlan<Request>,
		{ sequence: request }: StepEntry<Request>,
		round: number,
	): { source: DraftSource; length: number; ground?: DraftGround } | undefined {
		const { options } = request;
		const generated = request.tokens.length - request.promptTokens;
		// The last token a request may have needs no draft behind it.
		const limit = Math.min(options.maxTokens - generated, this.contextTokens - request.tokens.length) - 1;
		if (limit <= 0) return undefined;
		if (options.drafts) {
			return round === 0
				? { source: options.drafts.source, length: Math.min(options.drafts.length, limit) }
				: undefined;
		}
		const otherRows = rowCount(plan) - 1;
		const choices = [...this.#draftSources].flatMap(([source, cost]) => {
			const ground = this.#groundOf(source, request);
			if (!ground) return [];
			return {
				source,
				ground,
				...recordOf(request, source).best(this.#running.stepCost, otherRows, limit, cost, ground),
			};
		});
		return choices.filter(({ length }) => length > 0).sort((a, b) => b.rate - a.rate)[round];
	}

	#groundOf(source: DraftSource, request: Request): DraftGround | undefined {
		try {
			return source.ground ? source.ground(request) : ALIKE;
		} catch (error) {
			this.#dropSource(source, error as Error);
			return undefined;
		}
	}

	async #propose(source: DraftSource, requests: DraftRequest[]): Promise<number[][]> {
		const started = performance.now();
		try {
			const drafts = await source.propose(requests);
			for (const draft of drafts) checkTokens(draft, this.info.vocabularySize);
			const longest = drafts.reduce((most, { length }) => Math.max(most, length), 0);
			this.#draftSources.get(source)?.observe(longest, performance.now() - started);
			return drafts;
		} catch (error) {
			this.#dropSource(source, error as Error);
			return [];
		}
	}

	#prepareSources(plan: StepPlan<Request>, batch: StepBatch): void {
		const sequences = plan.entries.map(({ sequence }) => sequence);
		for (const source of this.#draftSources.keys()) {
			try {
				source.prepare?.(batch, sequences);
			} catch (error) {
				this.#dropSource(source, error as Error);
			}
		}
	}

	#dropSource(source: DraftSource, error: Error): void {
		// A head's file is the model's. A model that drafts has one of its own, and says so itself.
		if (source instanceof HeadDrafts && this.#isLoss(error)) return;
		if (this.#draftSources.delete(source)) source.close?.();
		this.#onDraftFailure?.(error);
	}

	/** Hands out the tokens of a round; returns how many there were beside the first round's one for each row. */
	#deliver(plan: StepPlan<Request>, result: RoundResult): number {
		let output = 0;
		let accepted = 0;
		for (const entry of plan.entries) {
			const request = entry.sequence;
			request.cachedTokens ??= entry.start;
			if (!entry.output) {
				if (!request.wantsOutput && entry.end === request.tokens.length) this.#finish(request, 'length');
				continue;
			}
			const index = output;
			output += 1 + entry.drafts.length;
			// A later round's row is the token that the round before has chosen: computed from nothing else, if that was taken.
			if (result.round > 0 && entry.end < request.tokens.length) entry.end++;
			if (request.settled) continue;
			if (result.round > 0) accepted++;
			if (entry.drafts.length > 0) {
				accepted += this.#verify(entry, result, index);
				continue;
			}
			const chosen = request.choosing ? this.#choose(request, result, index) : undefined;
			if (request.settled) continue;
			if (chosen === undefined) request.choosing = false;
			const forced = request.options.forced?.[request.tokens.length - request.promptTokens];
			const token = chosen ?? forced ?? result.tokens[index]!;
			this.#accept(request, token);
		}
		return accepted;
	}

	/** The token that the caller's own rule picks. What goes wrong there is its request's alone. */
	#choose(request: Request, result: RoundResult, output: number): number | undefined {
		const { vocabularySize } = this.info;
		const logits = logitsRow(result, output, vocabularySize);
		try {
			const chosen = logits && request.options.choose?.(logits);
			if (chosen !== undefined) checkTokens([chosen], vocabularySize);
			return chosen;
		} catch (error) {
			this.#fail(request, error as Error);
			return undefined;
		}
	}

	/**
	 * Takes the model's own tokens for as long as each was guessed by the draft before it, and the first that was not. What
	 * came after a wrong guess was computed from it and is thrown away: the outcome is that of plain decoding, sampled
	 * tokens included, because each position draws its own random number (Leviathan et al. 2023, arXiv 2211.17192, for
	 * drafts that are certain of themselves).
	 * @returns how many drafts were right.
	 */
	#verify(entry: StepEntry<Request>, result: RoundResult, first: number): number {
		const { sequence: request, drafts } = entry;
		let right = 0;
		for (let i = 0; i <= drafts.length && !request.settled; i++) {
			const before = request.tokens.length;
			const token = request.options.forced?.[before - request.promptTokens] ?? result.tokens[first + i]!;
			this.#accept(request, token);
			if (i === drafts.length || token !== drafts[i] || request.tokens.length === before) break;
			right++;
		}
		entry.end += right;
		request.drafts.proposed += drafts.length;
		request.drafts.accepted += right;
		if (entry.draftSource) recordOf(request, entry.draftSource).observe(drafts.length, right, entry.draftGround);
		return right;
	}

	#accept(request: Request, token: number): void {
		const { options } = request;
		request.firstTokenAt ??= performance.now();
		if (options.stopIds?.has(token)) {
			this.#finish(request, 'stop', token);
			return;
		}
		request.tokens.push(token);
		try {
			if (options.onToken?.(token) === 'stop') this.#finish(request, 'stop');
		} catch (error) {
			this.#fail(request, error as Error);
		}
		if (request.settled) return;
		if (request.tokens.length - request.promptTokens >= options.maxTokens) this.#finish(request, 'length');
		else if (request.tokens.length >= this.contextTokens) this.#finish(request, 'context');
	}

	#finish(request: Request, stopReason: GenerateResult['stopReason'], stopToken?: number): void {
		if (request.settled) return;
		this.#leave(request);
		const now = performance.now();
		const firstTokenAt = request.firstTokenAt ?? now;
		const tokens = request.tokens.slice(request.promptTokens);
		const decodeSeconds = (now - firstTokenAt) / 1000;
		request.settle({
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
		});
	}

	#fail(request: Request, error: Error): void {
		if (request.settled) return;
		this.#leave(request);
		request.fail(error);
	}

	#leave(request: Request): void {
		request.settled = true;
		this.#live.delete(request);
		this.#leaving.push(request);
		this.#endRun();
		this.#updateUrgency();
	}
}

function recordOf(request: Request, source: DraftSource): DraftRecord {
	const record = request.records.get(source) ?? new DraftRecord();
	request.records.set(source, record);
	return record;
}

/** What one round of a step has chosen. */
interface RoundResult {
	/** [outputs] */
	tokens: Int32Array;
	logits: Float32Array | undefined;
	/** From 0. */
	round: number;
}

/** What of a step's tokens has been handed out. */
interface HandedOut {
	rounds: number;
	/** Tokens beyond one for each row that decodes. */
	accepted: number;
}

/** A model on one backend, its cache, and what is known about both. */
interface Running {
	model: NativeModel;
	nativeCache: NativeCache;
	cache: KvCache;
	scheduler: Scheduler<Request>;
	stepCost: StepCost;
	repacker: Repacker | undefined;
}

/** Throws if the memory for the cache cannot be had; the model is then the caller's still. */
function start(
	model: NativeModel,
	options: EngineOptions,
	turns: StepTurns,
	onRepackingFailure: (error: unknown) => void,
): Running {
	const contextTokens = Math.min(options.contextTokens ?? model.info.contextLength, model.info.contextLength);
	const cacheTokens = Math.max(options.cacheTokens ?? contextTokens, contextTokens);
	const nativeCache = createCache(model, cacheTokens, options.cacheType);
	const cache = new KvCache({
		blockCount: nativeCache.blockCount,
		blockTokens: nativeCache.blockTokens,
		copyBlock: (from, to, tokens) => nativeCache.copyBlock(from, to, tokens),
	});
	const scheduler = new Scheduler<Request>({
		cache,
		contextTokens,
		...(options.maxRunning !== undefined && { maxRunning: options.maxRunning }),
		...(options.maxWaiting !== undefined && { maxWaiting: options.maxWaiting }),
		...(options.latencyBudget !== undefined && { latencyBudget: options.latencyBudget }),
	});
	const repacker =
		(options.repack ?? true) ? new Repacker(model, machineMemory, () => turns.idle, onRepackingFailure) : undefined;
	return { model, nativeCache, cache, scheduler, stepCost: new StepCost(), repacker };
}

async function stop({ model, nativeCache, repacker }: Running): Promise<void> {
	await repacker?.stop();
	nativeCache.close();
	model.close();
}

function isDeviceFailure(error: unknown): error is Error {
	return error instanceof Error && (error as NodeJS.ErrnoException).code === DEVICE_FAILED;
}

/** Whether an error is of the engine, the model or what computes, rather than of a sequence. */
function concernsAll(error: unknown): boolean {
	const { code } = error as NodeJS.ErrnoException;
	return error instanceof EngineClosedError || (typeof code === 'string' && code.startsWith('HEARTH_'));
}

/** A plan for one sequence of another plan. */
function planOf(entry: StepEntry<Request>): StepPlan<Request> {
	const rows = entry.end - entry.start;
	const decodes = rows === 1 && entry.output;
	return { entries: [entry], prefillRows: decodes ? 0 : rows, decodeRows: decodes ? 1 : 0 };
}

function createCache(model: NativeModel, cacheTokens: number, type: CacheType | undefined): NativeCache {
	const options = type && { type };
	// The block size is the native core's choice; one block tells it.
	const probe = model.createCache({ blocks: 1, ...options });
	const { blockTokens } = probe;
	probe.close();
	return model.createCache({ blocks: Math.ceil(cacheTokens / blockTokens), ...options });
}

function assemble(plan: StepPlan<Request>, rounds: number): StepBatch {
	const tokens: number[] = [];
	const positions: number[] = [];
	const sequences: number[] = [];
	const outputs: number[] = [];
	const sampling: Sampling[] = [];
	let logits = false;
	plan.entries.forEach((entry, index) => {
		const request = entry.sequence;
		for (let position = entry.start; position < entry.end; position++) {
			tokens.push(request.tokens[position]!);
			positions.push(position);
			sequences.push(index);
		}
		if (!entry.output) return;
		outputs.push(tokens.length - 1);
		sampling.push(request.options.sampling ?? GREEDY);
		entry.drafts.forEach((draft, offset) => {
			outputs.push(tokens.length);
			sampling.push(request.options.sampling ?? GREEDY);
			tokens.push(draft);
			positions.push(entry.end + offset);
			sequences.push(index);
		});
		logits ||= request.choosing;
	});
	return {
		tokens: Int32Array.from(tokens),
		positions: Int32Array.from(positions),
		sequences: Int32Array.from(sequences),
		blockTables: plan.entries.map((entry) => Int32Array.from(entry.lease.blocks)),
		outputs: Int32Array.from(outputs),
		sampling,
		...(logits ? { logits } : {}),
		...(rounds > 1 && {
			rounds,
			stopIds: plan.entries.map(({ sequence }) => Int32Array.from(sequence.options.stopIds ?? [])),
			...(plan.entries.every(({ sequence }) => sequence.options.forced) && { forced: forcedRows(plan, rounds) }),
		}),
	};
}

/** The rows of the rounds after the first where all sequences take forced tokens. */
function forcedRows({ entries }: StepPlan<Request>, rounds: number): Int32Array {
	const rows = Array.from({ length: rounds - 1 }, (_, round) =>
		entries.map(
			({ sequence: { options, tokens, promptTokens } }) => options.forced![tokens.length - promptTokens + round]!,
		),
	);
	return Int32Array.from(rows.flat());
}

function rowCount(plan: StepPlan<Request>): number {
	return plan.entries.reduce((sum, entry) => sum + entry.end - entry.start + entry.drafts.length, 0);
}

function logitsRow(result: RoundResult, output: number, vocabularySize: number): Float32Array | undefined {
	return result.logits?.subarray(output * vocabularySize, (output + 1) * vocabularySize);
}
