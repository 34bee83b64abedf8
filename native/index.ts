// The typed face of the native addon: everything that the engine may ask of the C++ core.
//
// The caller decides on policy: what runs, for whom, what is reused and when to stop. The addon only computes. Calls
// that touch weights run on the addon's own threads, not on JavaScript's, and return promises. An error is an `Error`
// whose message is one clear line that says what is wrong and, where possible, what to do.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { platformName } from './platform.mjs';

export type RopeMode = 'reference' | 'llamacpp';
/**
 * `reference`: plain loops over weights dequantised to F32, the oracle of all tests. `portable`: plain C++ with the
 * arithmetic of the fast kernels, and so with their bits. The others name instruction sets. `auto` is the best set that
 * this CPU can run.
 */
export type KernelSet = 'auto' | 'reference' | 'portable' | 'avx2' | 'avx512' | 'amx' | 'neon';
/** A device as settings, verdicts and reports name it. Every device but the CPU is a GPU. */
export type DeviceId = 'metal' | 'cpu';
/** `auto` is the first GPU of this machine that takes the model, or the CPU where no GPU does. */
export type BackendChoice = 'auto' | DeviceId;
/**
 * The `code` of the error with which a step ends where its device has failed. Neither the backend nor any cache of its
 * model may be used again.
 */
export const DEVICE_FAILED = 'HEARTH_DEVICE_FAILED';
/**
 * The `code` of the error with which opening, a step, drafting or repacking ends where a file of the model was cut or
 * written to while it was in use. The call gives no result, and the model must be closed.
 */
export const FILE_CHANGED = 'HEARTH_FILE_CHANGED';
/**
 * The type in which a cache stores keys and values. `q8_0` is int8 with one scale for 32 values; it takes 53 % of the
 * memory of `f16`. `f32` is for the `reference` kernels, which take no other type.
 */
export type CacheType = 'f16' | 'q8_0' | 'f32';

/** Bytes of many strings, one after another: string i is `bytes.subarray(offsets[i], offsets[i + 1])`. */
export interface StringTable {
	bytes: Uint8Array;
	offsets: Uint32Array;
}

/** A long array that the engine never needs. Its elements stay in the file. */
export interface OmittedArray {
	/** How many elements the array has. */
	omitted: number;
}

/** Integers and floats become numbers, or bigints from 2^53 on. Arrays of booleans become bytes of 0 and 1. */
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
	/** Offset from the start of the file. */
	offset: number;
	bytes: number;
}

/** A GGUF file's header, parsed and validated. No weight has been read. */
export interface GgufHeader {
	/** Absent where the header was made without a file. */
	path?: string;
	version: number;
	fileBytes: number;
	metadata: Map<string, MetadataValue>;
	tensors: TensorInfo[];
	/**
	 * Why the model cannot be used, as a sentence that names the file: the core would not open it, or the tokenizer
	 * cannot read its vocabulary. Empty where the model can be used. Absent where `readGguf` got no rules.
	 */
	refusal?: string;
}

/** What the engine's tokenizer can read. */
export interface VocabularyRules {
	/** Values of `tokenizer.ggml.pre`. */
	preTokenizers: readonly string[];
	/** Names of special tokens. Such a token is no text, whatever type its file gives it. */
	controlNames: readonly string[];
}

