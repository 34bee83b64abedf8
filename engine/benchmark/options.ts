// What a benchmark is to measure, and the cache that it needs for that.

import { quote } from '../quote';
import type { BenchmarkChoice, BenchmarkTest } from './report';

export const BENCHMARK_TESTS: readonly BenchmarkTest[] = [
	...(['load', 'forward', 'pp', 'tg', 'batch', 'depth', 'verify', 'edit', 'first-token'] as const),
];
export const QUICK_TESTS: readonly BenchmarkTest[] = ['load', 'forward', 'pp', 'tg', 'batch'];

export interface BenchmarkOptions {
	tests: readonly BenchmarkTest[];
	/** Prompt lengths of the prefill tests, in tokens. The first is also the length of the first-token tests. */
	prompt: readonly number[];
	/** Tokens of the decode tests. */
	generate: number;
	/** Streams of each batch test, and tokens of each stream. */
	batch: readonly number[];
	length: number;
	/** Context lengths at which decoding is measured. Each is compared with the first. */
	depth: readonly number[];
	/** Samples of each test. */
	repeat: number;
	/** Whether to measure with the weights in the faster layout. */
	repack: boolean;
	/**
	 * Whether to measure less where the loaded model's context or cache is too small for a test. Otherwise the benchmark
	 * fails.
	 */
	fit: boolean;
}

/** llama-bench's defaults, and a batch of 20 streams of 100 tokens. */
export const BENCHMARK_DEFAULTS: BenchmarkOptions = {
	...{ tests: QUICK_TESTS, prompt: [512], generate: 128, batch: [20], length: 100, depth: [0, 16_384], repeat: 3 },
	...{ repack: true, fit: false },
};

/** The sizes for `all`. */
export const ALL_DEFAULTS: BenchmarkOptions = {
	...BENCHMARK_DEFAULTS,
	...{ tests: BENCHMARK_TESTS, prompt: [512, 4096], batch: [1, 4, 8, 20], fit: true },
};

/** Rows of a verify step: the pending token and the drafts behind it. */
export const VERIFY_ROWS = 8;
/** Verify steps in a sample. */
export const VERIFY_STEPS = 12;
/** Tokens of the prompt that are new in the warm first-token test. */
export const WARM_SUFFIX = 32;
/** Tokens of the code edit's prompt and recording at most, whatever the vocabulary. */
const EDIT_TOKENS = 3072;

/**
 * The options that a client asks for, with defaults where it asks for none.
 * @throws Error naming a value that is no sensible count or test.
 */
export function readBenchmarkOptions(given: { [name in keyof BenchmarkChoice]?: unknown }): BenchmarkOptions {
	const all = given.tests === 'all';
	const defaults = all ? ALL_DEFAULTS : BENCHMARK_DEFAULTS;
	const count = (name: string, value: unknown, minimum: number): number => {
		if (typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum) return value;
		throw new Error(`the benchmark's "${name}" must be an integer of at least ${minimum}`);
	};
	const counts = (name: 'prompt' | 'batch' | 'depth') => {
		const value = given[name] ?? defaults[name];
		return (Array.isArray(value) ? value : [value]).map((one) => count(name, one, 0));
	};
	const one = (name: 'generate' | 'length' | 'repeat', minimum: number) =>
		count(name, given[name] ?? defaults[name], minimum);
	return {
		tests: readTests(given.tests ?? 'quick'),
		prompt: counts('prompt'),
		generate: one('generate', 0),
		batch: counts('batch'),
		length: one('length', 1),
		depth: counts('depth'),
		repeat: one('repeat', 1),
		repack: given.repack !== false,
		fit: all,
	};
}

function readTests(given: unknown): readonly BenchmarkTest[] {
	if (given === 'quick') return QUICK_TESTS;
	if (given === 'all') return BENCHMARK_TESTS;
	const unknown = Array.isArray(given) ? given.find((test) => !BENCHMARK_TESTS.includes(test)) : given;
	if (unknown === undefined) return BENCHMARK_TESTS.filter((test) => (given as string[]).includes(test));
	throw new Error(`the benchmark has no test ${quote(unknown)}; it has ${BENCHMARK_TESTS.join(', ')}`);
}

/** Positions that the KV cache must hold for all tests together, and that one sequence needs at most. */
export function benchmarkDemand(options: BenchmarkOptions): { contextTokens: number; cacheTokens: number } {
	const asks = (test: BenchmarkTest, tokens: number) => (options.tests.includes(test) ? tokens : 0);
	const stream = options.length + 1;
	const contextTokens =
		Math.max(
			...options.prompt.map((prompt) => asks('pp', prompt + 1)),
			asks('first-token', (options.prompt[0] ?? 0) + 1),
			asks('tg', options.generate + 1),
			asks('batch', stream),
			...options.depth.map((depth) => asks('depth', depth + options.generate + 1)),
			asks('verify', VERIFY_ROWS * VERIFY_STEPS + 1),
			asks('edit', EDIT_TOKENS),
			1,
		) + 1;
	// A stream's last block is rarely full. 64 positions are more than any block has.
	const streams = asks('batch', Math.max(0, ...options.batch)) * (Math.ceil(stream / 64) + 1) * 64;
	return { contextTokens, cacheTokens: Math.max(contextTokens, streams) };
}

/**
 * The options that a loaded model's context and cache allow. A test that is too large is left out, or its size is
 * halved until it fits.
 */
export function fitOptions(
	options: BenchmarkOptions,
	limits: { contextTokens: number; cacheTokens: number },
): BenchmarkOptions {
	const fits = (changed: Partial<BenchmarkOptions>) => {
		const demand = benchmarkDemand({ ...options, ...changed });
		return demand.contextTokens <= limits.contextTokens && demand.cacheTokens <= limits.cacheTokens;
	};
	const shrink = (size: number, holds: (size: number) => boolean): number => {
		let left = size;
		while (left > 0 && !holds(left)) left = Math.floor(left / 2);
		return left;
	};
	const distinct = (sizes: number[]) => [...new Set(sizes)];
	const only = (tests: BenchmarkTest[]) => tests as readonly BenchmarkTest[];
	const [firstDepth = 0, ...depths] = options.depth;
	return {
		...options,
		tests: options.tests.filter((test) => test !== 'edit' || fits({ tests: ['edit'] })),
		prompt: distinct(options.prompt.map((size) => shrink(size, (n) => fits({ tests: only(['pp']), prompt: [n] })))),
		batch: distinct(options.batch.map((size) => shrink(size, (n) => fits({ tests: only(['batch']), batch: [n] })))),
		depth: distinct([
			firstDepth,
			...depths.map((size) => shrink(size, (n) => fits({ tests: only(['depth']), depth: [n] }))),
		]),
	};
}
