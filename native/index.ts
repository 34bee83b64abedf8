// The typed face of the native addon: everything the engine may ask of the C++ core.
//
// Policy (what to run, for whom, what to reuse, when to stop) is the caller's; the addon does arithmetic. No call that
// touches weights runs on the JavaScript thread: those return promises. Errors are `Error`s whose message is one clear
// line saying what is wrong and, where possible, what to do.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { platformName } from './platform.mjs';

export type RopeMode = 'reference' | 'llamacpp';
/**
 * `reference`: plain loops over F32-dequantised weights, the oracle. `portable`: plain C++ with the arithmetic (and so the
 * bits) of the fast kernels. The others are instruction sets; `auto` is the best this CPU has.
 */
export type KernelSet = 'auto' | 'reference' | 'portable' | 'avx2' | 'avx512' | 'amx' | 'neon';
/** A device as settings, verdicts and reports name it. All but the CPU are GPUs. */
export type DeviceId = 'metal' | 'cpu';
/** `auto`: the first GPU that this machine has and that takes the model, else the CPU. */
export type BackendChoice = 'auto' | DeviceId;
/** The `code` of a step's error after which its backend, and every cache of its model, must not be used again. */
export const DEVICE_FAILED = 'HEARTH_DEVICE_FAILED';
/**
 * The `code` of an error of opening, a step, drafting or repacking: a file of the model was cut or written to while it was in use. What
 * was computed meanwhile is dropped; the model must be closed.
 */
export const FILE_CHANGED = 'HEARTH_FILE_CHANGED';
/**
 * What keys and values are stored as: `f16`; `q8_0`, int8 with a scale for 32 of them, in 53 % of the memory; `f32` for the
 * `reference` kernels, which take no other.
 */
export type CacheType = 'f16' | 'q8_0' | 'f32';

/** Bytes of many strings, one after another: string i is `bytes.subarray(offsets[i], offsets[i + 1])`. */
export interface StringTable {
	bytes: Uint8Array;
	offsets: Uint32Array;
}

/** A long array that nothing asks for: it stays in the file. */
export interface OmittedArray {
	/** Its elements. */
	omitted: number;
}

/** Integers and floats are numbers, or bigints beyond 2^53; arrays of booleans are 0 and 1 in bytes. */
export type MetadataValue =
	| string
	| number
	| bigint
	| boolean
	| StringTable
	| Float64Array
	| Int32Array
	| Uint8Array
	| OmittedArray;

export interface TensorInfo {
	name: string;
	/** ggml's type name: F32, F16, BF16, Q8_0, MXFP4… */
	type: string;
	/** ggml order: the contiguous dimension first. */
	shape: number[];
	/** Absolute offset in the file. */
	offset: number;
	bytes: number;
}

/** A GGUF file's header: parsed and validated, no weight touched. */
export interface GgufHeader {
	/** Absent: it was made without a file. */
	path?: string;
	version: number;
	fileBytes: number;
	metadata: Map<string, MetadataValue>;
	tensors: TensorInfo[];
	/**
	 * Why the core would not open the model, or the vocabulary is of no use, as a sentence naming the file; empty: it would, and it
	 * is. Absent where `readGguf` was not given rules.
	 */
	refusal?: string;
}

/** What the engine's tokenizer can read. */
export interface VocabularyRules {
	/** Values of `tokenizer.ggml.pre`. */
	preTokenizers: readonly string[];
	/** Names of tokens that are no text whatever type their file gives them. */
	controlNames: readonly string[];
}

export interface ModelOptions {
	/** Threads of the pool, the calling one included; default: the physical (or performance) cores. */
	threads?: number;
	rope?: RopeMode;
	kernels?: KernelSet;
	/** A GGUF of the architecture `eagle3` made for the model: its draft head. */
	draftHead?: string;
	/** Default `auto`. Where a GPU is asked for and cannot be used, the CPU computes and `info.backendNote` says why. */
	backend?: BackendChoice;
	/** On a GPU, steps of 32 rows and more run on its matrix units. Faster, but last bits then depend on a step's size. */
	matrixUnits?: boolean;
}

