// A model on one device, with everything that belongs to that pair: cache, scheduler, measured costs, repacker. Where
// the device fails, all of these are replaced together.
import type { CacheType, ModelInfo, NativeCache, NativeModel } from '../../native/index';
import { machineMemory } from '../machine/memory';
import { StepCost } from '../speculation/draft-length';
import { KvCache } from './kv-cache';
import type { LiveRequest } from './live-requests';
import { Repacker } from './repacker';
import { Scheduler } from './scheduler';
import type { StepTurns } from './step-arbiter';

export interface RunningModelOptions {
	/** Positions that one request may span: at most, and by default, the positions that the model was made for. */
	contextTokens?: number;
	/**
	 * Positions that the KV cache holds for all requests together, rounded up to whole blocks. Default: `contextTokens`.
	 */
	cacheTokens?: number;
	cacheType?: CacheType;
	maxRunning?: number;
	maxWaiting?: number;
	/** Milliseconds that a step should take at most. Infinity where only throughput matters. */
	latencyBudget?: number;
	/** Move weights into a faster layout while idle, where memory allows. Changes speed, never a token. Default true. */
	repack?: boolean;
}

/** The parts that a model keeps when it moves to another device. */
interface RunningModelSetup {
	options: RunningModelOptions;
	turns: StepTurns;
	/** Called with the reason why weights do not move into the faster layout any more, though they should. */
	onRepackingFailure: (error: unknown) => void;
}

export class RunningModel {
	readonly setup: RunningModelSetup;
	readonly model: NativeModel;
	readonly info: ModelInfo;
	readonly nativeCache: NativeCache;
	readonly cache: KvCache;
	readonly scheduler: Scheduler<LiveRequest>;
	readonly stepCost = new StepCost();
	readonly repacker: Repacker | undefined;

	/**
	 * Takes the model over: `close` closes it.
	 * @param backendNote why the model is not on the backend that was asked for.
	 * @throws where the memory for the cache cannot be had; the model then still belongs to the caller.
	 */
	constructor(model: NativeModel, setup: RunningModelSetup, backendNote: string | undefined) {
		const { options, turns, onRepackingFailure } = setup;
		this.setup = setup;
		this.model = model;
		this.info = { ...model.info, ...(backendNote !== undefined && { backendNote }) };
		const contextTokens = Math.min(options.contextTokens ?? this.info.contextLength, this.info.contextLength);
		const cacheTokens = Math.max(options.cacheTokens ?? contextTokens, contextTokens);
		const nativeCache = createCache(model, cacheTokens, options.cacheType);
		this.nativeCache = nativeCache;
		this.cache = new KvCache({
			blockCount: nativeCache.blockCount,
			blockTokens: nativeCache.blockTokens,
			copyBlock: (from, to, tokens) => nativeCache.copyBlock(from, to, tokens),
		});
		this.scheduler = new Scheduler<LiveRequest>({
			cache: this.cache,
			contextTokens,
			...(options.maxRunning !== undefined && { maxRunning: options.maxRunning }),
			...(options.maxWaiting !== undefined && { maxWaiting: options.maxWaiting }),
			...(options.latencyBudget !== undefined && { latencyBudget: options.latencyBudget }),
		});
		if (options.repack ?? true) {
			this.repacker = new Repacker(model, machineMemory, () => turns.idle, onRepackingFailure);
		}
	}

	/** Frees the model once the repacker has stopped. No step may run any more. */
	async close(): Promise<void> {
		await this.repacker?.stop();
		this.nativeCache.close();
		this.model.close();
	}
}

function createCache(model: NativeModel, cacheTokens: number, type: CacheType | undefined): NativeCache {
	const options = type && { type };
	// The native core chooses the block size. A cache of one block tells it.
	const probe = model.createCache({ blocks: 1, ...options });
	const { blockTokens } = probe;
	probe.close();
	return model.createCache({ blocks: Math.ceil(cacheTokens / blockTokens), ...options });
}
