// What a model will take of the memory, computed before it is loaded.

import type { MachineMemory } from '../machine/memory';
import type { EngineSettings } from '../settings';
import { formatBytes } from '../units';

/** Memory a model takes, in bytes: weights mapped from the file, KV cache, and what computing needs beside them. */
export interface MemoryNeed {
	weightBytes: number;
	cacheBytes: number;
	scratchBytes: number;
	totalBytes: number;
	/** What of the total the model or head that guesses ahead takes; absent: there is none. */
	draftBytes?: number;
}

/** `tight`: only if other programs give up memory. */
export type Fit = 'fits' | 'tight' | 'too-large';

/** The data of a `notEnoughMemory` error. */
export interface MemoryShortage {
	path: string;
	need: MemoryNeed;
	memory: MachineMemory;
	/** Settings with which the model would fit; empty: none. */
	alternatives: Pick<EngineSettings, 'contextTokens' | 'cacheType'>[];
}

/**
 * How much a model may take before it is refused with `notEnoughMemory`: what is available now, what the machine has, or
 * anything.
 */
export type MemoryLimit = 'available' | 'machine' | 'none';

/** The sizes of a model that its memory depends on; lengths in elements. */
export interface ModelSizes {
	/** Of the file: all of it is mapped, and a few tensors aside all of it is read. */
	weightBytes: number;
	layers: number;
	embedding: number;
	vocabulary: number;
	heads: number;
	headsKv: number;
	keyLength: number;
	valueLength: number;
	/** Of one expert, where there are experts. */
	feedForward: number;
	experts: number;
	expertsUsed: number;
	/** Positions it was made for. */
	contextLength: number;
}

interface CacheChoice {
	/** Positions the KV cache holds. */
	cacheTokens: number;
	cacheType: EngineSettings['cacheType'];
}

/** Positions a cache block holds, and dimensions that share a scale in a q8_0 cache: native/core/kv_blocks.h. */
const BLOCK_TOKENS = 32;
const SCALED_LENGTH = 32;
/** Rows of the largest step: MAX_CHUNK of runtime/scheduler.ts. */
const STEP_ROWS = 512;
/** Rows whose logits one step may ask for: the scheduler's default of requests that run at once. */
const OUTPUT_ROWS = 64;
/** Buffers grow by a quarter more than asked for: native/cpu/cpu_backend.cpp, `Scratch`. */
const GROWTH = 1.25;
/** Node itself, the addon and the threads' own buffers, as measured with the smallest model. */
const PROCESS_BYTES = 100e6;
/** Tables of the tokenizer (texts, merges and the maps over them) for each token of the vocabulary, as measured. */
const TOKENIZER_BYTES = 400;
/** Of the machine's memory, what a model may take before the machine has too little left for itself. */
const MOST_OF_MACHINE = 0.9;
/** Contexts below this are no use to anyone. */
const LEAST_CONTEXT = 1024;

/** Bytes of the KV cache of one position, all layers. */
export function cacheBytesPerToken(sizes: ModelSizes, type: EngineSettings['cacheType']): number {
	const vector = (length: number) => (type === 'q8_0' ? length + 2 * Math.ceil(length / SCALED_LENGTH) : 2 * length);
	return sizes.layers * sizes.headsKv * (vector(sizes.keyLength) + vector(sizes.valueLength));
}

/** What a model of these sizes takes with such a cache. */
function memoryNeed(sizes: ModelSizes, { cacheTokens, cacheType }: CacheChoice): MemoryNeed {
	const blocks = Math.ceil(cacheTokens / BLOCK_TOKENS);
	const cacheBytes = blocks * BLOCK_TOKENS * cacheBytesPerToken(sizes, cacheType);
	const { weightBytes } = sizes;
	const scratchBytes = Math.round(activationBytes(sizes) + PROCESS_BYTES + TOKENIZER_BYTES * sizes.vocabulary);
	return { weightBytes, cacheBytes, scratchBytes, totalBytes: weightBytes + cacheBytes + scratchBytes };
}

/** What a smaller model takes that guesses ahead: Node and the addon are there already. */
export function draftModelNeed(sizes: ModelSizes, settings: MemorySettings): MemoryNeed {
	const need = needWith(sizes, settings);
	const scratchBytes = need.scratchBytes - PROCESS_BYTES;
	return { ...need, scratchBytes, totalBytes: need.totalBytes - PROCESS_BYTES };
}

