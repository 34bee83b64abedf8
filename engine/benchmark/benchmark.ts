// The benchmark, shared by `hearth bench` and the editor: llama-bench's tests on a loaded model, and those of what an editor
// needs beside them.
import { setMaxListeners } from 'node:events';
import os from 'node:os';
import type { Ceilings } from '../../native/index';
import type { OpenedModel } from '../loading/open-model';
import { displayName } from '../models/display-name';
import type { Engine } from '../runtime/engine';
import type { GenerateOptions, GenerateResult } from '../runtime/request';
import type { DraftRequest, DraftSource } from '../speculation/draft-source';
import { VERSION } from '../version';
import { decodeWork, type ModelCost, prefillWork, stepWeightBytes, type Work } from './cost';
import { MemorySampler } from './memory-sampler';
import { type BenchmarkOptions, benchmarkDemand, fitOptions, VERIFY_ROWS, VERIFY_STEPS, WARM_SUFFIX } from './options';
import { ratiosOf } from './ratios';
import { EDIT_RECORDING } from './recording';
import type { BenchmarkReport, BenchmarkResult, BenchmarkTest, Measured } from './report';

interface BenchmarkRun {
	model: Pick<OpenedModel, 'engine' | 'tokenizer' | 'loadMilliseconds' | 'cpuFeatures' | 'weights'>;
	options: BenchmarkOptions;
	signal: AbortSignal;
	/** The model was opened just now and has run nothing: its first token belongs to the load. */
	fresh?: boolean;
	/** Called before each sample with the share done (0…1) and the test's name. */
	onProgress?: (fraction: number, test: string) => void;
}

interface Sample {
	milliseconds: number;
	drafts?: { proposed: number; accepted: number };
}

interface Test {
	name: string;
	tokens: number;
	/** What a token costs at least, where that is known beforehand. */
	work?: Work;
	/** Runs once before the first sample, untimed. */
	prepare?: () => Promise<unknown>;
	sample: () => Promise<Sample>;
}

/**
 * Runs all tests. Every token fed, of prompts and of "generated" text, is random and different in each stream and sample:
 * nothing comes from the cache, and experts are chosen as independently as in real use. A batch that feeds all its
 * streams the same token flatters. Only the code edit is real text.
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
	setMaxListeners(0, signal); // one a stream
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

/** What the machine was seen to do at most: of two measurements the slower one tells only that something disturbed it. */
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

/** What a speed is of the machine's ceilings; without a share where the machine has no such ceiling. */
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

function planTests(model: BenchmarkRun['model'], options: BenchmarkOptions, signal: AbortSignal): Test[] {
	const { engine } = model;
	const { generate, length } = options;
	const asked = (test: BenchmarkTest) => options.tests.includes(test);
	const cost: ModelCost = {
		info: engine.info,
		weights: model.weights,
		cacheBytesPerToken: engine.cacheBytes / engine.cacheUse.capacityTokens,
	};
	const tests: Test[] = [];
	if (asked('forward')) {
		const work = decodeWork(cost, 1, 1);
		tests.push({ name: 'forward', tokens: 1, work, sample: () => prefill(engine, 1, signal) });
	}
	if (asked('pp')) {
		options.prompt.forEach((prompt, index) => {
			// As llama-bench does: what a prompt's first pass must read from the disk is the load's business.
			const warmUp = () => prefill(engine, Math.min(prompt, 512), signal);
			tests.push({
				...{ name: `pp${prompt}`, tokens: prompt, work: prefillWork(cost, prompt) },
				...(index === 0 && { prepare: warmUp }),
				sample: () => prefill(engine, prompt, signal),
			});
		});
	}
	if (asked('tg')) {
		const sample = () => decode(engine, 1, generate, signal);
		// After the weights were repacked, each expert's first use costs half as much again: the system maps its new pages then.
		tests.push({
			name: `tg${generate}`,
			tokens: generate,
			work: decodeWork(cost, 1, generate),
			prepare: sample,
			sample,
		});
	}
	if (asked('batch')) {
		for (const streams of options.batch) {
			tests.push({
				...{ name: `b${streams}x${length}`, tokens: streams * length, work: decodeWork(cost, streams, length) },
				sample: () => decode(engine, streams, length, signal),
			});
		}
	}
	if (asked('depth')) for (const depth of options.depth) tests.push(depthTest(engine, cost, depth, generate, signal));
	if (asked('verify')) tests.push(...verifyTests(engine, cost, signal));
	if (asked('edit')) tests.push(...editTests(model, cost, signal));
	if (asked('first-token') && (options.prompt[0] ?? 0) > WARM_SUFFIX) {
		tests.push(...firstTokenTests(engine, cost, options.prompt[0]!, signal));
	}
	return tests.filter(({ tokens }) => tokens > 0);
}

/** Decoding behind `depth` tokens of context, which are computed once and found in the cache by every sample. */
function depthTest(engine: Engine, cost: ModelCost, depth: number, generate: number, signal: AbortSignal): Test {
	const context = randomTokens(engine, depth + 1);
	return {
		...{ name: `tg${generate}@d${depth}`, tokens: generate, work: decodeWork(cost, 1, generate, depth) },
		prepare: () => generateOrAbort(engine, { tokens: context, maxTokens: 1, forced: randomTokens(engine, 1), signal }),
		sample: () => feed(engine, { tokens: context, forced: randomTokens(engine, generate), signal }),
	};
}