/** What the native core read from the GGUF's metadata. Lengths are in elements, sizes in bytes. */
export interface ModelInfo {
	path: string;
	architecture: string;
	name: string;
	fileBytes: number;
	tensorCount: number;
	parameterCount: number;
	tensorTypes: { type: string; count: number; bytes: number }[];
	layers: number;
	embeddingLength: number;
	vocabularySize: number;
	contextLength: number;
	headCount: number;
	headCountKv: number;
	headLength: number;
	/** 0: the feed-forward is dense, and `expertFeedForwardLength` its width. */
	expertCount: number;
	expertUsedCount: number;
	expertFeedForwardLength: number;
	/** Of the even layers; 0: none. */
	slidingWindow: number;
	rmsEpsilon: number;
	ropeFrequencyBase: number;
	ropeScalingFactor: number;
	ropeOriginalContextLength: number;
	backend: DeviceId;
	/** The GPU's name; absent: the CPU computes. */
	device?: string;
	/** Why the CPU computes where a GPU was asked for or could be expected. */
	backendNote?: string;
	/** The kernel set in use (never `auto`; a GPU has one set, of the device's id) and the threads of the pool. */
	kernels: Exclude<KernelSet, 'auto'> | DeviceId;
	threads: number;
	/** Bytes of weights one decode token must read. */
	bytesPerToken: number;
	/** Where the model was opened with one. `vocabularySize`: tokens it can propose. */
	draftHead?: { path: string; fileBytes: number; vocabularySize: number };
}

/** How one output row's token is chosen. `temperature` 0 is greedy (lowest id wins a tie). */
export interface Sampling {
	temperature: number;
	/** 0: no limit. */
	topK: number;
	/** 1: no limit. */
	topP: number;
	/** 0: no limit. */
	minP: number;
	/**
	 * The random number is a hash of seed and the sampled token's position, so a seed's stream does not depend on
	 * batching, speculation or caching. An integer below 2^53.
	 */
	seed: number;
}

/**
 * One step over a ragged batch: rows (tokens) of any sequences. Rows of one sequence are adjacent, their positions
 * ascending by 1. Row r writes its K/V at `position` in its sequence's blocks and attends to all positions ≤ its own,
 * so everything before the sequence's first row must already be in the cache.
 */
export interface StepBatch {
	/** [rows] token ids. */
	tokens: Int32Array;
	/** [rows] 0-based position in the sequence. */
	positions: Int32Array;
	/** [rows] index into `blockTables`. */
	sequences: Int32Array;
	/** A sequence's cache blocks in order: position p lives in blockTable[floor(p / cache.blockTokens)]. */
	blockTables: Int32Array[];
	/** Rows whose next token is wanted, ascending. */
	outputs: Int32Array;
	/** [outputs] how to sample each; absent: greedy for all. */
	sampling?: Sampling[];
	/**
	 * [blockTables] numbers below 2^31 that a draft head knows the sequences by, below 0 for one it is not to follow. With them the
	 * head takes in the step's hidden states.
	 */
	draftSequences?: Int32Array;
	/**
	 * Tokens to decode for each sequence, default 1: the token chosen in one round is the row of the next, a position on, and
	 * nothing waits for JavaScript in between. More than one where each sequence has one row, which is an output, and no logits are
	 * wanted; the tables must have room for positions below `position + rounds`. At most 64.
	 */
	rounds?: number;
	/** [(rounds − 1) × rows] ids to go on with in place of what was chosen, round after round; absent: with what was chosen. */
	forced?: Int32Array;
	/** [outputs] ids that end what is wanted: once each sequence has met one of its own, there are no more rounds. */
	stopIds?: Int32Array[];
	/** Return logits of the output rows too ([outputs × vocabulary], 200,000 floats a row: tests and tools only). */
	logits?: boolean;
	/** Return the probabilities of the chosen tokens too (a pass over 200,000 logits a row: tests and tools only). */
	probabilities?: boolean;
}

/** Told of the rounds of a step as they finish, but not of the last: the step's result has all. */
export type RoundListener = (tokens: Int32Array) => void;