/**
 * What an EAGLE-3 head takes beside its target: its weights, keys and values in as many blocks as the target's, and what a step
 * passes on to it, three layers' inputs a row (native/core/draft_head.h).
 */
export function draftHeadNeed(sizes: ModelSizes, target: ModelSizes, settings: MemorySettings): MemoryNeed {
	const like = { ...sizes, vocabulary: sizes.vocabulary || target.vocabulary, contextLength: target.contextLength };
	const { weightBytes, cacheBytes } = needWith(like, settings);
	const features = 4 * STEP_ROWS * (3 * target.embedding + 3 * sizes.embedding);
	const scratchBytes = Math.round(activationBytes(like) + features);
	return { weightBytes, cacheBytes, scratchBytes, totalBytes: weightBytes + cacheBytes + scratchBytes };
}

/** Of a model together with what guesses ahead for it. */
export function withDraft(need: MemoryNeed, draft: MemoryNeed): MemoryNeed {
	return { ...addNeeds(need, draft), draftBytes: draft.totalBytes };
}

/** Of two models. */
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

/** Activations of the largest step, in F32 and quantised, and the logits of its outputs. */
function activationBytes(sizes: ModelSizes): number {
	const { embedding, heads, headsKv, keyLength, valueLength, feedForward, experts, vocabulary } = sizes;
	const attention = 2 * embedding + heads * (keyLength + valueLength) + headsKv * (keyLength + valueLength) + keyLength;
	// Each row is gathered for each of its experts, activated and written out.
	const used = Math.max(1, sizes.expertsUsed);
	const network = experts + used * (2 * embedding + 2 * feedForward);
	const quantised = 1.3 * (embedding + heads * keyLength + used * (embedding + feedForward));
	return GROWTH * (STEP_ROWS * (4 * (attention + network) + quantised) + 4 * OUTPUT_ROWS * vocabulary);
}

/** Whether something of this size has room. */
export function fitOf({ totalBytes }: MemoryNeed, memory: MachineMemory): Fit {
	if (totalBytes <= memory.availableBytes) return 'fits';
	return totalBytes <= memory.totalBytes * MOST_OF_MACHINE ? 'tight' : 'too-large';
}

/** The settings of a load that its memory depends on. */
export type MemorySettings = Pick<EngineSettings, 'contextTokens' | 'cacheType' | 'completion'> &
	Partial<Pick<EngineSettings, 'completionModelPath'>>;

/** The prompts of chat and completion beside the excerpts: instructions, file name, message headers. */
const COMPLETION_OVERHEAD = 512;

/** Positions that a completion spans. */
export function completionWindow(completion: EngineSettings['completion']): number {
	const { prefixTokens, suffixTokens, relatedTokens, maxTokens } = completion;
	return prefixTokens + suffixTokens + relatedTokens + maxTokens + COMPLETION_OVERHEAD;
}

/**
 * Positions of the KV cache: a conversation that fills its context leaves the completions their own room, unless another model
 * completes.
 */
export function cacheTokens(settings: Omit<MemorySettings, 'cacheType'>): number {
	const { contextTokens, completion, completionModelPath } = settings;
	return contextTokens + (completionModelPath ? 0 : Math.min(completionWindow(completion), contextTokens));
}

/** What a model takes with these settings. A context beyond what the model was made for is cut to that. */
export function needWith(sizes: ModelSizes, settings: MemorySettings): MemoryNeed {
	const contextTokens = Math.min(settings.contextTokens, sizes.contextLength || settings.contextTokens);
	return memoryNeed(sizes, {
		cacheTokens: Math.max(contextTokens, cacheTokens(settings)),
		cacheType: settings.cacheType,
	});
}

/** Settings nearest to these with which the model takes no more than `limitBytes`; best first. */
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
	// Of two with the same context the one that keeps the cache as it is comes first.
	return found.sort((a, b) => b.contextTokens - a.contextTokens);
}

/** More than there is room for; says by how much and what would help. */
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

/** Bytes a load may take. */
export function limitBytes(limit: 'available' | 'machine', memory: MachineMemory): number {
	return limit === 'available' ? memory.availableBytes : memory.totalBytes * MOST_OF_MACHINE;
}