export interface ModelOptions {
	/**
	 * Threads of the pool, including the thread that runs a step. Default: one for each physical (or performance) core.
	 */
	threads?: number;
	rope?: RopeMode;
	kernels?: KernelSet;
	/** The GGUF of a draft head for the model; its architecture is `eagle3`. */
	draftHead?: string;
	/**
	 * Default `auto`. Where the GPU that was asked for cannot be used, the CPU computes and `info.backendNote` says
	 * why.
	 */
	backend?: BackendChoice;
	/**
	 * On a GPU, steps of 32 rows and more run on its matrix units. They are faster, but the last bits of a result then
	 * depend on the size of its step.
	 */
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
	/** 0 where the feed-forward is dense. `expertFeedForwardLength` is then the feed-forward's length. */
	expertCount: number;
	expertUsedCount: number;
	expertFeedForwardLength: number;
	/** Positions that a row of an even layer attends to; 0: all. */
	slidingWindow: number;
	rmsEpsilon: number;
	ropeFrequencyBase: number;
	ropeScalingFactor: number;
	ropeOriginalContextLength: number;
	backend: DeviceId;
	/** The GPU's name. Absent where the CPU computes. */
	device?: string;
	/** Why the CPU computes. Absent where nobody asked for a GPU or could expect one. */
	backendNote?: string;
	/** The kernel set in use, never `auto`. A GPU has one set, which is named by the device's id. */
	kernels: Exclude<KernelSet, 'auto'> | DeviceId;
	threads: number;
	/** Bytes of weights that a step must read to decode one token. */
	bytesPerToken: number;
	/**
	 * The draft head that the model was opened with. `vocabularySize` is the number of tokens that the head can
	 * propose.
	 */
	draftHead?: { path: string; fileBytes: number; vocabularySize: number };
}

/** How the token of one output row is chosen. At `temperature` 0 the choice is greedy, and the lowest id wins a tie. */
export interface Sampling {
	temperature: number;
	/** 0: no limit. */
	topK: number;
	/** 1: no limit. */
	topP: number;
	/** 0: no limit. */
	minP: number;
	/**
	 * The random number is a hash of the seed and of the sampled token's position. What a seed yields therefore depends
	 * neither on batching nor on speculation nor on caching. An integer below 2^53.
	 */
	seed: number;
}

/**
 * One step over a ragged batch: rows (tokens) of any sequences. Rows of one sequence are adjacent, and their positions
 * ascend by 1. A row writes its keys and values at its position in the blocks of its sequence. It attends to all
 * positions up to its own, so everything before the first row of a sequence must already be in the cache.
 */
export interface StepBatch {
	/** [rows] token ids. */
	tokens: Int32Array;
	/** [rows] position in the sequence, from 0. */
	positions: Int32Array;
	/** [rows] index into `blockTables`. */
	sequences: Int32Array;
	/** The blocks of each sequence in order. Position p lies in blockTable[floor(p / cache.blockTokens)]. */
	blockTables: Int32Array[];
	/** The rows whose next token is wanted, ascending. */
	outputs: Int32Array;
	/** [outputs] how to sample each token. Absent: all are chosen greedily. */
	sampling?: Sampling[];
	/**
	 * [blockTables] the numbers, below 2^31, by which the draft head knows the sequences. The head does not follow a
	 * sequence whose number is below 0. Where the numbers are absent, the head takes in nothing of this step.
	 */
	draftSequences?: Int32Array;
	/**
	 * How many tokens to decode for each sequence, at most 64; default 1. The token chosen in one round is the row of
	 * the next round, one position on, and nothing waits for JavaScript in between. In a step of several rounds each
	 * sequence must have one row, which is an output; no logits may be wanted; and the block tables must have room for
	 * positions below `position + rounds`.
	 */
	rounds?: number;
	/**
	 * [(rounds − 1) × rows] ids that the later rounds take as their rows in place of the chosen tokens, round after
	 * round. Absent: the chosen tokens.
	 */
	forced?: Int32Array;
	/** [outputs] the stop ids of each sequence. Once every sequence has met one of its own, no further round runs. */
	stopIds?: Int32Array[];
	/**
	 * Whether to return the logits of the output rows, too: [outputs × vocabulary]. A row has 200,000 floats, so only
	 * tests and tools ask for them.
	 */
	logits?: boolean;
	/**
	 * Whether to return the probabilities of the chosen tokens, too. They take a pass over the 200,000 logits of a row,
	 * so only tests and tools ask for them.
	 */
	probabilities?: boolean;
}

/**
 * The core calls it with the tokens of each round as the round finishes, except the last one. The result of the step
 * has the tokens of all rounds.
 */
export type RoundListener = (tokens: Int32Array) => void;

