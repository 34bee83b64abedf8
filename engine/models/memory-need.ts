// How much memory a model will take, computed before it is loaded.

import type { MachineMemory } from '../machine/memory';
import type { EngineSettings } from '../settings';
import { formatBytes } from '../units';

/**
 * The memory that a model takes, in bytes: weights mapped from the file, KV cache, and what computing needs beside
 * them.
 */
export interface MemoryNeed {
	weightBytes: number;
	cacheBytes: number;
	scratchBytes: number;
	totalBytes: number;
	/** The part of the total that the draft model or head takes. Absent where there is none. */
	draftBytes?: number;
}

/** `tight`: the model fits only if other programs give memory back. */
export type Fit = 'fits' | 'tight' | 'too-large';

/** The data of a `notEnoughMemory` error. */
export interface MemoryShortage {
	path: string;
	need: MemoryNeed;
	memory: MachineMemory;
	/** Settings with which the model would fit. Empty where there are none. */
	alternatives: Pick<EngineSettings, 'contextTokens' | 'cacheType'>[];
}

/**
 * How much memory a model may take before it is refused with `notEnoughMemory`: the memory that is available now, the
 * memory of the machine, or any amount.
 */
export type MemoryLimit = 'available' | 'machine' | 'none';

/** The sizes of a model that its memory depends on. Lengths are in elements. */
export interface ModelSizes {
	/** Bytes of the file. All of it is mapped, and all of it but a few tensors is read. */
	weightBytes: number;
	layers: number;
	embedding: number;
	vocabulary: number;
	heads: number;
	headsKv: number;
	keyLength: number;
	valueLength: number;
	/** Length of the feed-forward network's inner vector. In a model with experts, it is the length of one expert's. */
	feedForward: number;
	experts: number;
	expertsUsed: number;
	/** Positions that the model was made for. */
	contextLength: number;
}

interface CacheChoice {
	/** Positions the KV cache holds. */
	cacheTokens: number;
	cacheType: EngineSettings['cacheType'];
}

/** Positions that a cache block holds, and elements that share a scale in a q8_0 cache: native/core/kv_blocks.h. */
const BLOCK_TOKENS = 32;
const SCALED_LENGTH = 32;
/** Rows of the largest step: MAX_CHUNK of runtime/scheduler.ts. */
const STEP_ROWS = 512;
/** Rows whose logits one step may ask for: the scheduler's default for the requests that run at once. */
const OUTPUT_ROWS = 64;
/** Buffers grow by a quarter more than is asked for: native/cpu/cpu_backend.cpp, `Scratch`. */
const GROWTH = 1.25;
/** Bytes of Node itself, the addon and the threads' own buffers, as measured with the smallest model. */
const PROCESS_BYTES = 100e6;
/**
 * Bytes of the tokenizer's tables (texts, merges and the maps over them) for each token of the vocabulary, as measured.
 */
const TOKENIZER_BYTES = 400;
/** The part of the machine's memory that a model may take. With more, the machine has too little left for itself. */
const MOST_OF_MACHINE = 0.9;
/** Shorter contexts are of no use to anyone. */
const LEAST_CONTEXT = 1024;

/** Bytes of one position in the KV cache, in all layers. */
export function cacheBytesPerToken(sizes: ModelSizes, type: EngineSettings['cacheType']): number {
	const vector = (length: number) => (type === 'q8_0' ? length + 2 * Math.ceil(length / SCALED_LENGTH) : 2 * length);
	return sizes.layers * sizes.headsKv * (vector(sizes.keyLength) + vector(sizes.valueLength));
}

/** The memory that a model of these sizes takes with such a cache. */
function memoryNeed(sizes: ModelSizes, { cacheTokens, cacheType }: CacheChoice): MemoryNeed {
	const blocks = Math.ceil(cacheTokens / BLOCK_TOKENS);
	const cacheBytes = blocks * BLOCK_TOKENS * cacheBytesPerToken(sizes, cacheType);
	const { weightBytes } = sizes;
	const scratchBytes = Math.round(activationBytes(sizes) + PROCESS_BYTES + TOKENIZER_BYTES * sizes.vocabulary);
	return { weightBytes, cacheBytes, scratchBytes, totalBytes: weightBytes + cacheBytes + scratchBytes };
}

/** The memory that a draft model takes beside its target. Node and the addon are there already. */
export function draftModelNeed(sizes: ModelSizes, settings: MemorySettings): MemoryNeed {
	const need = needWith(sizes, settings);
	const scratchBytes = need.scratchBytes - PROCESS_BYTES;
	return { ...need, scratchBytes, totalBytes: need.totalBytes - PROCESS_BYTES };
}

/**
 * The memory that an EAGLE-3 head takes beside its target: its weights; keys and values in as many blocks as the target
 * has; and the inputs of three layers for each row of a step, which the target passes on to it
 * (native/core/draft_head.h).
 */
export function draftHeadNeed(sizes: ModelSizes, target: ModelSizes, settings: MemorySettings): MemoryNeed {
	const like = { ...sizes, vocabulary: sizes.vocabulary || target.vocabulary, contextLength: target.contextLength };
	const { weightBytes, cacheBytes } = needWith(like, settings);
	const features = 4 * STEP_ROWS * (3 * target.embedding + 3 * sizes.embedding);
	const scratchBytes = Math.round(activationBytes(like) + features);
	return { weightBytes, cacheBytes, scratchBytes, totalBytes: weightBytes + cacheBytes + scratchBytes };
}

