// What all clients share: the model, the count of what runs, and the status everyone is told.
import { runBenchmark } from '../benchmark/benchmark';
import type { BenchmarkOptions } from '../benchmark/options';
import type { BenchmarkReport, EngineState, EngineStatus, SelfTestResult } from '../protocol';
import { renderSelfTest, selfTestSummary } from '../selftest/render';
import { failures, runSelfTest } from '../selftest/selftest';
import { VERSION } from '../version';
import { describe, log } from './log';
import { ModelHost, type OpenModel } from './model-host';

/** Status notifications come at most this often, in milliseconds. */
const STATUS_INTERVAL = 250;

type Kind = keyof EngineStatus['active'];

/** Someone who is told of each status. */
export interface StatusListener {
	notify(status: EngineStatus): void;
}

export class SharedEngine {
	readonly host: ModelHost;
	readonly #listeners = new Set<StatusListener>();
	readonly #active = { completion: 0, chat: 0, benchmark: 0 };
	/** Whether the model was given on the command line: a client's settings do not replace it at its start. */
	readonly #fixedModel: boolean;
	#timer: NodeJS.Timeout | undefined;
	#lastSent = 0;
	#closed = false;
	#selfTesting = false;

	constructor(options: { fixedModel: boolean; open?: OpenModel }) {
		this.#fixedModel = options.fixedModel;
		this.host = new ModelHost(() => this.changed(), options.open);
	}

	get clientCount(): number {
		return this.#listeners.size;
	}

	add(listener: StatusListener): void {
		this.#listeners.add(listener);
	}

	remove(listener: StatusListener): void {
		this.#listeners.delete(listener);
	}

	/** Whether a new client's own model should be loaded: not over one that others use, or the command line gave. */
	wantsModelOf(listener: StatusListener): boolean {
		const { state } = this.host.state;
		if (state === 'no-model' || state === 'error') return true;
		return !this.#fixedModel && [...this.#listeners].every((other) => other === listener);
	}

	/** Runs a request's work, counted in the status while it runs. */
	async run<T>(kind: Kind, work: () => Promise<T>): Promise<T> {
		this.#active[kind]++;
		this.changed();
		try {
			return await work();
		} finally {
			this.#active[kind]--;
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
		const model = this.host.requireModel();
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
			const { state } = report.metal;
			if (state === 'off' || state === 'on-again') {
				this.host.reload().catch((error) => log(`opening the model again: ${describe(error)}`));
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
		const { state } = this.host;
		const { model } = this.host;
		const { engine } = model ?? {};
		const speed = engine?.speed;
		return {
			state: this.#stateName(),
			processId: process.pid,
			version: VERSION,
			...(model && { model: model.summary }),
			...(state.state === 'error' && { error: state.error }),
			active: { ...this.#active },
			...(speed && { speed }),
			memory: {
				residentBytes: process.memoryUsage.rss(),
				peakBytes: process.resourceUsage().maxRSS * 1024,
				mappedBytes: engine?.info.fileBytes ?? 0,
				cacheBytes: engine?.cacheBytes ?? 0,
			},
			...(engine && { cache: engine.cacheUse }),
		};
	}

	/** Something of the status changed: tells all clients, now or as soon as the interval allows. */
	changed(): void {
		if (this.#timer || this.#closed) return;
		const wait = Math.max(0, this.#lastSent + STATUS_INTERVAL - Date.now());
		this.#timer = setTimeout(() => this.#send(), wait);
	}

	/** Unloads the model once its running step has ended. */
	async close(): Promise<void> {
		this.#closed = true;
		clearTimeout(this.#timer);
		await this.host.close();
	}

	#send(): void {
		this.#timer = undefined;
		this.#lastSent = Date.now();
		const status = this.status();
		for (const listener of this.#listeners) listener.notify(status);
		// While it computes, the speed changes by itself; an idle engine sets no timer.
		if (status.state === 'busy') this.changed();
	}

	#stateName(): EngineState {
		const { state } = this.host.state;
		if (state !== 'ready') return state;
		const { completion, chat, benchmark } = this.#active;
		return completion + chat + benchmark > 0 ? 'busy' : 'ready';
	}
}
