import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkBars } from '../../engine/benchmark/bars';
import { bestCeilings, runBenchmark, sharesOf, statistics } from '../../engine/benchmark/benchmark';
import {
	attentionBytes,
	decodeWork,
	expectedExperts,
	type ModelCost,
	multiplyAdds,
	prefillWork,
	stepWeightBytes,
} from '../../engine/benchmark/cost';
import {
	ALL_DEFAULTS,
	BENCHMARK_DEFAULTS,
	BENCHMARK_TESTS,
	type BenchmarkOptions,
	benchmarkDemand,
	fitOptions,
	readBenchmarkOptions,
} from '../../engine/benchmark/options';
import { mergeRounds } from '../../engine/benchmark/peer';
import { compareReports, ratiosOf } from '../../engine/benchmark/ratios';
import { EDIT_RECORDING } from '../../engine/benchmark/recording';
import { renderBars, renderMarkdown, renderReport } from '../../engine/benchmark/table';
import type { BenchmarkReport, BenchmarkResult } from '../../engine/protocol';
import { seededRandom } from './support/fake-native';
import { fakeOpenedModel } from './support/fake-opened-model';

const options: BenchmarkOptions = {
	...BENCHMARK_DEFAULTS,
	...{ prompt: [40], generate: 6, batch: [5], length: 8, repeat: 2 },
};

// The toy's vocabulary is so small that random tokens may begin like cached ones.
beforeEach(() => {
	vi.spyOn(Math, 'random').mockImplementation(seededRandom(1));
});
afterEach(() => {
	vi.restoreAllMocks();
});

function setUp(modelOptions: Parameters<typeof fakeOpenedModel>[1] = {}) {
	const model = fakeOpenedModel(() => 'x', modelOptions);
	const controller = new AbortController();
	return { model, controller, signal: controller.signal };
}

describe('runBenchmark', () => {
	test('feeds the rows each test claims, none from the cache, every stream its own', async () => {
		const { model, signal } = setUp();
		await runBenchmark({ model, options, signal });
		const batches = model.native.batches;
		expect(model.native.rowsRun).toBe(2 * (1 + 40 + 6 + 5 * 8) + 40 + 6); // 40 and 6 more are warm-ups
		const wide = batches.filter((batch) => batch.blockTables.length === 5);
		expect(wide.reduce((sum, { rounds = 1 }) => sum + rounds, 0)).toBe(2 * 8);
		for (const { tokens, forced = [] } of wide) {
			for (let round = 0; round < forced.length / 5; round++)
				expect(new Set(forced.slice(5 * round, 5 * round + 5)).size).toBeGreaterThan(1);
			expect(new Set(tokens).size).toBeGreaterThan(1);
		}
	});

	test('skips tests of no tokens', async () => {
		const { model, signal } = setUp();
		const report = await runBenchmark({ model, options: { ...options, prompt: [0], batch: [0] }, signal });
		expect(report.results.map((result) => result.test)).toEqual(['load', 'forward', 'tg6']);
	});

	test('can be cancelled between steps', async () => {
		const { model, controller, signal } = setUp();
		const progress: string[] = [];
		const run = runBenchmark({
			model,
			options,
			signal,
			onProgress: (_, name) => {
				progress.push(name);
				if (name === 'tg6') controller.abort();
			},
		});
		await expect(run).rejects.toThrow(/abort/i);
		expect(progress).toEqual(['preparing', 'forward', 'forward', 'pp40', 'pp40', 'tg6']);
		expect(model.engine.busy).toBe(false);
	});

	test.each([
		[{ contextTokens: 32 }, 'needs a context of 42 tokens, the model is loaded with 32'],
		[{ contextTokens: 64, cacheTokens: 64 }, 'needs a cache of 640 tokens, the model is loaded with 64'],
	])('says what is too small: %j', async (modelOptions, message) => {
		const { model, signal } = setUp(modelOptions);
		await expect(runBenchmark({ model, options, signal })).rejects.toThrow(message);
	});

	test("the default settings' context holds the default benchmark", () => {
		const { contextTokens, cacheTokens } = benchmarkDemand(BENCHMARK_DEFAULTS);
		expect(contextTokens).toBeLessThan(8192);
		expect(cacheTokens).toBeLessThan(8192);
	});
});

