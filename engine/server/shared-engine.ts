// What all clients share: the model, the count of what runs, and the status everyone is told.
import { runBenchmark } from '../benchmark/benchmark';
import type { BenchmarkOptions } from '../benchmark/options';
import { Downloads } from '../models/downloads';
import { ModelFinder } from '../models/find';
import type { BenchmarkReport, EngineState, EngineStatus } from '../protocol';
import { VERSION } from '../version';
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
	readonly downloads: Downloads;
	readonly finder = new ModelFinder();
	readonly #listeners = new Set<StatusListener>();
	readonly #active = { completion: 0, chat: 0, benchmark: 0 };
	/** Whether the model was given on the command line: a client's settings do not replace it at its start. */
	readonly #fixedModel: boolean;
	#timer: NodeJS.Timeout | undefined;
	#idle: NodeJS.Timeout | undefined;
	#idleMinutes = 0;
	#lastSent = 0;
	#closed = false;

	constructor(options: { fixedModel: boolean; open?: OpenModel }) {
		this.#fixedModel = options.fixedModel;
		this.host = new ModelHost(() => {
			this.#watchIdle();
			this.changed();
		}, options.open);
		this.downloads = new Downloads(() => this.changed());
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

	/** Minutes without work after which the model is unloaded until it is asked for again; 0: never. The last client decides. */
	set idleMinutes(minutes: number) {
		if (minutes === this.#idleMinutes) return;
		this.#idleMinutes = minutes;
		this.#watchIdle();
	}

	/** Begins to wait for the model to be idle for long enough, from now on. */
	#watchIdle(): void {
		clearTimeout(this.#idle);
		if (this.#idleMinutes === 0 || this.#closed || !this.host.model || this.#activeCount > 0) return;
		this.#idle = setTimeout(() => {
			// Work that is not counted, such as warming up, goes first.
			if (this.host.model?.engine.busy) this.#watchIdle();
			else void this.host.sleep();
		}, this.#idleMinutes * 60_000);
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
		const model = await this.host.wakenModel();
		if (this.#active.benchmark > 0) throw new Error('a benchmark is running already; wait for it or cancel it');
		return this.run('benchmark', () => runBenchmark({ model, options, signal, onProgress }));
	}

	status(): EngineStatus {
		const { state } = this.host;
		const { model } = this.host;
		const { engine } = model ?? {};
		const speed = engine?.speed;
		const summary = model?.summary ?? (state.state === 'unloaded' ? state.summary : undefined);
		const downloads = this.downloads.statuses;
		return {
			state: this.#stateName(),
			processId: process.pid,
			version: VERSION,
			...(summary && { model: summary }),
			...(state.state === 'error' && { error: state.error }),
			...(downloads.length > 0 && { downloads }),
			...(model?.need && { need: model.need }),
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
		clearTimeout(this.#idle);
		await this.downloads.close();
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
		return this.#activeCount > 0 ? 'busy' : 'ready';
	}
}
