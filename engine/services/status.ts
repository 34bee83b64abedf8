// The engine's status: what it says, and when clients are told.
import type { CompletionReport } from '../completion/completer';
import type { DownloadStatus } from '../models/downloads';
import { addNeeds, type MemoryNeed, type MemoryShortage } from '../models/memory-need';
import type { Engine } from '../runtime/engine';
import type { ModelRole } from '../settings';
import { VERSION } from '../version';
import type { Activity, ActivityKind } from './activity';
import type { ModelSummary } from './loaded-model';
import type { ModelHost, ModelState } from './model-host';
import type { Models } from './models';
import { ROLES } from './roles';

/** `unloaded`: the model was idle for as long as the settings allow; the next request loads it again. */
export type EngineState = 'no-model' | 'loading' | 'ready' | 'busy' | 'unloaded' | 'error';

export interface EngineStatus {
	state: EngineState;
	processId: number;
	version: string;
	/** The model that chats. It completes, too, where there is no `completionModel`. */
	model?: ModelSummary;
	completionModel?: ModelSummary;
	/** The roles whose models are being loaded; only in state `loading`. Models that are loaded answer meanwhile. */
	loading?: ModelRole[];
	/**
	 * One line that says what is wrong and what to do. It is always there in state `error`. In other states it says that
	 * the model of this client's settings could not be loaded and that the model in use was kept.
	 */
	error?: string;
	/** Present where `error` is about too little memory. */
	shortage?: MemoryShortage;
	/** The downloads that this engine process has run, finished ones included. */
	downloads?: DownloadStatus[];
	/** The memory that the loaded models take. */
	need?: MemoryNeed;
	/** Requests that run or wait, by kind. */
	active: Record<ActivityKind, number>;
	/** Tokens a second over the last seconds of work; absent before any. */
	speed?: { prefill: number; decode: number };
	memory: { residentBytes: number; peakBytes: number; mappedBytes: number; cacheBytes: number };
	/** Positions cached now and at most. */
	cache?: { usedTokens: number; capacityTokens: number };
	/** Why the last completion request showed what it did. */
	lastCompletion?: CompletionReport;
}

/** The engine's status at this moment. */
export function statusOf(models: Models, activity: Activity, downloads: DownloadStatus[]): EngineStatus {
	const { chat, completion } = models.hosts;
	const engines = models.loaded.map(({ engine }) => engine);
	const sum = (value: (engine: Engine) => number) => engines.reduce((total, engine) => total + value(engine), 0);
	const speed = engines.map((engine) => engine.speed).find((measured) => measured !== undefined);
	const failed = [chat.state, completion.state].find(({ state }) => state === 'error') as
		| Extract<ModelState, { state: 'error' }>
		| undefined;
	const needs = models.loaded.flatMap(({ need }) => (need ? [need] : []));
	const loading = ROLES.filter((role) => models.hosts[role].state.state === 'loading');
	return {
		state: stateName(models, activity),
		processId: process.pid,
		version: VERSION,
		...withSummary('model', chat),
		...withSummary('completionModel', completion),
		...(loading.length > 0 && { loading }),
		...(failed && { error: failed.error }),
		...(downloads.length > 0 && { downloads }),
		...(needs.length > 0 && { need: needs.reduce(addNeeds) }),
		active: activity.counts,
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

function stateName({ hosts }: Models, activity: Activity): EngineState {
	const states = [hosts.chat.state.state, hosts.completion.state.state];
	// A model that loads is what users wait for, so it comes first. A model that works says more than one that could not
	// be loaded.
	const state =
		(['loading', 'ready', 'unloaded', 'error'] as const).find((each) => states.includes(each)) ?? 'no-model';
	if (state !== 'ready') return state;
	return activity.busy ? 'busy' : 'ready';
}

function withSummary(key: 'model' | 'completionModel', { model, state }: ModelHost): Partial<EngineStatus> {
	const summary = model?.summary ?? (state.state === 'unloaded' ? state.summary : undefined);
	return summary ? { [key]: summary } : {};
}

/** A listener that gets each status. */
export interface StatusListener {
	notify(status: EngineStatus): void;
}

/** Listeners are told at most this often, in milliseconds. */
const STATUS_INTERVAL = 250;

/** Tells its listeners when the status has changed. */
export class StatusBoard {
	readonly #read: () => EngineStatus;
	readonly #listeners = new Set<StatusListener>();
	#timer: NodeJS.Timeout | undefined;
	#lastSent = Number.NEGATIVE_INFINITY;
	#closed = false;

	/** @param read gives the status of the moment. */
	constructor(read: () => EngineStatus) {
		this.#read = read;
	}

	get current(): EngineStatus {
		return this.#read();
	}

	add(listener: StatusListener): void {
		this.#listeners.add(listener);
	}

	remove(listener: StatusListener): void {
		this.#listeners.delete(listener);
	}

	/** Whether `listener` is the only listener. */
	hasNoneBut(listener: StatusListener): boolean {
		return [...this.#listeners].every((other) => other === listener);
	}

	/** Reports that the status has changed. All listeners are told now, or as soon as the interval allows. */
	changed(): void {
		if (this.#timer || this.#closed) return;
		const wait = Math.max(0, this.#lastSent + STATUS_INTERVAL - performance.now());
		this.#timer = setTimeout(() => this.#send(), wait);
	}

	close(): void {
		this.#closed = true;
		clearTimeout(this.#timer);
	}

	#send(): void {
		this.#timer = undefined;
		this.#lastSent = performance.now();
		const status = this.#read();
		for (const listener of this.#listeners) listener.notify(status);
		// The measured speed changes by itself while the engine computes. An idle engine sets no timer.
		if (status.state === 'busy') this.changed();
	}
}