describe('readBenchmarkOptions', () => {
	test('fills in defaults', () => {
		expect(readBenchmarkOptions({})).toEqual(BENCHMARK_DEFAULTS);
		expect(readBenchmarkOptions({ prompt: 0, repeat: 1 })).toEqual({ ...BENCHMARK_DEFAULTS, prompt: [0], repeat: 1 });
	});

	test.each([
		{ repeat: 0 },
		{ batch: -1 },
		{ prompt: [512, 1.5] },
		{ length: '5' },
		{ generate: null, repeat: Number.NaN },
	])('refuses %j', (given) => {
		expect(() => readBenchmarkOptions(given)).toThrow(/must be an integer of at least/);
	});
});

describe('statistics', () => {
	test('mean and sample standard deviation', () => {
		expect(statistics([2, 4, 6])).toEqual({ mean: 4, stddev: 2, samples: [2, 4, 6] });
		expect(statistics([3])).toEqual({ mean: 3, stddev: 0, samples: [3] });
	});
});

const toyReport: Omit<BenchmarkReport, 'results' | 'memory'> = {
	createdAt: '2026-08-01T00:00:00.000Z',
	version: '0.1.0',
	machine: { cpu: 'Toy CPU', cores: 2, memoryBytes: 1e9, platform: 'linux x64', features: [] },
	model: { name: 'toy', path: '/toy.gguf', fileBytes: 12.1e9, parameterCount: 1, bytesPerToken: 1 },
	backend: 'cpu',
	kernels: 'avx512',
	threads: 2,
};

/** A report of Hearth: loading takes `load` milliseconds, and a prompt of 512 tokens takes `prompt` milliseconds. */
const round = (load: number, prompt: number, memory: number): BenchmarkReport => ({
	...toyReport,
	results: [
		{ test: 'load', engine: 'hearth', milliseconds: statistics([load]) },
		{
			test: 'pp512',
			engine: 'hearth',
			tokensPerSecond: statistics([512_000 / prompt]),
			milliseconds: statistics([prompt]),
		},
	],
	memory: { peakBytes: memory, averageBytes: memory / 2, mappedBytes: 12.1e9 },
});

describe('beside llama.cpp', () => {
	const theirs = (load: number, prompt: number, memory: number) => ({
		version: 'v0.5.0',
		rows: [
			{ test: 'load', milliseconds: load },
			{ test: 'pp512', milliseconds: prompt },
		],
		memory: { peakBytes: memory, averageBytes: memory / 2 },
	});
	const merged = mergeRounds(
		[round(1000, 10_240, 13e9), round(2000, 5120, 12e9)],
		[theirs(6000, 20_480, 20e9), theirs(6000, 25_600, 22e9)],
	);

	test('rounds become samples of one report', () => {
		expect(merged.results.map(({ test, engine, milliseconds }) => [test, engine, milliseconds.samples])).toEqual([
			['load', 'hearth', [1000, 2000]],
			['load', 'llama.cpp', [6000, 6000]],
			['pp512', 'hearth', [10_240, 5120]],
			['pp512', 'llama.cpp', [20_480, 25_600]],
		]);
		expect(merged.results.map((result) => result.tokensPerSecond?.samples)).toEqual([
			undefined,
			undefined,
			[50, 100],
			[25, 20],
		]);
		expect(merged.memory).toEqual({ peakBytes: 13e9, averageBytes: 6.25e9, mappedBytes: 12.1e9 });
		expect(merged.peer).toEqual({
			engine: 'llama.cpp',
			version: 'v0.5.0',
			memory: { peakBytes: 22e9, averageBytes: 10.5e9 },
		});
	});

	test('the table gives both and the ratio', () => {
		const lines = renderReport(merged).split('\n');
		expect(lines).toContain('llama.cpp v0.5.0: memory: peak 22.00 GB, average 10.50 GB');
		expect(lines.slice(-5)).toEqual([
			'| test  |           t/s |              ms |        llama.cpp | Hearth is |',
			'| ----- | ------------: | --------------: | ---------------: | --------: |',
			'| load  |               |  1500.0 ± 707.1 |  6000.0 ± 0.0 ms |     4.00× |',
			'| pp512 | 75.00 ± 35.36 | 7680.0 ± 3620.4 | 22.50 ± 3.54 t/s |     3.00× |',
			'',
		]);
	});
});

