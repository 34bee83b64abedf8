// The benchmark, shared by `hearth bench` and the editor: llama-bench's tests on a loaded model, and further tests of
// what an editor needs.
import { setMaxListeners } from 'node:events';
import os from 'node:os';
import type { Ceilings } from '../../native/index';
import type { OpenedModel } from '../loading/open-model';
import { displayName } from '../models/display-name';
import type { Engine } from '../runtime/engine';
import { VERSION } from '../version';
import type { Work } from './cost';
import { MemorySampler } from './memory-sampler';
import { type BenchmarkOptions, benchmarkDemand, fitOptions } from './options';
import { ratiosOf } from './ratios';
import type { BenchmarkReport, BenchmarkResult, Measured } from './report';
import { planTests, prefill, type Sample, type Test } from './tests';

interface BenchmarkRun {
	model: Pick<OpenedModel, 'engine' | 'tokenizer' | 'loadMilliseconds' | 'cpuFeatures' | 'weights'>;
	options: BenchmarkOptions;
	signal: AbortSignal;
	/** The model was opened just now and has run nothing. The time to its first token then belongs to the load. */
	fresh?: boolean;
	/** Called before each sample with the share that is done (0…1) and the test's name. */
	onProgress?: (fraction: number, test: string) => void;
}

/**
 * Runs all tests. Every token that is fed, of prompts and of "generated" text, is random and different in each stream
 * and sample. So nothing comes from the cache, and experts are chosen as independently as in real use. A batch that
 * feeds the same token to all its streams would flatter. Only the code edit is real text.
 * @throws an AbortError when the signal is aborted; Error where the engine's cache is too small for the tests.
 */
export async function runBenchmark(run: BenchmarkRun): Promise<BenchmarkReport> {
	const { signal, model } = run;
	const { engine } = model;
	const { contextTokens, cacheUse } = engine;
	const options = run.options.fit
		? fitOptions(run.options, { contextTokens, cacheTokens: cacheUse.capacityTokens })
		: run.options;
	checkDemand(engine, options);
	setMaxListeners(0, signal); // each stream adds a listener
	const results: BenchmarkResult[] = [];
	const loading: [string, number][] = [['load', model.loadMilliseconds]];
	if (run.fresh)
		loading.push(['load+forward', model.loadMilliseconds + (await prefill(engine, 1, signal)).milliseconds]);
	if (options.tests.includes('load')) {
		for (const [test, time] of loading) results.push({ test, engine: 'hearth', milliseconds: statistics([time]) });
	}
	run.onProgress?.(0, 'preparing');
	const repacked = options.repack && (await engine.finishRepacking());
	signal.throwIfAborted();
	const { backend } = engine.info;
	const before = await engine.measureCeilings();
	const tests = planTests(model, options, signal);
	const memory = new MemorySampler();
	const measured: { test: Test; samples: Sample[] }[] = [];
	let done = 0;
	try {
		for (const test of tests) {
			signal.throwIfAborted();
			await test.prepare?.();
			const samples: Sample[] = [];
			for (let i = 0; i < options.repeat; i++) {
				signal.throwIfAborted();
				run.onProgress?.(done++ / (tests.length * options.repeat), test.name);
				samples.push(await test.sample());
			}
			measured.push({ test, samples });
		}
	} finally {
		memory.stop();
	}
	signal.throwIfAborted();
	const after = await engine.measureCeilings();
	const { info } = engine;
	if (info.backend !== backend) throw new Error(`what was measured is of two kinds: ${info.backendNote}; run it again`);
	const ceilings = bestCeilings(before, after);
	results.push(...measured.map(({ test, samples }) => resultOf(test, samples, ceilings)));
	return {
		createdAt: new Date().toISOString(),
		version: VERSION,
		machine: {
			cpu: os.cpus()[0]?.model.trim() ?? os.arch(),
			cores: os.cpus().length,
			memoryBytes: os.totalmem(),
			platform: `${os.platform()} ${os.arch()}`,
			features: model.cpuFeatures,
			...ceilings,
		},
		model: {
			name: displayName(info.path, info.name),
			path: info.path,
			fileBytes: info.fileBytes,
			parameterCount: info.parameterCount,
			bytesPerToken: info.bytesPerToken,
		},
		backend: info.backend,
		...(info.device !== undefined && { device: info.device }),
		...(info.backendNote !== undefined && { backendNote: info.backendNote }),
		kernels: info.kernels,
		threads: info.threads,
		repacked,
		results,
		memory: { peakBytes: memory.peakBytes, averageBytes: memory.averageBytes, mappedBytes: info.fileBytes },
		ratios: ratiosOf(results),
	};
}

