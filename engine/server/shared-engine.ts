// What all clients share: the models, the count of what runs, and the status everyone is told.
import { runBenchmark } from '../benchmark/benchmark';
import type { BenchmarkOptions } from '../benchmark/options';
import type { BenchmarkReport } from '../benchmark/report';
import type { MachineMemory } from '../machine/memory';
import { machineMemory } from '../machine/memory';
import { Downloads } from '../models/downloads';
import { ModelFinder } from '../models/find';
import { addNeeds } from '../models/memory-need';
import type { EngineState, EngineStatus } from '../protocol';
import type { Engine } from '../runtime/engine';
import { StepArbiter } from '../runtime/step-arbiter';
import { renderSelfTest, selfTestSummary } from '../selftest/render';
import type { SelfTestResult } from '../selftest/report';
import { failures, runSelfTest } from '../selftest/selftest';
import type { ModelRole } from '../settings';
import { VERSION } from '../version';
import { describe, log } from './log';
import { type LoadedModel, ModelHost, type ModelState, type OpenModel } from './model-host';
import { ROLES } from './roles';

/** Status notifications come at most this often, in milliseconds. */
const STATUS_INTERVAL = 250;

type Kind = keyof EngineStatus['active'];

/** Someone who is told of each status. */
export interface StatusListener {
	notify(status: EngineStatus): void;
}

export class SharedEngine {
	/** The model of each role; a role without one is done by the other's. */
	readonly hosts: Readonly<Record<ModelRole, ModelHost>>;
	readonly downloads: Downloads;
	readonly finder = new ModelFinder();
	readonly #listeners = new Set<StatusListener>();
	readonly #active = { completion: 0, chat: 0, benchmark: 0 };
	/** Whether the model was given on the command line: a client's settings do not replace it at its start. */
	readonly #fixedModel: boolean;
	#timer: NodeJS.Timeout | undefined;
	#idle: NodeJS.Timeout | undefined;
	#idleMinutes = 0;
	#lastSent = Number.NEGATIVE_INFINITY;
	#closed = false;
	#selfTesting = false;

	constructor(options: { fixedModel: boolean; open?: OpenModel }) {
		this.#fixedModel = options.fixedModel;
		const arbiter = new StepArbiter();
		const changed = () => {
			this.#watchIdle();
			this.changed();
		};
		const host = (other: ModelRole) => new ModelHost(changed, options.open, () => this.#memoryBeside(other), arbiter);
		this.hosts = { chat: host('completion'), completion: host('chat') };
		this.downloads = new Downloads(() => this.changed());
	}

	add(listener: StatusListener): void {
		this.#listeners.add(listener);
	}

	remove(listener: StatusListener): void {
		this.#listeners.delete(listener);
	}

	/** Whether a new client's own model should be loaded: not over one that others use, or the command line gave. */
	wantsModelOf(listener: StatusListener, role: ModelRole): boolean {
		const { state } = this.hosts[role].state;
		if (state === 'no-model' || state === 'error') return true;
		return !this.#fixedModel && [...this.#listeners].every((other) => other === listener);
	}

	/** Minutes without work after which the model is unloaded until it is asked for again; 0: never. The last client decides. */
	set idleMinutes(minutes: number) {
		if (minutes === this.#idleMinutes) return;
		this.#idleMinutes = minutes;
		this.#watchIdle();
	}

	/** Begins to wait for the model to be idle for long enough, from now on. */
	#watchIdle(): void {
		clearTimeout(this.#idle);
		const loaded = () => Object.values(this.hosts).filter(({ model }) => model);
		if (this.#idleMinutes === 0 || this.#closed || loaded().length === 0 || this.#activeCount > 0) return;
		this.#idle = setTimeout(() => {
			// Work that is not counted, such as warming up, goes first.
			if (loaded().some(({ model }) => model?.engine.busy)) this.#watchIdle();
			else for (const host of loaded()) void host.sleep();
		}, this.#idleMinutes * 60_000);
	}

	/** What there is for one role's model beside the other's: all models of this process share the machine's memory. */
	#memoryBeside(other: ModelRole): MachineMemory {
		const { totalBytes, availableBytes } = machineMemory();
		const need = this.hosts[other].model?.need;
		// Mapped weights count as available, since the system could drop them; dropping them is what must not happen.
		const mapped = need?.weightBytes ?? 0;
		return {
			totalBytes: totalBytes - (need?.totalBytes ?? 0),
			availableBytes: Math.max(0, availableBytes - mapped),
		};
	}

	/** Memory that unloading all models would give back, in bytes. */
	get heldBytes(): number {
		return this.hosts.chat.heldBytes + this.hosts.completion.heldBytes;
	}

	/**
	 * The model that does a role's work: the one chosen for it, else the other one. Loads one again that was unloaded when idle.
	 * @throws NoModelError, or what loading throws.
	 */
	async modelFor(role: ModelRole): Promise<LoadedModel> {
		const own = this.hosts[role];
		const other = this.hosts[role === 'chat' ? 'completion' : 'chat'];
		switch (own.state.state) {
			case 'ready':
			case 'unloaded':
				return own.wakenModel();
			case 'loading':
				// What is replaced works on; at the start the other one does, but chat waits for the model it was meant for.
				return own.model ?? (role === 'completion' ? other.model : undefined) ?? own.wakenModel();
			default: {
				// Asked for only here: a model that is there must not wait for the other one.
				const instead = other.model ?? (other.state.state === 'unloaded' ? await other.wakenModel() : undefined);
				const able = role === 'completion' || instead?.summary.chatFormat !== undefined;
				return (able ? instead : undefined) ?? own.requireModel();
			}
		}
	}

	/** Frees all models. */
	async unload(): Promise<void> {
		await Promise.all(Object.values(this.hosts).map((host) => host.unload()));
	}

	get #activeCount(): number {
		const { completion, chat, benchmark } = this.#active;
		return completion + chat + benchmark;
	}

