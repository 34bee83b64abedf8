// The request and the report of a benchmark. A saved report can be read back.
import type { DeviceId } from '../../native/index';

/** The tests of a benchmark; see `BenchmarkResult.test`. */
export type BenchmarkTest = 'load' | 'forward' | 'pp' | 'tg' | 'batch' | 'depth' | 'verify' | 'edit' | 'first-token';

export interface BenchmarkChoice {
	/**
	 * `quick` (the default): load, forward, pp, tg, batch. `all` also chooses sizes, as far as the loaded context allows.
	 */
	tests?: 'quick' | 'all' | BenchmarkTest[];
	/**
	 * Prompt lengths, tokens to generate, streams and tokens per stream of the batch tests, context depths, repetitions.
	 */
	prompt?: number | number[];
	generate?: number;
	batch?: number | number[];
	length?: number;
	depth?: number | number[];
	repeat?: number;
	/** false: measure with the weights as the file has them. */
	repack?: boolean;
}

export interface Measured {
	mean: number;
	stddev: number;
	samples: number[];
}

export interface BenchmarkResult {
	/**
	 * `load`; `load+forward`: from the load's start to the first token; `forward`: one token; `pp512`: a prompt of 512
	 * tokens; `tg128`: decoding 128 tokens; `b20x100`: decoding 20 streams of 100 tokens at once; `tg128@d16384`:
	 * decoding behind that much context; `step1`, `verify8`: steps of one row, and of 8 rows of drafts; `edit`,
	 * `edit-plain`: the recorded code edit with and without speculation; `first-token-cold`, `first-token-warm`: the time
	 * to the first token where nothing, or nearly all, of a prompt is cached.
	 */
	test: string;
	engine: 'hearth' | 'llama.cpp';
	tokensPerSecond?: Measured;
	/** Time of one sample. */
	milliseconds: Measured;
	/**
	 * Bytes of weights and cache that are read for each token. Experts count as many as independent routing touches on
	 * average.
	 */
	bytesPerToken?: number;
	/** The part of the machine's measured read bandwidth, 0…1. */
	bandwidthShare?: number;
	/** Multiply-adds with weights, as a part of the machine's measured peak, 0…1. */
	computeShare?: number;
	/** The part of the drafted tokens that were right, 0…1. */
	acceptance?: number;
}

export interface BenchmarkReport {
	createdAt: string;
	version: string;
	machine: {
		cpu: string;
		cores: number;
		memoryBytes: number;
		platform: string;
		features: string[];
		/**
		 * The most that the hardware that computed (the CPU or the GPU) can do. Each is the better of two measurements,
		 * before and after the tests; with a peer, the mean of all rounds' values. Multiply-adds are 0 where the CPU has no
		 * int8 instruction.
		 */
		readBytesPerSecond?: number;
		multiplyAddsPerSecond?: number;
		/** int8 multiply-adds by a tile unit (AMX) that the CPU has beside its vectors. Shares are of the vectors' peak. */
		tileMultiplyAddsPerSecond?: number;
		/** The arithmetic of those multiply-adds. Absent: `int8`, as on any CPU. */
		arithmetic?: 'int8' | 'float';
	};
	model: { name: string; path: string; fileBytes: number; parameterCount: number; bytesPerToken: number };
	backend: DeviceId;
	/** The GPU's name. Absent where the CPU computed. */
	device?: string;
	/** Why the CPU computed where a GPU was asked for or could be expected. */
	backendNote?: string;
	kernels: string;
	threads: number;
	/** Whether all weights were in the faster layout. Otherwise they were as the file has them. */
	repacked?: boolean;
	results: BenchmarkResult[];
	memory: { peakBytes: number; averageBytes: number; mappedBytes: number };
	/**
	 * `TEST vs llama.cpp`: how many times as fast Hearth is; `verify8 / step1`: how many times as long such a step takes
	 * as a plain one; `tg128@d16384 / d0` and `edit / edit-plain`: speed over speed; `first-token-warm / cold`: time over
	 * time.
	 */
	ratios?: Record<string, number>;
	/** Present where another engine was measured in turn with ours (`hearth bench --peer`). */
	peer?: { engine: 'llama.cpp'; version: string; memory: { peakBytes: number; averageBytes: number } };
}

/** Whether a parsed JSON file is a report of ours, by this version or an earlier one. */
export function isReport(value: unknown): value is BenchmarkReport {
	if (typeof value !== 'object' || value === null) return false;
	const { model, results } = value as Partial<BenchmarkReport>;
	return (
		typeof model?.name === 'string' &&
		Array.isArray(results) &&
		results.every((result) => typeof result?.test === 'string' && typeof result.milliseconds?.mean === 'number')
	);
}