export interface StepResult {
	/** [rounds that ran × outputs] sampled token ids, one round after another. */
	tokens: Int32Array;
	/** For each token the probability that the model gave it at temperature 1 (softmax over the whole vocabulary). */
	probabilities?: Float32Array;
	logits?: Float32Array;
	milliseconds: number;
}

/** A wish for drafts; see `NativeModel.draft`. */
export interface HeadDraftRequest {
	/** As in `StepBatch.draftSequences`. */
	sequence: number;
	/** The sequence's newest token, which no step has computed yet, and its position. */
	token: number;
	position: number;
	/** Tokens wanted. */
	limit: number;
	/** The sequence's block table, with room for positions below `position + limit`. */
	blocks: Int32Array;
}

/** K and V of a model in blocks of `blockTokens` positions. Which block belongs to whom is the caller's business. */
export interface NativeCache {
	readonly blockCount: number;
	readonly blockTokens: number;
	readonly bytes: number;
	/** Copies the first `tokens` positions of block `from` into block `to`, all layers. */
	copyBlock(from: number, to: number, tokens: number): void;
	/** Frees the memory; waits for a running step. Later calls throw. */
	close(): void;
}

/** What the CPU, with the model's threads, or the GPU can do at most. */
export interface Ceilings {
	readBytesPerSecond: number;
	/** 0 where the CPU has no instruction for them. */
	multiplyAddsPerSecond: number;
	/** Of int8, by a tile unit (AMX) that the CPU has beside its vectors. */
	tileMultiplyAddsPerSecond?: number;
	/** Of what: the CPU's kernels multiply int8 values, the GPU's floats. */
	arithmetic: 'int8' | 'float';
}

export interface NativeModel {
	readonly info: ModelInfo;
	/** Throws if memory for it cannot be had. */
	createCache(options: { blocks: number; type?: CacheType }): NativeCache;
	/** Bytes of one cache block of that type, without making one. */
	cacheBlockBytes(type?: CacheType): number;
	/**
	 * Runs the forward pass off the JavaScript thread. Steps of one model run one after another in call order. Rejects
	 * on an id, position, block or row out of range, and before touching any cache; with the code `DEVICE_FAILED` where the
	 * GPU gave up, with `FILE_CHANGED` where the model's file is not what it was.
	 */
	step(cache: NativeCache, batch: StepBatch, onRound?: RoundListener): Promise<StepResult>;
	/** Steps of several rounds that were asked for so far end after the round they are at, or their first. */
	endRuns(): void;
	/**
	 * Tokens the draft head guesses, at most `limit` each; none for a sequence whose position before `token` no step with
	 * `draftSequences` has computed. In line with the steps, all sequences in one pass a token. Rejects where there is no head.
	 */
	draft(cache: NativeCache, requests: readonly HeadDraftRequest[]): Promise<Int32Array[]>;
	/** The draft head forgets a sequence. */
	releaseDrafts(sequence: number): void;
	/** What a step would launch on the GPU, without running it; on the CPU no launches. Rejects as `step` does. */
	countStep(cache: NativeCache, batch: StepBatch): Promise<StepCount>;
	/**
	 * Memory that `repack` of each part takes, in bytes: the layers, then the output matrix. Empty: the weights are best as the
	 * file has them.
	 */
	readonly repackBytes: readonly number[];
	/**
	 * Moves a part's weights into a faster layout, in line with the steps, and gives the file's pages back: weights exist once
	 * either way. Results stay the same bit for bit. Rejects where there is no memory; what has not moved then stays.
	 */
	repack(part: number): Promise<void>;
	/** Measures what the hardware of the model's backend can do at most. Takes about a second, and on the CPU 512 MB (more with a huge L3 cache), in line with the steps. */
	measureCeilings(): Promise<Ceilings>;
	/** Where a step's time went since the last call, in milliseconds by operation. */
	takeProfile(): Record<string, number>;
	/** Unmaps the file and ends the threads, after running steps have ended. Later calls throw. */
	close(): void;
}

export interface CpuInfo {
	/** Kernel sets this CPU can run, best first; always ends with `portable`, `reference`. */
	kernels: Exclude<KernelSet, 'auto'>[];
	/** Threads used by default. */
	threads: number;
	/** CPU features that matter here, for reports: avx2, avx512vnni, dotprod, i8mm… */
	features: string[];
}