describe('renderReport', () => {
	test("is a table in llama-bench's manner", () => {
		const report: BenchmarkReport = {
			...toyReport,
			results: [
				{ test: 'load', engine: 'hearth', milliseconds: statistics([1500]) },
				{
					test: 'pp512',
					engine: 'hearth',
					tokensPerSecond: statistics([50, 52]),
					milliseconds: statistics([10240, 9846]),
				},
			],
			memory: { peakBytes: 13e9, averageBytes: 12.5e9, mappedBytes: 12.1e9 },
		};
		expect(renderReport(report)).toBe(
			[
				'model: toy (12.10 GB)',
				'machine: Toy CPU, 2 cores, linux x64; avx512 kernels, 2 threads',
				'memory: peak 13.00 GB, average 12.50 GB, 12.10 GB of it mapped from the file at most',
				'',
				'| test  |          t/s |              ms |',
				'| ----- | -----------: | --------------: |',
				'| load  |              |    1500.0 ± 0.0 |',
				'| pp512 | 51.00 ± 1.41 | 10043.0 ± 278.6 |',
				'',
			].join('\n'),
		);
		const ceilings = { readBytesPerSecond: 27e9, multiplyAddsPerSecond: 195e9, tileMultiplyAddsPerSecond: 1500e9 };
		expect(renderReport({ ...report, machine: { ...report.machine, ...ceilings } })).toContain(
			'ceilings of the CPU: reads 27.00 GB/s, 195 G int8 multiply-adds/s by vectors (what shares are of), 1500 G by tiles\n',
		);
	});
});

const toyCost: ModelCost = {
	info: {
		...{ layers: 4, embeddingLength: 10, vocabularySize: 100, headCount: 2, headCountKv: 1, headLength: 5 },
		...{ expertCount: 32, expertUsedCount: 4, expertFeedForwardLength: 20, slidingWindow: 8, bytesPerToken: 1500 },
	},
	weights: { expertBytes: 8000, headBytes: 200 },
	cacheBytesPerToken: 40,
};

describe('what a step costs', () => {
	test('experts touched, as in the roofline of gpt-oss', () => {
		const touched = [1, 2, 4, 8, 20].map((rows) => expectedExperts(32, 4, rows).toFixed(1));
		expect(touched).toEqual(['4.0', '7.5', '13.2', '21.0', '29.8']);
	});

	test('bytes: what every token reads, the experts touched, the head where a row is sampled', () => {
		expect(stepWeightBytes(toyCost, 1)).toBe(1500);
		expect(stepWeightBytes(toyCost, 2)).toBe(500 + 7.5 * 250);
		expect(stepWeightBytes(toyCost, 1, false)).toBe(1300);
	});

	test('keys and values: all of them in every other layer, the window in the rest', () => {
		expect(attentionBytes(toyCost, 3)).toBe(4 * 4 * 10);
		expect(attentionBytes(toyCost, 19)).toBe(2 * 20 * 10 + 2 * 8 * 10);
	});

	test('multiply-adds', () => {
		const layer = 2 * 10 * 5 * 3 + 10 * (32 + 3 * 4 * 20);
		expect(multiplyAdds(toyCost, false)).toBe(4 * layer);
		expect(multiplyAdds(toyCost)).toBe(4 * layer + 1000);
	});

	test('streams share what a step reads; a long prompt is read in chunks, its head once', () => {
		expect(decodeWork(toyCost, 2, 2)).toEqual({
			bytesPerToken: stepWeightBytes(toyCost, 2) / 2 + (40 + 80) / 2,
			multiplyAddsPerToken: multiplyAdds(toyCost),
		});
		const { bytesPerToken, multiplyAddsPerToken } = prefillWork(toyCost, 1024);
		const weights = 2 * stepWeightBytes(toyCost, 512, false) + 200;
		expect(bytesPerToken * 1024).toBeCloseTo(weights + attentionBytes(toyCost, 511) + attentionBytes(toyCost, 1023), 6);
		expect(multiplyAddsPerToken * 1024).toBeCloseTo(1024 * multiplyAdds(toyCost, false) + 1000, 6);
	});

	test('a dense model: every weight in each step, every key in each layer, no router', () => {
		const info = { ...toyCost.info, expertCount: 0, expertUsedCount: 0, slidingWindow: 0 };
		const dense: ModelCost = { ...toyCost, info, weights: { expertBytes: 0, headBytes: 200 } };
		expect([1, 7].map((rows) => stepWeightBytes(dense, rows))).toEqual([1500, 1500]);
		expect(stepWeightBytes(dense, 7, false)).toBe(1300);
		expect(attentionBytes(dense, 19)).toBe(4 * 20 * 10);
		expect(multiplyAdds(dense, false)).toBe(4 * (2 * 10 * 5 * 3 + 10 * 3 * 20));
	});

	test('a ceiling is the best that was seen, of each kind apart', () => {
		const slow = { readBytesPerSecond: 10, multiplyAddsPerSecond: 300, arithmetic: 'int8' as const };
		const fast = { readBytesPerSecond: 20, multiplyAddsPerSecond: 200, arithmetic: 'int8' as const };
		const best = { readBytesPerSecond: 20, multiplyAddsPerSecond: 300, arithmetic: 'int8' };
		expect([bestCeilings(slow, fast), bestCeilings(fast, slow)]).toEqual([best, best]);
		expect(bestCeilings(slow, { ...fast, tileMultiplyAddsPerSecond: 7 })).toEqual({
			...best,
			tileMultiplyAddsPerSecond: 7,
		});
	});

	test('shares of the ceilings; none where there is no ceiling', () => {
		const work = { bytesPerToken: 200, multiplyAddsPerToken: 30 };
		expect(sharesOf(work, 10, { readBytesPerSecond: 4000, multiplyAddsPerSecond: 400 })).toEqual({
			...{ bytesPerToken: 200, bandwidthShare: 0.5, computeShare: 0.75 },
		});
		expect(sharesOf(work, 10, { readBytesPerSecond: 4000, multiplyAddsPerSecond: 0 })).toEqual({
			...{ bytesPerToken: 200, bandwidthShare: 0.5 },
		});
	});
});

