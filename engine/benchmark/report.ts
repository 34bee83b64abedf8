// Reading back what a benchmark saved.
import type { DeviceId } from '../../native/index';

/** What a benchmark measures; see `BenchmarkResult.test`. */
export type BenchmarkTest = 'load' | 'forward' | 'pp' | 'tg' | 'batch' | 'depth' | 'verify' | 'edit' | 'first-token';

export interface BenchmarkChoice {
	/** `quick` (the default): load, forward, pp, tg, batch. `all` also chooses sizes, as far as the loaded context goes. */
	tests?: 'quick' | 'all' | BenchmarkTest[];
	/** Prompt lengths, tokens to generate, streams and tokens a stream of the batch tests, context depths, repetitions. */
	prompt?: number | number[];
	generate?: number;
	batch?: number | number[];
	length?: number;
	depth?: number | number[];
	repeat?: number;
	/** false: measure the weights as the file has them. */
	repack?: boolean;
}

export interface Measured {
	mean: number;
	stddev: number;
	samples: number[];
}

export interface BenchmarkResult {
	/**
	 * `load`; `load+forward`: to the first token; `forward`: one token; `pp512`: a prompt; `tg128`: decoding; `b20x100`: streams
	 * at once; `tg128@d16384`: decoding behind that much context; `verify8`: steps of 8 rows of drafts; `edit`, `edit-plain`: the
	 * recorded code edit with and without speculation; `first-token-cold`, `first-token-warm`: with nothing and nearly all of a
	 * prompt cached.
	 */
	test: string;
	engine: 'hearth' | 'llama.cpp';
	tokensPerSecond?: Measured;
	/** Of one sample. */
	milliseconds: Measured;
	/** Weights and cache read, in bytes for each token; experts by what independent routing touches on average. */
	bytesPerToken?: number;
	/** Of the machine's measured read bandwidth, 0…1. */
	bandwidthShare?: number;
	/** Multiply-adds with weights, of the machine's measured int8 peak, 0…1. */
	computeShare?: number;
	/** Of drafted tokens, how many were right, 0…1. */
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
		 * What the hardware that computed, the CPU or the GPU, can do at most: means of what was measured before and after the
		 * tests. The latter is 0 where the CPU has no int8 instruction.
		 */
		readBytesPerSecond?: number;
		multiplyAddsPerSecond?: number;
		/** Of int8, by a tile unit (AMX) that the CPU has beside its vectors; shares are of the vectors' peak. */
		tileMultiplyAddsPerSecond?: number;
		/** Of those multiply-adds; absent: `int8`, as on any CPU. */
		arithmetic?: 'int8' | 'float';
	};
	model: { name: string; path: string; fileBytes: number; parameterCount: number; bytesPerToken: number };
	backend: DeviceId;
	/** The GPU's name; absent: the CPU computed. */
	device?: string;
	/** Why the CPU computed where a GPU was asked for or could be expected. */
	backendNote?: string;
	kernels: string;
	threads: number;
	/** Whether all weights were in the faster layout, or as the file has them. */
	repacked?: boolean;
	results: BenchmarkResult[];
	memory: { peakBytes: number; averageBytes: number; mappedBytes: number };
	/**
	 * `TEST vs llama.cpp`: how many times as fast; `verify8 / step1`: time of such a step over a plain one's; `tg128@d16384 / d0` and
	 * `edit / edit-plain`: speed over speed; `first-token-warm / cold`: time over time.
	 */
	ratios?: Record<string, number>;
	/** Where another engine was measured in turn with ours (`hearth bench --peer`). */
	peer?: { engine: 'llama.cpp'; version: string; memory: { peakBytes: number; averageBytes: number } };
}

/** Whether a parsed JSON file is a report of ours, of this version or an earlier one. */
export function isReport(value: unknown): value is BenchmarkReport {
	if (typeof value !== 'object' || value === null) return false;
	const { model, results } = value as Partial<BenchmarkReport>;
	return (
		typeof model?.name === 'string' &&
		Array.isArray(results) &&
		results.every((result) => typeof result?.test === 'string' && typeof result.milliseconds?.mean === 'number')
	);
}