/** One launch of a GPU kernel in a step. Bytes of experts are those that independent routing touches on average. */
export interface KernelLaunch {
	kernel: string;
	/** −1: before or after the layers. */
	layer: number;
	/** Threadgroups. */
	grid: [number, number, number];
	/** Of a threadgroup. */
	threads: number;
	threadgroupBytes: number;
	/** Waits for the launches before it. */
	barrier: boolean;
	/** Each weight once. */
	weightBytes: number;
	/** How often the threadgroups ask for them; all but the first time it may come from caches. */
	weightPasses: number;
	/** Keys and values read and written. */
	cacheBytes: number;
	/** Intermediates read and written. */
	activationBytes: number;
}

export interface StepCount {
	launches: KernelLaunch[];
	commandBuffers: number;
	/** Memory held for intermediates. */
	scratchBytes: number;
}

/** One kernel of the self-test. */
export interface KernelCheck {
	backend: DeviceId;
	/** The CPU's kernel set, or the GPU's name. */
	set: string;
	kernel: string;
	shape: string;
	/** Largest deviation from the reference, relative to the size of what was summed up. */
	error: number;
	tolerance: number;
	ok: boolean;
	/** What is wrong, in words. */
	problem?: string;
	/** Of one run; 0: not timed. */
	milliseconds: number;
	/** Read and written by one run. */
	bytes: number;
	/** Multiplications and additions of one run. */
	operations: number;
}

/** What can compute. */
export interface Device {
	id: DeviceId;
	kind: 'cpu' | 'gpu';
	/** What messages call it: CPU, Metal. */
	name: string;
	/** The GPU as its driver names it; absent: it cannot be used, or it is the CPU. */
	hardware?: string;
	/** Whether the system has such devices at all. Where it has none, nobody expects one, and `auto` does not say why not. */
	onThisSystem: boolean;
	/** Why it cannot be used; absent: it can. */
	reason?: string;
}

export interface Native {
	/**
	 * Parses and validates a GGUF header, away from this thread. Rejects with the field at fault, and where there is more than any
	 * model has. Accepts any architecture and tensor type. With rules it also says in `refusal` whether the model could be opened.
	 */
	readGguf(file: string, rules?: VocabularyRules): Promise<GgufHeader>;
	/** Maps a model. Rejects on an unknown architecture, missing tensor, unsupported type or wrong shape, by name. */
	openModel(file: string, options?: ModelOptions): Promise<NativeModel>;
	cpuInfo(): CpuInfo;
	/**
	 * Runs every kernel of a device on random inputs against a plain computation in double precision, away from this thread.
	 * `full`: in gpt-oss-20b's sizes; else small ones. `report` gets each kernel's result and may return false to stop.
	 * Rejects where the device cannot be used at all.
	 */
	selfTest(options: {
		backend: DeviceId;
		full: boolean;
		seed: number;
		report: (check: KernelCheck) => boolean;
	}): Promise<void>;
	/** What this build can compute on, in the order in which `auto` tries it. Quick: nothing is compiled. */
	devices(): Device[];
}

let loaded: Native | undefined;

/** Loads the addon once. Throws a clear error where it was not built for this machine. */
export function loadNative(): Native {
	if (loaded) return loaded;
	const candidates = [
		process.env['HEARTH_NATIVE'],
		path.join(__dirname, 'native', 'hearth.node'), // bundled: dist/hearth.js beside dist/native/
		path.join(__dirname, '..', 'dist', 'native', 'hearth.node'), // from source, as the tests run
	];
	const file = candidates.find((candidate) => candidate !== undefined && existsSync(candidate));
	if (!file) throw new Error('the native addon is missing; run "npm run build"');
	try {
		loaded = createRequire(file)(file) as Native;
	} catch (error) {
		const here = platformName();
		const reason = (error as Error).message.split('\n')[0];
		throw new Error(`the native addon does not load on ${here}; install Hearth's package for ${here} (${reason})`);
	}
	return loaded;
}