describe('everything', () => {
	const all: BenchmarkOptions = {
		...ALL_DEFAULTS,
		...{ prompt: [64, 128], generate: 6, batch: [1, 4], length: 8, depth: [0, 200], repeat: 1 },
	};

	test('runs every test, and its steps have the rows they claim', async () => {
		// Rows cost time, as they do anywhere. Otherwise drafts would be as long as they may be.
		const { model, signal } = setUp({ cost: (rows) => 10 + 3 * rows });
		const report = await runBenchmark({ model, options: all, signal, fresh: true });
		expect(report.results.map(({ test }) => test)).toEqual([
			...['load', 'load+forward', 'forward', 'pp64', 'pp128', 'tg6', 'b1x8', 'b4x8', 'tg6@d0', 'tg6@d200'],
			...['step1', 'verify8', 'edit-plain', 'edit', 'first-token-cold', 'first-token-warm'],
		]);
		expect(model.native.batches.filter(({ outputs }) => outputs.length === 8).length).toBeGreaterThanOrEqual(12);
		const named = (test: string) => report.results.find((result) => result.test === test)!;
		expect(named('verify8').acceptance).toBe(1);
		// The prompt holds the file, so lookup drafts most of the edited file.
		expect(named('edit').acceptance).toBeGreaterThan(0.5);
		expect(named('edit-plain').acceptance).toBeUndefined();
		expect(Object.keys(report.ratios!)).toEqual([
			...['tg6@d200 / d0', 'verify8 / step1', 'edit / edit-plain', 'first-token-warm / cold'],
		]);
		expect(report.machine).toMatchObject({ readBytesPerSecond: 1e6, multiplyAddsPerSecond: 1e9 });
		// The weights of the toy have no faster layout.
		expect(report.repacked).toBe(false);
		expect(renderReport(report)).toMatch(/^model: .*, weights as in the file$/m);
		const decode = named('tg6');
		expect(decode.bandwidthShare).toBeCloseTo((decode.bytesPerToken! * decode.tokensPerSecond!.mean) / 1e6, 3);
		expect(Object.keys(JSON.parse(JSON.stringify(report)))).toEqual(
			expect.arrayContaining(['machine', 'model', 'backend', 'threads', 'results', 'memory', 'ratios']),
		);
	});

	test('with a cached prefix only the end of a prompt runs, and context is computed once', async () => {
		const { model, signal } = setUp();
		const rows = async (tests: BenchmarkOptions['tests']) => {
			const before = model.native.rowsRun;
			await runBenchmark({ model, options: { ...all, tests, repeat: 3 }, signal });
			return model.native.rowsRun - before;
		};
		expect(await rows(['first-token'])).toBe(3 * 64 + 32 + 3 * 32);
		expect(await rows(['depth'])).toBe(1 + 3 * 6 + 201 + 3 * 6);
	});

	test('sizes that a small context does not hold shrink, and what cannot shrink is left out', async () => {
		const limits = { contextTokens: 1024, cacheTokens: 1024 };
		const fitted = fitOptions(ALL_DEFAULTS, limits);
		expect(fitted).toMatchObject({ prompt: [512], batch: [1, 4, 5], depth: [0, 512] });
		expect(fitted.tests).toEqual(BENCHMARK_TESTS.filter((test) => test !== 'edit'));
		const demand = benchmarkDemand(fitted);
		expect(Math.max(demand.contextTokens, demand.cacheTokens)).toBeLessThanOrEqual(1024);
		const { model, signal } = setUp({ contextTokens: 96, cacheTokens: 1024 });
		await expect(runBenchmark({ model, options: { ...all, fit: false }, signal })).rejects.toThrow('needs a context');
	});
});