/** The memory of a model together with its draft. */
export function withDraft(need: MemoryNeed, draft: MemoryNeed): MemoryNeed {
	return { ...addNeeds(need, draft), draftBytes: draft.totalBytes };
}

/** The memory of two models together. */
export function addNeeds(a: MemoryNeed, b: MemoryNeed): MemoryNeed {
	const draftBytes = (a.draftBytes ?? 0) + (b.draftBytes ?? 0);
	return {
		weightBytes: a.weightBytes + b.weightBytes,
		cacheBytes: a.cacheBytes + b.cacheBytes,
		scratchBytes: a.scratchBytes + b.scratchBytes,
		totalBytes: a.totalBytes + b.totalBytes,
		...(draftBytes > 0 && { draftBytes }),
	};
}

/** Bytes of the largest step's activations, in F32 and quantised, and of the logits of its outputs. */
function activationBytes(sizes: ModelSizes): number {
	const { embedding, heads, headsKv, keyLength, valueLength, feedForward, experts, vocabulary } = sizes;
	const attention = 2 * embedding + heads * (keyLength + valueLength) + headsKv * (keyLength + valueLength) + keyLength;
	// Each row is copied for each of its experts, activated there, and written out.
	const used = Math.max(1, sizes.expertsUsed);
	const network = experts + used * (2 * embedding + 2 * feedForward);
	const quantised = 1.3 * (embedding + heads * keyLength + used * (embedding + feedForward));
	return GROWTH * (STEP_ROWS * (4 * (attention + network) + quantised) + 4 * OUTPUT_ROWS * vocabulary);
}

/** Whether a model that takes this much fits into the memory. */
export function fitOf({ totalBytes }: MemoryNeed, memory: MachineMemory): Fit {
	if (totalBytes <= memory.availableBytes) return 'fits';
	return totalBytes <= memory.totalBytes * MOST_OF_MACHINE ? 'tight' : 'too-large';
}

/** The settings that a model's memory depends on. */
export type MemorySettings = Pick<EngineSettings, 'contextTokens' | 'cacheType' | 'completion'> &
	Partial<Pick<EngineSettings, 'completionModelPath'>>;

/** Tokens of a completion's prompt beside the excerpts: instructions, file name, message headers. */
const COMPLETION_OVERHEAD = 512;

/** Positions that a completion's prompt and answer span. */
export function completionWindow(completion: EngineSettings['completion']): number {
	const { prefixTokens, suffixTokens, relatedTokens, maxTokens } = completion;
	return prefixTokens + suffixTokens + relatedTokens + maxTokens + COMPLETION_OVERHEAD;
}

/**
 * Positions of the KV cache. Completions have room of their own beside a conversation that fills its context, unless
 * another model completes.
 */
export function cacheTokens(settings: Omit<MemorySettings, 'cacheType'>): number {
	const { contextTokens, completion, completionModelPath } = settings;
	return contextTokens + (completionModelPath ? 0 : Math.min(completionWindow(completion), contextTokens));
}

/**
 * The memory that a model takes with these settings. A context longer than the model was made for is cut to that
 * length.
 */
export function needWith(sizes: ModelSizes, settings: MemorySettings): MemoryNeed {
	const contextTokens = Math.min(settings.contextTokens, sizes.contextLength || settings.contextTokens);
	return memoryNeed(sizes, {
		cacheTokens: Math.max(contextTokens, cacheTokens(settings)),
		cacheType: settings.cacheType,
	});
}

/** The settings nearest to `settings` with which the model takes no more than `limitBytes`, best first. */
export function alternatives(
	sizes: ModelSizes,
	settings: MemorySettings,
	limitBytes: number,
): MemoryShortage['alternatives'] {
	const largest = Math.min(settings.contextTokens, sizes.contextLength || settings.contextTokens);
	const found: MemoryShortage['alternatives'] = [];
	for (const cacheType of [settings.cacheType, ...(settings.cacheType === 'q8_0' ? [] : (['q8_0'] as const))]) {
		for (let contextTokens = largest; contextTokens >= LEAST_CONTEXT; contextTokens = Math.floor(contextTokens / 2)) {
			const tried = { ...settings, contextTokens, cacheType };
			if (needWith(sizes, tried).totalBytes > limitBytes) continue;
			found.push({ contextTokens, cacheType });
			break;
		}
	}
	// Sorting is stable: of two settings with the same context, the one that keeps the cache type comes first.
	return found.sort((a, b) => b.contextTokens - a.contextTokens);
}

/** The model needs more memory than it may take. The message says how much, and what would help. */
export class NotEnoughMemoryError extends Error {
	override name = 'NotEnoughMemoryError';
	readonly shortage: MemoryShortage;

	constructor(shortage: MemoryShortage, limitBytes: number) {
		const { need, memory, alternatives: others } = shortage;
		const machine = limitBytes >= memory.availableBytes && need.totalBytes > memory.totalBytes * MOST_OF_MACHINE;
		const there = machine
			? `this machine has ${formatBytes(memory.totalBytes)} in all`
			: `${formatBytes(memory.availableBytes)} are available now`;
		const [best] = others;
		super(
			`${shortage.path} needs ${formatBytes(need.totalBytes)} of memory, but ${there}; ` +
				(best
					? `it would fit with a context of ${best.contextTokens} tokens and a cache of type ${best.cacheType}`
					: 'choose a smaller model, or close other programs'),
		);
		this.shortage = shortage;
	}
}

/** Bytes that a load may take. */
export function limitBytes(limit: 'available' | 'machine', memory: MachineMemory): number {
	return limit === 'available' ? memory.availableBytes : memory.totalBytes * MOST_OF_MACHINE;
}