export interface StepResult {
	/** [rounds that ran × outputs] the chosen ids, one round after another. */
	tokens: Int32Array;
	/**
	 * [rounds that ran × outputs] the probability that the model gave each token at temperature 1, by a softmax over
	 * the whole vocabulary.
	 */
	probabilities?: Float32Array;
	logits?: Float32Array;
	milliseconds: number;
}

/** What a sequence asks of the draft head; see `NativeModel.draft`. */
export interface HeadDraftRequest {
	/** The number of the sequence, as in `StepBatch.draftSequences`. */
	sequence: number;
	/** The newest token of the sequence, which no step has computed yet, and its position. */
	token: number;
	position: number;
	/** How many tokens are wanted at most. */
	limit: number;
	/** The block table of the sequence, with room for positions below `position + limit`. */
	blocks: Int32Array;
}

/**
 * The keys and values of a model in blocks of `blockTokens` positions. The caller decides which sequence has which
 * block.
 */
export interface NativeCache {
	readonly blockCount: number;
	readonly blockTokens: number;
	readonly bytes: number;
	/** Copies the first `tokens` positions of block `from` into block `to`, in all layers. */
	copyBlock(from: number, to: number, tokens: number): void;
	/** Frees the memory once no running step uses it. Later calls throw. */
	close(): void;
}

/** The most that the device of a model can do: the GPU, or the CPU with the threads of the model. */
export interface Ceilings {
	readBytesPerSecond: number;
	/** 0 where the CPU has no instruction for them. */
	multiplyAddsPerSecond: number;
	/** Multiply-adds of int8 by a tile unit (AMX), where the CPU has one beside its vectors. */
	tileMultiplyAddsPerSecond?: number;
	/** What `multiplyAddsPerSecond` counts. The kernels of the CPU multiply int8 values, those of the GPU floats. */
	arithmetic: 'int8' | 'float';
}

export interface NativeModel {
	readonly info: ModelInfo;
	/** Throws where memory for the cache cannot be had. */
	createCache(options: { blocks: number; type?: CacheType }): NativeCache;
	/** The bytes that a block of a cache of this type takes. Makes no cache. */
	cacheBlockBytes(type?: CacheType): number;
	/**
	 * Runs the forward pass away from the JavaScript thread. The steps of a model run one after another, in the order
	 * of the calls. Rejects where an id, position, block or row is out of range, before any cache is touched. Rejects
	 * with the code `DEVICE_FAILED` where the device has failed, and with `FILE_CHANGED` where a file of the model has
	 * changed.
	 */
	step(cache: NativeCache, batch: StepBatch, onRound?: RoundListener): Promise<StepResult>;
	/**
	 * Ends every step of several rounds that was asked for so far: after the round that it is at, or after its first
	 * round.
	 */
	endRuns(): void;
	/**
	 * The tokens that the draft head guesses, at most `limit` for each request. A sequence gets none where no step with
	 * `draftSequences` has computed the position before its `token`. The call waits for its turn among the steps and
	 * makes one pass for each token of all sequences together. Rejects where the model has no draft head.
	 */
	draft(cache: NativeCache, requests: readonly HeadDraftRequest[]): Promise<Int32Array[]>;
	/** Makes the draft head forget a sequence. */
	releaseDrafts(sequence: number): void;
	/**
	 * Counts what a step would launch on the GPU, without running it. On the CPU there are no launches. Rejects as
	 * `step` does.
	 */
	countStep(cache: NativeCache, batch: StepBatch): Promise<StepCount>;
	/**
	 * The bytes of memory that `repack` takes for each part. The parts are the layers and then the output matrix. Empty
	 * where the backend reads weights best as the file has them.
	 */
	readonly repackBytes: readonly number[];
	/**
	 * Moves the weights of a part into a faster layout and gives their pages of the file back, so that the weights
	 * exist once in memory. The call waits for its turn among the steps. Results stay the same bit for bit. Rejects
	 * where there is no memory; the weights of the part then stay where they are.
	 */
	repack(part: number): Promise<void>;
	/**
	 * Measures what the device of the model can do at most. The call waits for its turn among the steps and takes about
	 * a second. On the CPU it takes 512 MB of memory, or more where the L3 cache is huge.
	 */
	measureCeilings(): Promise<Ceilings>;
	/** The milliseconds that steps have spent since the last call, by operation. */
	takeProfile(): Record<string, number>;
	/** Ends the running step and the threads, and unmaps the file. Later calls throw. */
	close(): void;
}