describe('the recorded edit', () => {
	test('changes a few lines of the file that the prompt shows', () => {
		const { prompt, answer } = EDIT_RECORDING;
		const shown = prompt.split('\n');
		const lines = answer.split('\n');
		const kept = lines.filter((line) => shown.includes(line));
		expect(kept.length).toBeLessThan(lines.length - 5);
		expect(kept.length / lines.length).toBeGreaterThan(0.75);
		for (const added of ['lifetime?: number', 'has(key: string)', 'private isExpired']) expect(answer).toContain(added);
		expect(answer).not.toContain('if (this.now() -');
	});
});

/** A report of Hearth and the other engine, from pairs `[test, ms]`. */
const reportOf = (ours: [string, number][], theirs: [string, number][] = []): BenchmarkReport => {
	const rows = (engine: BenchmarkResult['engine'], list: [string, number][]) =>
		list.map(([test, time]): BenchmarkResult => ({ test, engine, milliseconds: statistics([time]) }));
	const results = [...rows('hearth', ours), ...rows('llama.cpp', theirs)];
	return {
		...{ ...toyReport, results, ratios: ratiosOf(results) },
		memory: { peakBytes: 12.5e9, averageBytes: 12e9, mappedBytes: 12.1e9 },
	};
};

describe('ratios', () => {
	test('among results, above one is better for speeds', () => {
		const report = reportOf(
			[
				...([
					['tg8', 100],
					['tg8@d0', 100],
					['tg8@d64', 125],
					['step1', 10],
					['verify8', 31],
				] as [string, number][]),
				...([
					['edit-plain', 300],
					['edit', 100],
					['first-token-cold', 80],
					['first-token-warm', 8],
				] as [string, number][]),
			],
			[['tg8', 150]],
		);
		expect(report.ratios).toEqual({
			...{ 'tg8 vs llama.cpp': 1.5, 'tg8@d64 / d0': 0.8, 'verify8 / step1': 3.1 },
			...{ 'edit / edit-plain': 3, 'first-token-warm / cold': 0.1 },
		});
	});

	test('against an earlier report, where both have the test', () => {
		const report = reportOf(
			[
				['tg8', 100],
				['pp4', 10],
			],
			[['tg8', 100]],
		);
		const earlier = reportOf(
			[
				['tg8', 150],
				['b2x2', 1],
			],
			[['tg8', 90]],
		);
		expect(compareReports(report, earlier)).toEqual([
			{ test: 'tg8', ratio: 1.5 },
			{ test: 'tg8 (llama.cpp)', ratio: 0.9 },
		]);
		expect(renderReport(report, earlier)).toMatch(/^\| tg8 +\|.*\| +1\.00× \| +1\.50× \|$/m);
		expect(renderMarkdown(report, earlier)).toMatch(/^- model: toy/);
	});
});

describe('bars', () => {
	test('each that the report holds is met or missed by its own limit', () => {
		const report = reportOf(
			[
				['load+forward', 1400],
				['pp512', 100],
				['step1', 10],
				['verify8', 34],
			],
			[
				['load+forward', 8000],
				['pp512', 490],
			],
		);
		const bars = checkBars(report);
		expect(bars.map(({ what, ok }) => [what, ok])).toEqual([
			['prefill 512 vs llama.cpp', false],
			['verify step of 8 over a step of 1', false],
			['load to first token', true],
			['load to first token vs llama.cpp', true],
			['memory beyond the file', true],
		]);
		expect(renderBars(bars)).toMatch(/^\| prefill 512 vs llama\.cpp +\| +4\.90 × \| +≥ 5\.00 × \| +short \|$/m);
	});
});
