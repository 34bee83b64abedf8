// The step loop: plans a step, assembles its batch, runs it when its turn has come, hands its tokens out, and begins
// anew until nothing is left to run. This file calls everything else of this folder. Only the engine calls this file.
import type { NativeModel, StepBatch, StepResult } from '../../native/index';
import { assembleBatch } from './batch-assembly';
import { Delivery } from './delivery';
import { Drafting, type DraftingOptions } from './drafting';
import { EngineClosedError } from './errors';
import { contain, type FailOverOptions, isDeviceFailure, openOnOtherDevice } from './fail-over';
import type { LiveRequest, LiveRequests } from './live-requests';
import { oneRound, roundsWithin, tokensAhead } from './rounds';
import { RunningModel, type RunningModelOptions } from './running-model';
import { rowCount, type StepPlan } from './scheduler';
import { SpeedMeter } from './speed-meter';
import type { StepTurns } from './step-arbiter';

export interface StepLoopOptions extends RunningModelOptions, DraftingOptions, FailOverOptions {
	/** Why the model is not on the backend that was asked for. */
	backendNote?: string;
}

/** Owns the model on its device. An idle loop does nothing. */
export class StepLoop {
	readonly speed = new SpeedMeter();
	readonly #requests: LiveRequests;
	readonly #turns: StepTurns;
	readonly #options: FailOverOptions;
	readonly #drafting: Drafting;
	#running: RunningModel;
	/** Token sequences whose cache is to be dropped before the next step. */
	#forgotten: ArrayLike<number>[] = [];
	/** Pending while the loop has something to run. */
	#work: Promise<void> | undefined;

	/**
	 * Takes the model over: `close` closes it.
	 * @throws if the memory for its cache cannot be had.
	 */
	constructor(model: NativeModel, requests: LiveRequests, turns: StepTurns, options: StepLoopOptions) {
		this.#requests = requests;
		this.#turns = turns;
		this.#options = options;
		const onRepackingFailure = (error: unknown) => {
			if (requests.failIfFileChanged(error)) this.endRun();
		};
		this.#running = new RunningModel(model, { options, turns, onRepackingFailure }, options.backendNote);
		this.#drafting = new Drafting(this.#running, requests, options);
		this.#running.repacker?.idle();
	}

	/** The model on the device that it is on now. */
	get running(): RunningModel {
		return this.#running;
	}

	/** A request has arrived. It joins the next step, and the running step does not go on for longer than it has to. */
	wake(): void {
		this.endRun();
		this.#running.repacker?.busy();
		this.#work ??= this.#run();
	}