/**
 * The most that the machine was seen to do. Of two measurements, the slower one only tells that something disturbed it.
 */
export function bestCeilings(before: Ceilings, after: Ceilings): Ceilings {
	const best = (name: 'readBytesPerSecond' | 'multiplyAddsPerSecond' | 'tileMultiplyAddsPerSecond') =>
		Math.max(before[name] ?? 0, after[name] ?? 0);
	const tiles = best('tileMultiplyAddsPerSecond');
	return {
		readBytesPerSecond: best('readBytesPerSecond'),
		multiplyAddsPerSecond: best('multiplyAddsPerSecond'),
		arithmetic: after.arithmetic,
		...(tiles > 0 && { tileMultiplyAddsPerSecond: tiles }),
	};
}

function resultOf({ name, tokens, work }: Test, samples: Sample[], ceilings: Ceilings): BenchmarkResult {
	const times = samples.map(({ milliseconds }) => milliseconds);
	const tokensPerSecond = statistics(times.map((time) => (tokens / time) * 1000));
	const proposed = samples.reduce((sum, { drafts }) => sum + (drafts?.proposed ?? 0), 0);
	const accepted = samples.reduce((sum, { drafts }) => sum + (drafts?.accepted ?? 0), 0);
	return {
		...{ test: name, engine: 'hearth', tokensPerSecond, milliseconds: statistics(times) },
		...(work && sharesOf(work, tokensPerSecond.mean, ceilings)),
		...(proposed > 0 && { acceptance: accepted / proposed }),
	};
}

/**
 * The shares of the machine's ceilings that a speed reaches. A share is absent where the machine has no such ceiling.
 */
export function sharesOf(
	work: Work,
	tokensPerSecond: number,
	ceilings: Omit<Ceilings, 'arithmetic'>,
): Pick<BenchmarkResult, 'bytesPerToken' | 'bandwidthShare' | 'computeShare'> {
	const { readBytesPerSecond, multiplyAddsPerSecond } = ceilings;
	return {
		bytesPerToken: Math.round(work.bytesPerToken),
		...(readBytesPerSecond > 0 && { bandwidthShare: (work.bytesPerToken * tokensPerSecond) / readBytesPerSecond }),
		...(multiplyAddsPerSecond > 0 && {
			computeShare: (work.multiplyAddsPerToken * tokensPerSecond) / multiplyAddsPerSecond,
		}),
	};
}

function checkDemand(engine: Engine, options: BenchmarkOptions): void {
	const demand = benchmarkDemand(options);
	const { capacityTokens } = engine.cacheUse;
	if (demand.contextTokens > engine.contextTokens) {
		throw new Error(
			`the benchmark needs a context of ${demand.contextTokens} tokens, the model is loaded with ${engine.contextTokens}; ` +
				'raise the context size or measure shorter prompts',
		);
	}
	if (demand.cacheTokens > capacityTokens) {
		throw new Error(
			`the benchmark needs a cache of ${demand.cacheTokens} tokens, the model is loaded with ${capacityTokens}; ` +
				'raise the context size or measure fewer streams',
		);
	}
}

/** The mean and the sample standard deviation, as llama-bench gives them. */
export function statistics(samples: number[]): Measured {
	const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
	const squares = samples.reduce((sum, value) => sum + (value - mean) ** 2, 0);
	return { mean, stddev: samples.length > 1 ? Math.sqrt(squares / (samples.length - 1)) : 0, samples };
}