export interface CpuInfo {
	/** The kernel sets that this CPU can run, best first. The last two are always `portable` and `reference`. */
	kernels: Exclude<KernelSet, 'auto'>[];
	/** How many threads a model uses by default. */
	threads: number;
	/** The features of the CPU that matter to the kernels, for reports: avx2, avx512vnni, dotprod, i8mm… */
	features: string[];
}

/**
 * One launch of a GPU kernel in a step. Where the rows of the step choose experts, the bytes are those of the experts
 * that they touch on average if each row chooses independently.
 */
export interface KernelLaunch {
	kernel: string;
	/** The number of the layer; −1: before or after the layers. */
	layer: number;
	/** Threadgroups along each axis. */
	grid: [number, number, number];
	/** Threads of a threadgroup. */
	threads: number;
	threadgroupBytes: number;
	/** Whether the launch waits for the launches before it. */
	barrier: boolean;
	/** Bytes of weights that the launch reads, each counted once. */
	weightBytes: number;
	/** How often the threadgroups ask for each weight. After the first time the weight may come from a cache. */
	weightPasses: number;
	/** Bytes of keys and values that the launch reads and writes. */
	cacheBytes: number;
	/** Bytes of intermediates that the launch reads and writes. */
	activationBytes: number;
}

export interface StepCount {
	launches: KernelLaunch[];
	commandBuffers: number;
	/** Bytes of memory that the backend holds for intermediates. */
	scratchBytes: number;
}

/** The result of the self-test for one kernel. */
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
	/** What is wrong, in words. Absent where nothing is. */
	problem?: string;
	/** Milliseconds of one run; 0: it was not timed. */
	milliseconds: number;
	/** Bytes that one run reads and writes. */
	bytes: number;
	/** Multiplications and additions of one run. */
	operations: number;
}

/** A device that can compute a model. */
export interface Device {
	id: DeviceId;
	kind: 'cpu' | 'gpu';
	/** The name of the device in messages: CPU, Metal. */
	name: string;
	/** The GPU as its driver names it. Absent where the device cannot be used, or is the CPU. */
	hardware?: string;
	/**
	 * Whether the system has such devices at all. Where it has none, nobody expects one, and `auto` does not say why it
	 * passed over the device.
	 */
	onThisSystem: boolean;
	/** Why the device cannot be used. Absent where it can. */
	reason?: string;
}

export interface Native {
	/**
	 * Parses and validates the header of a GGUF, away from the JavaScript thread. Accepts any architecture and tensor
	 * type. Rejects with the name of the field at fault, or where the header holds more than any model has. With rules,
	 * the header's `refusal` says whether the model could be opened.
	 */
	readGguf(file: string, rules?: VocabularyRules): Promise<GgufHeader>;
	/**
	 * Maps a model and opens it on a device. Rejects on an unknown architecture, and names a tensor that is missing or
	 * has an unsupported type or a wrong shape.
	 */
	openModel(file: string, options?: ModelOptions): Promise<NativeModel>;
	cpuInfo(): CpuInfo;
	/**
	 * Runs every kernel of a device on random inputs and compares the result with a plain computation in double
	 * precision, away from the JavaScript thread. With `full` the sizes are those of gpt-oss-20b, else small ones.
	 * `report` gets the result of each kernel and may return false to stop. Rejects where the device cannot be used at
	 * all.
	 */
	selfTest(options: {
		backend: DeviceId;
		full: boolean;
		seed: number;
		report: (check: KernelCheck) => boolean;
	}): Promise<void>;
	/** The devices of this build, in the order in which `auto` tries them. The call is quick: it compiles nothing. */
	devices(): Device[];
}

let loaded: Native | undefined;

/**
 * Loads the addon on the first call. Throws an error that says what to do where the addon is missing or does not load
 * on this machine.
 */
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
