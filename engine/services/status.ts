// The status that everyone is told: what it says, and when.
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
	/** The model that chats, and completes where there is no other. */
	model?: ModelSummary;
	completionModel?: ModelSummary;
	/** In state `loading`: whose models are being loaded. What is loaded answers meanwhile. */
	loading?: ModelRole[];
	/**
	 * One line that says what is wrong and what to do; in state `error` always there. In other states: the model of this
	 * client's settings could not be loaded, and the one in use was kept.
	 */
	error?: string;
	/** Beside `error` where it is that memory is short. */
	shortage?: MemoryShortage;
	/** Downloads of this engine's life, finished ones included. */
	downloads?: DownloadStatus[];
	/** What the model in use takes. */
	need?: MemoryNeed;
	/** Requests running or waiting, by kind. */
	active: Record<ActivityKind, number>;
	/** Tokens a second over the last seconds of work; absent before any. */
	speed?: { prefill: number; decode: number };
	memory: { residentBytes: number; peakBytes: number; mappedBytes: number; cacheBytes: number };
	/** Positions cached now and at most. */
	cache?: { usedTokens: number; capacityTokens: number };
	/** Why the last completion request showed what it did. */
	lastCompletion?: CompletionReport;
}

/** What the engine is doing now. */
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
	// While either loads, that is the news; a model that works says more than one that could not be loaded.
	const state =
		(['loading', 'ready', 'unloaded', 'error'] as const).find((each) => states.includes(each)) ?? 'no-model';
	if (state !== 'ready') return state;
	return activity.busy ? 'busy' : 'ready';
}

function withSummary(key: 'model' | 'completionModel', { model, state }: ModelHost): Partial<EngineStatus> {
	const summary = model?.summary ?? (state.state === 'unloaded' ? state.summary : undefined);
	return summary ? { [key]: summary } : {};
}

/** Someone who is told of each status. */
export interface StatusListener {
	notify(status: EngineStatus): void;
}

/** Listeners are told at most this often, in milliseconds. */
const STATUS_INTERVAL = 250;

/** Tells its listeners of changes. */
export class StatusBoard {
	readonly #read: () => EngineStatus;
	readonly #listeners = new Set<StatusListener>();
	#timer: NodeJS.Timeout | undefined;
	#lastSent = Number.NEGATIVE_INFINITY;
	#closed = false;

	/** @param read the status as it is when it is called. */
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

	/** Whether nobody else is told. */
	hasNoneBut(listener: StatusListener): boolean {
		return [...this.#listeners].every((other) => other === listener);
	}

	/** Something of the status changed: tells all listeners, now or as soon as the interval allows. */
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
		// While it computes, the speed changes by itself; an idle engine sets no timer.
		if (status.state === 'busy') this.changed();
	}
}