	/**
	 * Ends a run of several rounds after its current token: a request that came or went does not wait for more rounds.
	 */
	endRun(): void {
		if (this.#work) this.#running.model.endRuns();
	}

	/** Drops what is cached for these tokens alone. This happens at the next step's start, or now if no step runs. */
	forget(tokens: ArrayLike<number>): void {
		this.#forgotten.push(tokens);
		if (!this.#work) this.#applyChanges();
	}

	/** Frees the model once the running step has ended. The requests must be closed. */
	async close(): Promise<void> {
		this.endRun();
		this.#turns.leave();
		await this.#work;
		this.#drafting.close();
		await this.#running.close();
	}

	async #run(): Promise<void> {
		// Requests made in the same turn of the event loop share their first step.
		await Promise.resolve();
		/** The sequences of a step that failed, each in a plan of its own. */
		let alone: StepPlan<LiveRequest>[] = [];
		for (;;) {
			let plan = alone.shift();
			const retried = plan !== undefined;
			if (plan?.entries[0]?.sequence.settled) continue;
			let delivery: Delivery | undefined;
			try {
				if (!plan) {
					plan = this.#nextPlan();
					if (!plan) break;
					if (this.#drafting.enabled && plan.prefillRows === 0) await this.#drafting.addTo(plan, this.#running);
				}
				const batch = assembleBatch(plan, retried ? 1 : this.#roundsFor(plan));
				this.#drafting.prepare(plan, batch);
				delivery = new Delivery(plan, this.#running, this.#requests);
				const step = this.#stepOf(plan, batch, delivery);
				const result = await this.#turns.run(step, () => this.#running.model.endRuns());
				delivery.handOutRest(batch, result);
				this.#record(plan, batch, result, delivery);
			} catch (error) {
				if (this.#requests.failIfFileChanged(error)) alone = [];
				else if (isDeviceFailure(error) && (await this.#goOnElsewhere(error))) alone = [];
				else alone = this.#contain(plan, alone, delivery?.rounds ?? 0, error);
			}
		}
		this.#work = undefined;
		if (!this.#requests.closed) this.#running.repacker?.idle();
	}

	#nextPlan(): StepPlan<LiveRequest> | undefined {
		this.#applyChanges();
		return this.#requests.closed ? undefined : this.#running.scheduler.plan();
	}

	/** Brings scheduler and cache up to date with what came and went while a step ran. */
	#applyChanges(): void {
		const { scheduler, cache } = this.#running;
		for (const request of this.#requests.takeLeaving()) {
			scheduler.remove(request);
			this.#drafting.release(request);
		}
		for (const request of this.#requests.takeArriving()) {
			try {
				scheduler.submit(request);
			} catch (error) {
				this.#requests.fail(request, error as Error);
			}
		}
		for (const tokens of this.#forgotten.splice(0)) cache.forget(tokens);
	}

	/** How many tokens a step is to decode for each of its sequences. */
	#roundsFor(plan: StepPlan<LiveRequest>): number {
		const { scheduler, stepCost } = this.#running;
		const wanted = tokensAhead(plan, scheduler.contextTokens);
		const rounds = roundsWithin(stepCost.milliseconds(rowCount(plan)), wanted);
		return rounds > 1 && !this.#requests.someArrived ? scheduler.reserveRounds(plan, rounds) : 1;
	}

	/**
	 * A function that runs a step once its turn has come. It hands out the tokens of all rounds but the last as they
	 * finish.
	 */
	#stepOf(plan: StepPlan<LiveRequest>, batch: StepBatch, delivery: Delivery): () => Promise<StepResult> {
		const running = this.#running;
		const { model, nativeCache } = running;
		const onRound = (tokens: Int32Array) => {
			delivery.handOut(tokens, undefined);
			const draftsPay = this.#drafting.enabled && this.#drafting.wouldPay(plan, running);
			if (draftsPay || this.#requests.changed) model.endRuns();
		};
		return () => {
			// The turn may come after the engine was closed, or after a request that the step should not keep waiting.
			if (this.#requests.closed) return Promise.reject(new EngineClosedError());
			return model.step(nativeCache, this.#requests.changed ? oneRound(batch) : batch, onRound);
		};
	}

	/** Learns the cost of a step that has run. */
	#record(plan: StepPlan<LiveRequest>, batch: StepBatch, { milliseconds }: StepResult, delivery: Delivery): void {
		const { scheduler, stepCost } = this.#running;
		scheduler.complete(plan, milliseconds);
		this.speed.record(plan.prefillRows, plan.decodeRows + delivery.extraTokens, milliseconds);
		if (plan.prefillRows === 0) stepCost.observe(batch.tokens.length, milliseconds / delivery.rounds);
	}

	/**
	 * Moves to another device after the current one has failed. The tokens that requests have generated are kept; their
	 * prompts are computed again.
	 * @returns false where there is no other device, or where the model cannot be opened on it. Requests then fail with
	 * the error.
	 */
	async #goOnElsewhere(failure: Error): Promise<boolean> {
		const { reopen, onBackendNote } = this.#options;
		if (!reopen || this.#requests.closed) return false;
		const previous = this.#running;
		const next = await openOnOtherDevice(previous, failure, reopen);
		if (!next) return false;
		this.#running = next;
		await previous.close();
		// Sources that follow the blocks of the previous cache begin anew.
		for (const request of this.#requests.arriveAgain()) this.#drafting.release(request);
		onBackendNote?.(next.info.backendNote!);
		return true;
	}

	/**
	 * Fails the requests that caused a step to fail.
	 * @returns the plans that are to run alone.
	 */
	#contain(
		plan: StepPlan<LiveRequest> | undefined,
		left: StepPlan<LiveRequest>[],
		handedOut: number,
		error: unknown,
	): StepPlan<LiveRequest>[] {
		if (!plan) {
			this.#requests.failAll(error as Error);
			return [];
		}
		const { failed, alone, keepsComputed } = contain(plan, left, handedOut, error);
		for (const request of failed) this.#requests.fail(request, error as Error);
		if (keepsComputed) this.#running.scheduler.complete(plan, 0);
		return alone;
	}
}