/** Steps of one row, and of as many rows as a draft has that is always right. */
function verifyTests(engine: Engine, cost: ModelCost, signal: AbortSignal): Test[] {
	const rows = VERIFY_ROWS;
	const tokens = rows * VERIFY_STEPS;
	const step = stepWeightBytes(cost, rows) / rows;
	const { bytesPerToken, multiplyAddsPerToken } = decodeWork(cost, 1, VERIFY_STEPS);
	const attention = bytesPerToken - stepWeightBytes(cost, 1);
	return [
		{
			...{ name: 'step1', tokens: VERIFY_STEPS, work: { bytesPerToken, multiplyAddsPerToken } },
			sample: () => decode(engine, 1, VERIFY_STEPS, signal),
		},
		{
			...{ name: `verify${rows}`, tokens, work: { bytesPerToken: step + attention / rows, multiplyAddsPerToken } },
			sample: () => {
				const prompt = randomTokens(engine, 1);
				const forced = randomTokens(engine, tokens);
				const drafts = { source: new Foresight([...prompt, ...forced]), length: rows - 1 };
				return feed(engine, { tokens: prompt, forced, drafts, speculation: true, signal });
			},
		},
	];
}

/** Knows what comes. */
class Foresight implements DraftSource {
	readonly #all: readonly number[];

	constructor(all: readonly number[]) {
		this.#all = all;
	}

	propose(requests: readonly DraftRequest[]): number[][] {
		return requests.map(({ sequence, limit }) =>
			this.#all.slice(sequence.tokens.length, sequence.tokens.length + limit),
		);
	}
}

/**
 * A replay of the recorded edit, plain and with the drafts the engine makes of its own accord. What the model itself would
 * write is replaced by the recording; it computes, and drafts are verified, as ever.
 */
function editTests({ engine, tokenizer }: BenchmarkRun['model'], cost: ModelCost, signal: AbortSignal): Test[] {
	const prompt = [...tokenizer.encode(EDIT_RECORDING.prompt)];
	const forced = [...tokenizer.encode(EDIT_RECORDING.answer)];
	const prepare = () => generateOrAbort(engine, { tokens: prompt, maxTokens: 0, signal });
	const common = { tokens: forced.length, prepare };
	const replay = (speculation: boolean) => () => feed(engine, { tokens: prompt, forced, speculation, signal });
	return [
		{
			...{ ...common, name: 'edit-plain', work: decodeWork(cost, 1, forced.length, prompt.length) },
			sample: replay(false),
		},
		{ ...common, name: 'edit', sample: replay(true) },
	];
}

/** To the first token behind a prompt that is new, and behind one of which all but the end is cached. */
function firstTokenTests(engine: Engine, cost: ModelCost, length: number, signal: AbortSignal): Test[] {
	const prefix = randomTokens(engine, length - WARM_SUFFIX);
	const work = prefillWork(cost, length);
	return [
		{ name: 'first-token-cold', tokens: length, work, sample: () => prefill(engine, length, signal) },
		{
			name: 'first-token-warm',
			tokens: WARM_SUFFIX,
			prepare: () => generateOrAbort(engine, { tokens: prefix, maxTokens: 0, signal }),
			sample: () =>
				feed(engine, {
					...{ tokens: [...prefix, ...randomTokens(engine, WARM_SUFFIX)], forced: randomTokens(engine, 1), signal },
				}),
		},
	];
}

/** Prefills `length` random tokens and gives the next. */
function prefill(engine: Engine, length: number, signal: AbortSignal): Promise<Sample> {
	return feed(engine, { tokens: randomTokens(engine, length), forced: randomTokens(engine, 1), signal });
}

/** `streams` sequences of `length` decode steps each, all at once, from a prompt of one token. */
async function decode(engine: Engine, streams: number, length: number, signal: AbortSignal): Promise<Sample> {
	const started = performance.now();
	await Promise.all(
		Array.from({ length: streams }, () =>
			feed(engine, { tokens: randomTokens(engine, 1), forced: randomTokens(engine, length), signal }),
		),
	);
	return { milliseconds: performance.now() - started };
}

/** A request whose continuation is given. */
async function feed(
	engine: Engine,
	options: Omit<GenerateOptions, 'priority' | 'maxTokens'> & { forced: number[]; signal: AbortSignal },
): Promise<Sample> {
	const result = await generateOrAbort(engine, { speculation: false, ...options, maxTokens: options.forced.length });
	return { milliseconds: result.timings.milliseconds, drafts: result.drafts };
}

async function generateOrAbort(
	engine: Engine,
	options: Omit<GenerateOptions, 'priority'> & { signal: AbortSignal },
): Promise<GenerateResult> {
	const result = await engine.generate({ ...options, priority: 'benchmark' });
	options.signal.throwIfAborted();
	return result;
}

function randomTokens(engine: Engine, count: number): number[] {
	return Array.from({ length: count }, () => Math.floor(Math.random() * engine.info.vocabularySize));
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

/** Mean and sample standard deviation, as llama-bench gives them. */
export function statistics(samples: number[]): Measured {
	const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
	const squares = samples.reduce((sum, value) => sum + (value - mean) ** 2, 0);
	return { mean, stddev: samples.length > 1 ? Math.sqrt(squares / (samples.length - 1)) : 0, samples };
}