	/** Runs a request's work, counted in the status while it runs. */
	async run<T>(kind: Kind, work: () => Promise<T>): Promise<T> {
		this.#active[kind]++;
		this.#watchIdle();
		this.changed();
		try {
			return await work();
		} finally {
			this.#active[kind]--;
			this.#watchIdle();
			this.changed();
		}
	}

	/**
	 * Measures the loaded model, one benchmark at a time.
	 * @throws NoModelError, an error if one runs already, or what the benchmark throws.
	 */
	async benchmark(
		options: BenchmarkOptions,
		signal: AbortSignal,
		onProgress: (fraction: number, test: string) => void,
	): Promise<BenchmarkReport> {
		const model = await this.modelFor('chat');
		if (this.#active.benchmark > 0) throw new Error('a benchmark is running already; wait for it or cancel it');
		return this.run('benchmark', () => runBenchmark({ model, options, signal, onProgress }));
	}

	/**
	 * Tests all kernels, one self-test at a time. Where its verdict changes what `auto` means, the model is opened again.
	 * @throws an error if one runs already; an AbortError when the signal is aborted.
	 */
	async selfTest(
		quick: boolean,
		signal: AbortSignal,
		onProgress: (what: string, checksDone: number) => void,
	): Promise<SelfTestResult> {
		if (this.#selfTesting) throw new Error('a self-test is running already; wait for it or cancel it');
		this.#selfTesting = true;
		try {
			const report = await runSelfTest({ backend: 'auto', quick, signal, onProgress });
			if (report.gpus.some(({ state }) => state === 'off' || state === 'on-again')) {
				for (const host of Object.values(this.hosts)) {
					host.reload().catch((error) => log(`opening the model again: ${describe(error)}`));
				}
			}
			return {
				passed: failures(report).length === 0,
				summary: selfTestSummary(report),
				markdown: renderSelfTest(report),
				report,
			};
		} finally {
			this.#selfTesting = false;
		}
	}

	status(): EngineStatus {
		const { chat, completion } = this.hosts;
		const engines = [chat, completion].flatMap(({ model }) => (model ? [model.engine] : []));
		const sum = (value: (engine: Engine) => number) => engines.reduce((total, engine) => total + value(engine), 0);
		const speed = engines.map((engine) => engine.speed).find((measured) => measured !== undefined);
		const failed = [chat.state, completion.state].find(({ state }) => state === 'error') as
			| Extract<ModelState, { state: 'error' }>
			| undefined;
		const needs = [chat, completion].flatMap(({ model }) => (model?.need ? [model.need] : []));
		const loading = ROLES.filter((role) => this.hosts[role].state.state === 'loading');
		const downloads = this.downloads.statuses;
		return {
			state: this.#stateName(),
			processId: process.pid,
			version: VERSION,
			...withSummary('model', chat),
			...withSummary('completionModel', completion),
			...(loading.length > 0 && { loading }),
			...(failed && { error: failed.error }),
			...(downloads.length > 0 && { downloads }),
			...(needs.length > 0 && { need: needs.reduce(addNeeds) }),
			active: { ...this.#active },
			...(speed && { speed }),
			memory: {
				residentBytes: process.memoryUsage.rss(),
				peakBytes: process.resourceUsage().maxRSS * 1024,
				mappedBytes: sum(({ info }) => info.fileBytes),
				cacheBytes: sum(({ cacheBytes }) => cacheBytes),
			},
			...(engines.length > 0 && {
				cache: {
					usedTokens: sum(({ cacheUse }) => cacheUse.usedTokens),
					capacityTokens: sum(({ cacheUse }) => cacheUse.capacityTokens),
				},
			}),
		};
	}

	/** Something of the status changed: tells all clients, now or as soon as the interval allows. */
	changed(): void {
		if (this.#timer || this.#closed) return;
		const wait = Math.max(0, this.#lastSent + STATUS_INTERVAL - performance.now());
		this.#timer = setTimeout(() => this.#send(), wait);
	}

	/** Unloads the model once its running step has ended. */
	async close(): Promise<void> {
		this.#closed = true;
		clearTimeout(this.#timer);
		clearTimeout(this.#idle);
		await this.downloads.close();
		await Promise.all(Object.values(this.hosts).map((host) => host.close()));
	}

	#send(): void {
		this.#timer = undefined;
		this.#lastSent = performance.now();
		const status = this.status();
		for (const listener of this.#listeners) listener.notify(status);
		// While it computes, the speed changes by itself; an idle engine sets no timer.
		if (status.state === 'busy') this.changed();
	}

	#stateName(): EngineState {
		const states = [this.hosts.chat.state.state, this.hosts.completion.state.state];
		// While either loads, that is the news; a model that works says more than one that could not be loaded.
		const state =
			(['loading', 'ready', 'unloaded', 'error'] as const).find((each) => states.includes(each)) ?? 'no-model';
		if (state !== 'ready') return state;
		return this.#activeCount > 0 ? 'busy' : 'ready';
	}
}

function withSummary(key: 'model' | 'completionModel', { model, state }: ModelHost): Partial<EngineStatus> {
	const summary = model?.summary ?? (state.state === 'unloaded' ? state.summary : undefined);
	return summary ? { [key]: summary } : {};
}
