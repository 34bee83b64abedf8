// The Metal backend as users run it, but on emulated Metal: the whole addon with its kernels, the host code and the
// engine. The logits are compared with the reference's. They have the same bits however a step is cut, tokens depend on
// nothing but prompt and seed, and the engine can fall back to the CPU.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { countSteps } from '../../engine/benchmark/count';
import { renderReport } from '../../engine/benchmark/table';
import { type OpenedModel, openModel } from '../../engine/loading/open-model';
import type { BenchmarkReport, BenchmarkResult, SelfTestReport } from '../../engine/protocol';
import { failures, runSelfTest } from '../../engine/selftest/selftest';
import type { ModelShape } from '../../engine/synth/architecture';
import { synthesize } from '../../engine/synth/synthesize';
import { buildMetalTests } from '../../native/build-metal.mjs';
import { loadNative, type Native, type NativeModel, type Sampling } from '../../native/index';
import { metalSources } from '../../native/metal-sources.mjs';
import { distances, mean } from '../parity/distance';
import { bundleCli } from '../support/cli';
import { forward, randomTokens } from '../support/forward';
import { clang } from '../support/metal';
import { makeModel, otherShapes, shapes, temporaryFolder } from '../support/models';
import { needs } from '../support/needs';
import { claimingSpeed, Decoder, type Decoding } from '../support/rounds';

const root = path.resolve(import.meta.dirname, '..', '..');
const addon = path.join(root, 'dist', 'native', 'metal', 'hearth.node');
const folder = temporaryFolder();
const greedy: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };
/** Dense shapes that together have every architecture, RoPE scaling and kind of block. */
const dense: (keyof typeof otherShapes)[] = [
	...(['llama, F32', 'llama with Llama 3 scaling, F16, tied', 'llama, Q8_0 and Q4_1, tied'] as const),
	...(['qwen2 with YaRN, Q5_0, tied', 'qwen2, Q4_K and Q6_K', 'qwen3, Q5_K, tied', 'qwen3moe, Q4_1 and Q4_K'] as const),
];
const models: Record<string, Partial<ModelShape>> = {
	...shapes,
	...Object.fromEntries(dense.map((name) => [name, otherShapes[name]])),
};
const range = (count: number, first = 0) => Array.from({ length: count }, (_, i) => first + i);

describe('Metal, emulated', needs(clang), () => {
	let native: Native;

	beforeAll(async () => {
		process.env['HEARTH_NATIVE'] = addon;
		process.env['HEARTH_STATE'] = folder;
		await buildMetalTests({ programs: [], modes: ['plain'], addon: true });
		native = loadNative();
		expect(native.devices()).toEqual([
			{ id: 'metal', kind: 'gpu', name: 'Metal', hardware: expect.any(String), onThisSystem: true },
			{ id: 'cpu', kind: 'cpu', name: 'CPU', onThisSystem: true },
		]);
	});

	const open = async (file: string): Promise<NativeModel> => {
		const model = await native.openModel(file, { backend: 'metal', threads: 1 });
		expect(model.info).toMatchObject({ backend: 'metal', kernels: 'metal' });
		expect(model.info.backendNote).toBeUndefined();
		return model;
	};
	const expectSame = (actual: Float32Array, expected: Float32Array) => {
		const at = actual.findIndex((value, i) => !Object.is(value, expected[i]));
		if (actual.length !== expected.length || at >= 0) {
			expect.fail(
				`${actual.length} and ${expected.length} logits differ from number ${at}: ${actual[at]}, ${expected[at]}`,
			);
		}
	};

	describe.each(Object.keys(models))('%s', (name) => {
		const length = 141; // goes past the window, and has a ragged end for tiles of 8, 32 and 128
		let file: string;
		let model: NativeModel;
		let tokens: Int32Array;
		let whole: Float32Array;
		let vocabulary: number;

		beforeAll(async () => {
			file = await makeModel(folder, name.replaceAll(/\W+/g, '-'), { ...models[name], layers: 2 });
			model = await open(file);
			vocabulary = model.info.vocabularySize;
			tokens = randomTokens(length, vocabulary, 7);
			whole = await forward(model, tokens);
		});
		afterAll(() => model.close());

		const rows = (logits: Float32Array, first: number, count: number) =>
			logits.subarray(first * vocabulary, (first + count) * vocabulary);

		test('logits are those of the reference', async () => {
			const reference = await native.openModel(file, { kernels: 'reference', threads: 2 });
			const result = distances(await forward(reference, tokens), whole, vocabulary);
			reference.close();
			// Keys and values are F16, and now and then experts all but tie. A uniform guess would be off by more than 1.
			expect(mean(result.map(({ kl }) => kl))).toBeLessThan(2e-3);
			expect(mean(result.map(({ sameTop }) => Number(sameTop)))).toBeGreaterThan(0.95);
		});

		test('a row has the same bits in a long step, in short ones and alone', async () => {
			expectSame(await forward(model, tokens.subarray(0, 37), { chunk: 1 }), rows(whole, 0, 37));
			expectSame(await forward(model, tokens, { chunk: 5 }), whole);
		});

		test('ragged batches, drafts to verify and shuffled blocks change no bit', async () => {
			const cache = model.createCache({ blocks: 16 });
			const tables = [Int32Array.of(9, 2, 14, 5, 0), Int32Array.of(1, 8, 3), Int32Array.of(7, 4)];
			// Three sequences stand behind 130, 64 and 0 positions of the same text.
			await forward(model, tokens.subarray(0, 130), { cache, blockTable: tables[0]!, positions: [] });
			await forward(model, tokens.subarray(0, 64), { cache, blockTable: tables[1]!, positions: [] });
			const parts: [number, number][] = [
				[130, 11], // this is a decode row with 10 drafts behind it
				[64, 1],
				[0, 3],
			];
			const result = await model.step(cache, {
				tokens: Int32Array.from(parts.flatMap(([first, count]) => range(count, first).map((p) => tokens[p]!))),
				positions: Int32Array.from(parts.flatMap(([first, count]) => range(count, first))),
				sequences: Int32Array.from(parts.flatMap(([, count], sequence) => range(count).map(() => sequence))),
				blockTables: tables,
				outputs: Int32Array.from(range(15)),
				logits: true,
			});
			let at = 0;
			for (const [first, count] of parts) {
				expectSame(rows(result.logits!, at, count), rows(whole, first, count));
				at += count;
			}
			// The token that the GPU chose is the likeliest; of several equals it is the lowest.
			for (let row = 0; row < 15; row++) {
				const logits = rows(result.logits!, row, 1);
				expect(result.tokens[row]).toBe(logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
			}
			cache.close();
		});

		test('on matrix units, too, logits are those of the reference', async () => {
			const other = await native.openModel(file, { backend: 'metal', threads: 1, matrixUnits: true });
			const result = distances(whole, await forward(other, tokens), vocabulary);
			other.close();
			// The hardware decides the order of sums, so the logits are close but not equal.
			expect(mean(result.map(({ kl }) => kl))).toBeLessThan(2e-3);
		});

		test('a copied and then overwritten block continues another text', async () => {
			const cache = model.createCache({ blocks: 8 });
			await forward(model, tokens.subarray(0, 50), { cache, blockTable: Int32Array.of(0, 1), positions: [] });
			cache.copyBlock(1, 5, 11); // positions 32 … 42
			const other = Int32Array.from([...tokens.subarray(0, 43), ...randomTokens(9, vocabulary, 3)]);
			const reused = await forward(model, other, { cache, blockTable: Int32Array.of(0, 5), start: 43 });
			expectSame(reused, rows(await forward(model, other), 43, 9));
			// The first text goes on where it was cut.
			const cut = await forward(model, tokens.subarray(0, 48), { cache, blockTable: Int32Array.of(0, 1), start: 40 });
			expectSame(cut, rows(whole, 40, 8));
			cache.close();
		});
	});

	// A cache of 8 bits may swap experts that nearly tie. All experts are used here, so that this cannot matter.
	const withSinks = { ...shapes['32 experts, Q8_0'], experts: 4 } as const;
	test.each([
		['heads with norms', otherShapes['qwen3, Q5_K, tied']],
		['a window and sinks', withSinks],
		['a length that is no multiple of 32', otherShapes['llama, F32']],
	] as const)('a Q8_0 cache: %s', async (name, shape) => {
		const file = await makeModel(folder, `q8-${name.replaceAll(' ', '-')}`, { ...shape, layers: 2 });
		const model = await open(file);
		const { vocabularySize } = model.info;
		const tokens = randomTokens(141, vocabularySize, 11);
		const whole = await forward(model, tokens, { cacheType: 'q8_0' });
		const reference = await native.openModel(file, { kernels: 'reference', threads: 2 });
		const result = distances(await forward(reference, tokens), whole, vocabularySize);
		reference.close();
		expect(mean(result.map(({ kl }) => kl))).toBeLessThan(5e-4);
		expect(mean(result.map(({ sameTop }) => Number(sameTop)))).toBeGreaterThan(0.97);
		expect(whole).not.toEqual(await forward(model, tokens));

		expectSame(await forward(model, tokens, { cacheType: 'q8_0', chunk: 5 }), whole);
		const cache = model.createCache({ blocks: 6, type: 'q8_0' });
		await forward(model, tokens.subarray(0, 50), { cache, blockTable: Int32Array.of(0, 1), positions: [] });
		cache.copyBlock(1, 5, 11); // positions 32 … 42
		const reused = await forward(model, tokens.subarray(0, 48), { cache, blockTable: Int32Array.of(0, 5), start: 43 });
		expectSame(reused, whole.subarray(43 * vocabularySize, 48 * vocabularySize));
		cache.close();
		model.close();
	});

	test('with a Q8_0 cache the engine computes on Metal; what only the CPU has is refused by name', async () => {
		const file = await makeModel(folder, 'q8-engine', { ...otherShapes['llama, F32'], layers: 2 });
		const notes: string[] = [];
		const options = {
			contextTokens: 64,
			cacheType: 'q8_0',
			onBackendNote: (note: string) => notes.push(note),
		} as const;
		const { engine } = await openModel(file, { ...options, backend: 'metal' });
		expect(engine.info.backend).toBe('metal');
		const result = await engine.generate({ tokens: [3, 1, 4, 1, 5], priority: 'chat', maxTokens: 4 });
		expect(result.tokens).toHaveLength(4);
		await engine.close();
		expect(notes).toEqual([]);

		const model = await open(file);
		expect(() => model.createCache({ blocks: 1, type: 'f32' })).toThrow(
			/Metal kernels need a cache of type f16 or q8_0/,
		);
		model.close();
		const withHead = native.openModel(file, { backend: 'metal', draftHead: 'head.gguf' });
		await expect(withHead).rejects.toThrow('head.gguf: the metal kernels run no draft heads');
		// This head has 24 dimensions, and RoPE turns 16 of them.
		const bytes = await readFile(file);
		const key = 'llama.rope.dimension_count';
		bytes.writeUInt32LE(16, bytes.indexOf(key) + key.length + 4);
		const partial = path.join(folder, 'partial.gguf');
		await writeFile(partial, bytes);
		const other = await native.openModel(partial, { backend: 'metal' });
		expect(other.info).toMatchObject({ backend: 'cpu', backendNote: expect.stringMatching(/heads turn in part only/) });
		other.close();
	});

	describe('the engine', () => {
		let file: string;
		let plain: OpenedModel;

		beforeAll(async () => {
			file = await makeModel(folder, 'engine', { layers: 2 }, 3);
			plain = await openModel(file, { backend: 'metal', contextTokens: 256, speculation: false });
			expect(plain.engine.info.backend).toBe('metal');
		});
		afterAll(() => plain.engine.close());

		test('tokens are those of the reference, as far as its margins decide', async () => {
			const prompt = [...randomTokens(40, plain.engine.info.vocabularySize, 5)];
			const { tokens } = await plain.engine.generate({ tokens: prompt, priority: 'chat', maxTokens: 24 });
			const reference = await native.openModel(file, { kernels: 'reference', threads: 2 });
			const logits = await forward(reference, [...prompt, ...tokens], { positions: range(24, 39) });
			const vocabulary = reference.info.vocabularySize;
			reference.close();
			let decided = 0;
			tokens.forEach((token, i) => {
				const row = logits.subarray(i * vocabulary, (i + 1) * vocabulary);
				const [first, second] = [...row].sort((a, b) => b - a);
				if (first! - second! < 0.05) return;
				decided++;
				expect(token).toBe(row.indexOf(first!));
			});
			expect(decided).toBeGreaterThan(12);
		});

		test.each([0, 1])('batches, prefix reuse and speculation change no token (temperature %i)', async (temperature) => {
			const { vocabularySize } = plain.engine.info;
			const base = [...randomTokens(70, vocabularySize, 9)];
			// The texts repeat themselves, so that drafts are found.
			const prompts = [
				base,
				[...base, ...base.slice(0, 40)],
				[...base.slice(0, 50), ...base.slice(0, 30)],
				base.slice(3, 40),
			];
			const sampling = (i: number): Sampling => ({ ...greedy, temperature, topP: 0.9, seed: i });
			const alone: number[][] = [];
			for (const [i, tokens] of prompts.entries()) {
				const result = await plain.engine.generate({ tokens, priority: 'chat', maxTokens: 16, sampling: sampling(i) });
				plain.engine.forget([...tokens, ...result.tokens]);
				alone.push(result.tokens);
			}
			const crowded = await openModel(file, { backend: 'metal', contextTokens: 256, cacheTokens: 1024 });
			try {
				for (let round = 0; round < 2; round++) {
					const results = await Promise.all(
						prompts.map((tokens, i) =>
							crowded.engine.generate({
								...{ tokens, priority: 'chat', maxTokens: 16, sampling: sampling(i) },
								// Drafts are right and wrong by design, so that verification and truncation are certain to happen.
								drafts: {
									source: { propose: (asked) => asked.map(({ limit }) => alone[i]!.slice(4, 4 + limit)) },
									length: 3,
								},
							}),
						),
					);
					expect(results.map(({ tokens }) => tokens)).toEqual(alone);
					expect(results.some(({ drafts }) => drafts.proposed > 0)).toBe(true);
					if (round > 0) expect(results.every(({ cachedTokens }) => cachedTokens > 0)).toBe(true);
				}
			} finally {
				await crowded.engine.close();
			}
		});

		describe('several tokens a step', () => {
			let model: NativeModel;
			let sequences: Decoding[];
			let plainly: Awaited<ReturnType<Decoder['decode']>>;
			const nothing = () => sequences.map(() => []);

			beforeAll(async () => {
				model = await open(file);
				// The sequences end in the middle of a block; at the end of a block and of a chunk of keys, beyond the window;
				// and at the beginning.
				sequences = [27, 126, 1].map((length, i) => ({
					prompt: randomTokens(length, model.info.vocabularySize, 20 + i),
					sampling: { ...greedy, temperature: i === 0 ? 0 : 1, topP: 0.9, seed: i },
				}));
				const decoder = await Decoder.at(model, sequences, 8);
				plainly = await decoder.decode(7, 1);
				expect(plainly.told).toBe(0);
				decoder.close();
			});
			afterAll(() => model.close());

			test.each([2, 7])('%i rounds have the bits of as many steps, for one sequence and for three', async (rounds) => {
				const together = await Decoder.at(model, sequences, 8);
				const { tokens, probabilities, told } = await together.decode(7, rounds);
				together.close();
				expect({ tokens, probabilities }).toEqual({ tokens: plainly.tokens, probabilities: plainly.probabilities });
				expect(told).toBe(7 - Math.ceil(7 / rounds));
				const alone = await Decoder.at(model, sequences.slice(1, 2), 8);
				expect(await alone.decode(7, rounds)).toMatchObject({
					tokens: [plainly.tokens[1]],
					probabilities: [plainly.probabilities[1]],
				});
				alone.close();
			});

			test('forced tokens are the rows of later rounds', async () => {
				const decoder = await Decoder.at(model, sequences, 8);
				const forced = randomTokens(9, model.info.vocabularySize, 5);
				const { tokens, probabilities } = await decoder.step(nothing(), 4, undefined, forced);
				for (let round = 0; round < 4; round++) {
					const since = sequences.map((_, i) => range(round).map((r) => forced[3 * r + i]!));
					const alone = await decoder.step(since, 1);
					expect(tokens.subarray(3 * round, 3 * round + 3)).toEqual(alone.tokens);
					expect(probabilities?.subarray(3 * round, 3 * round + 3)).toEqual(alone.probabilities);
				}
				decoder.close();
			});

			test('more sequences than the head takes at once', async () => {
				const many = Array.from({ length: 66 }, (_, i) => ({
					prompt: randomTokens(1 + (i % 2), model.info.vocabularySize, i),
					sampling: { ...greedy, temperature: i % 3, seed: i },
				}));
				const decoder = await Decoder.at(model, many, 4);
				expect(await decoder.decode(2, 2)).toMatchObject(
					await decoder.decode(2, 1).then(({ told: _, ...rest }) => rest),
				);
				decoder.close();
			});

			test.each([0, 1, 4])('end once each has met a stop id, in round %i at the latest', async (round) => {
				const stopping = sequences.map((sequence, i) => ({
					...sequence,
					stopIds: [vocabularyEnd(), plainly.tokens[i]!.at(Math.max(0, round - i))!],
				}));
				const ends = stopping.map(({ stopIds }, i) => plainly.tokens[i]!.findIndex((token) => stopIds.includes(token)));
				const decoder = await Decoder.at(model, stopping, 8);
				const { tokens } = await decoder.step(nothing(), 7);
				decoder.close();
				expect(tokens.length).toBe(3 * (1 + Math.max(...ends)));
				expect([...tokens]).toEqual(range(tokens.length).map((i) => plainly.tokens[i % 3]![Math.floor(i / 3)]));
			});

			test('a run that is ended before it begins has its first token, and the next run all of its', async () => {
				const decoder = await Decoder.at(model, sequences, 8);
				const [first, last] = [decoder.step(nothing(), 7), decoder.step(nothing(), 7)];
				model.endRuns();
				const next = decoder.step(nothing(), 7);
				expect((await last).tokens).toEqual(Int32Array.from(plainly.tokens, (tokens) => tokens[0]!));
				expect((await first).tokens[0]).toBe(plainly.tokens[0]![0]);
				expect((await next).tokens.length).toBe(21);
				decoder.close();
			});

			test('a run that is ended in the middle has the tokens until then, and its cache goes on from any of them', async () => {
				const decoder = await Decoder.at(model, sequences.slice(1, 2), 8);
				const expected = plainly.tokens[1]!;
				const lengths: number[] = [];
				for (let after = 1; after < 6; after++) {
					let told = 0;
					const { tokens } = await decoder.step([[]], 7, () => {
						if (++told === after) model.endRuns();
					});
					lengths.push(tokens.length);
					expect(tokens.length).toBeGreaterThanOrEqual(after);
					// The round that was encoded ahead finds out on the GPU that it is not wanted. The fake device runs it as
					// late as possible.
					if (tokens.length < 7) expect(tokens.length).toBe(told);
					expect([...tokens]).toEqual(expected.slice(0, tokens.length));
					// What was computed beyond is overwritten, as after wrong drafts.
					const rest = await decoder.step([expected.slice(0, after)], 7 - after);
					expect([...rest.tokens]).toEqual(expected.slice(after));
				}
				expect(Math.min(...lengths)).toBeLessThan(7);
				decoder.close();
			});

			test('a model closed in the middle of a run ends it with an error', async () => {
				const other = await open(file);
				const decoder = await Decoder.at(other, sequences, 8);
				const run = decoder.step(nothing(), 7, () => other.close());
				await expect(run).rejects.toThrow('the model is being closed');
				decoder.close();
			});

			test('the engine: requests beside each other, cancelled, and at the end of the context', async () => {
				const rounds: number[] = [];
				const { engine } = await openModel(file, {
					...{ backend: 'metal', contextTokens: 132, cacheTokens: 1024 },
					instrument: claimingSpeed(rounds),
				});
				const options = (i: number) => ({
					...{ tokens: sequences[i]!.prompt, sampling: sequences[i]!.sampling },
					priority: 'chat' as const,
				});
				try {
					const result = await engine.generate({ ...options(1), maxTokens: 20 });
					expect(result.stopReason).toBe('context');
					expect(result.tokens).toEqual(plainly.tokens[1]!.slice(0, 6));
					expect(Math.max(...rounds)).toBe(4);
					const controller = new AbortController();
					const [first, cancelled] = await Promise.all([
						engine.generate({ ...options(0), maxTokens: 7 }),
						engine.generate({
							...options(2),
							maxTokens: 100,
							signal: controller.signal,
							onToken: (token) => {
								if (token === plainly.tokens[2]![3]) controller.abort();
								return undefined;
							},
						}),
					]);
					expect(first.tokens).toEqual(plainly.tokens[0]);
					expect(cancelled.tokens).toEqual(plainly.tokens[2]!.slice(0, 4));
					// Both leave the keys and values of their tokens in the cache, and nothing else.
					const again = await engine.generate({
						...options(2),
						tokens: [...sequences[2]!.prompt, ...cancelled.tokens],
						maxTokens: 3,
					});
					expect(again.tokens).toEqual(plainly.tokens[2]!.slice(4));
					expect(again.cachedTokens).toBeGreaterThan(2);
				} finally {
					await engine.close();
				}
			});

			const vocabularyEnd = () => model.info.vocabularySize - 1;
		});

		test('a model closed while it computes ends the step with an error', async () => {
			const model = await open(file);
			const cache = model.createCache({ blocks: 4 });
			const step = forward(model, randomTokens(96, model.info.vocabularySize, 1), { cache });
			model.close();
			cache.close();
			await expect(step).rejects.toThrow(/being closed|closed/);
		});
	});

	test("gpt-oss-20b's shape, counted: launches, bytes and memory within the bars", async () => {
		const file = path.join(folder, '20b.gguf');
		await synthesize(file, { preset: '20b', sparse: true });
		const { steps, kernels, model } = await countSteps(file);
		const step = (name: string) => steps.find((one) => one.name === name)!;
		expect(model).toMatchObject({ layers: 24 });
		expect(model.bytesPerToken / 1e9).toBeCloseTo(2.575, 2);
		expect(step('decode')).toMatchObject({ launchesPerLayer: 8, launches: 2 + 24 * 8 + 3 + 2, commandBuffers: 3 });
		// These are the costs of each of 8 tokens that the GPU goes through by itself. The first token begins with a short
		// command buffer.
		const several = step('decode, 8 in one step');
		expect(several).toMatchObject({ launchesPerLayer: 8, commandBuffers: (3 + 7 * 2) / 8, hostWaits: 1 / 8 });
		expect(several.launches).toBe(1 + 24 * 8 + 3 + several.commandBuffers);
		expect(several.weightBytes).toBe(step('decode').weightBytes);
		for (const { launchesPerLayer } of steps) expect(launchesPerLayer).toBeLessThanOrEqual(10);
		expect(step('decode').ratio).toBeLessThanOrEqual(1.02);
		expect(step('20 streams').minimumBytes / 1e9).toBeCloseTo(10.8, 1);
		expect(step('20 streams').ratio).toBeLessThanOrEqual(1.05);
		// A decode step asks for no byte twice. With 20 streams only the routers are read again, and they stay in the GPU's
		// caches.
		expect(step('decode').askedBytes).toBe(step('decode').weightBytes);
		expect(step('20 streams').askedBytes / step('20 streams').weightBytes).toBeLessThan(1.02);
		for (const { threadgroupBytes } of kernels) expect(threadgroupBytes).toBeLessThanOrEqual(32_768);
		expect(kernels.find(({ kernel }) => kernel === 'attention')!.threadgroupBytes).toBeGreaterThan(0);
	});

	test("a small dense model's shape, counted: the same bars", async () => {
		const file = path.join(folder, '1.5b.gguf');
		// These are the sizes of Qwen2.5-Coder-1.5B.
		const shape: Partial<ModelShape> = {
			...{
				architecture: 'qwen2',
				layers: 28,
				embedding: 1536,
				feedForward: 8960,
				heads: 12,
				headsKv: 2,
				headLength: 128,
			},
			...{ tied: true, attentionType: 'Q6_K', feedForwardType: 'Q4_K' },
		};
		await synthesize(file, { preset: 'tiny', vocabulary: 'o200k', shape, sparse: true });
		const { steps, kernels } = await countSteps(file);
		const step = (name: string) => steps.find((one) => one.name === name)!;
		expect(step('decode')).toMatchObject({ launchesPerLayer: 8, launches: 2 + 28 * 8 + 3 + 3, commandBuffers: 4 });
		expect(step('20 streams').launchesPerLayer).toBe(8);
		expect(step('prefill 512').launchesPerLayer).toBe(7);
		expect(step('decode').ratio).toBeLessThanOrEqual(1.02);
		expect(step('decode').askedBytes).toBe(step('decode').weightBytes);
		expect(kernels.map(({ kernel }) => kernel)).toEqual(
			expect.arrayContaining(['ffn_c1', 'ffn_c8', 'attention_rows_d128']),
		);
	});

	describe('the command line', () => {
		let hearth: string;
		let file: string;
		let expected: string;

		beforeAll(async () => {
			hearth = await bundleCli(folder);
			file = await makeModel(folder, 'cli', { layers: 2 });
			expected = (await run([], 'cpu')).stdout;
		});

		/** Runs `hearth` on the fake Metal device with these settings. */
		function command(fake: string[], args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
			const env = { ...process.env, HEARTH_NATIVE: addon, HEARTH_FAKE_METAL: fake.join(',') };
			const child = spawn(process.execPath, [hearth, ...args], { env });
			const text = { stdout: '', stderr: '' };
			for (const stream of ['stdout', 'stderr'] as const) {
				child[stream].setEncoding('utf8').on('data', (chunk: string) => {
					text[stream] += chunk;
				});
			}
			child.stdin.end();
			return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...text })));
		}

		/** Generates on a backend. */
		function run(fake: string[], backend: string) {
			const options = ['--prompt', 'function add(', '--max-tokens', '12', '--no-stop', '--backend', backend];
			return command(fake, ['generate', file, ...options]);
		}

		test('computes on Metal, without a word about it', async () => {
			expect(await run([], 'metal')).toMatchObject({ code: 0, stderr: '' });
			expect(await run([], 'auto')).toMatchObject({ code: 0, stderr: '' });
		});

		// The tokens stay the same even with fewer threads a threadgroup than any chip has today.
		test('the same tokens whatever the size of threadgroups and buffers, and the order of lanes', async () => {
			const { stdout } = await run([], 'metal');
			for (const fake of [
				['max-threads=256'],
				['max-buffer=262144'],
				['order=random'],
				['residency-sets=0', 'math-mode=0'],
			]) {
				expect(await run(fake, 'metal')).toEqual({ code: 0, stdout, stderr: '' });
			}
		});

		test.each([
			['no GPU', ['device=0'], /no Metal device/],
			['the GPU of another maker', ['family=0'], /none of Apple silicon's/],
			[
				'a kernel that does not compile',
				['compile-error=expected expression'],
				/Metal compiler rejects .*expected expression/,
			],
			['a GPU too small for a kernel', ['max-threads=128'], /has no room for the kernel/],
			['buffers too short for a tensor', ['max-buffer=16384'], /too short|no memory/],
		] as const)('%s: the CPU computes and says why', async (_name, fake, why) => {
			const { code, stdout, stderr } = await run([...fake], 'metal');
			expect({ code, stdout }).toEqual({ code: 0, stdout: expected });
			expect(stderr).toMatch(/^hearth: the CPU computes, not Metal: /);
			expect(stderr).toMatch(why);
		});

		test.each([0, 7])('command buffer %i fails: the CPU goes on and says why', async (number) => {
			const { code, stdout, stderr } = await run([`failing-command-buffer=${number}`], 'metal');
			expect(code).toBe(0);
			expect(stdout.length).toBeGreaterThan(0);
			expect(stderr).toMatch(/^hearth: the CPU computes from here on: Metal failed while it worked: the GPU failed/);
		});

		test("the benchmark holds speeds against the GPU's own ceilings", async () => {
			const args = ['bench', file, '--backend', 'metal', '--tests', 'tg', '--generate', '3', '--repeat', '1', '--json'];
			const { code, stdout } = await command(['gpu-seconds=0.25'], args);
			expect(code).toBe(0);
			const report: BenchmarkReport = JSON.parse(stdout);
			// The fake device reports a quarter of a second for all of the file as the GPU sees it, and for 64 turns of 16 on
			// 64 x 256 threads.
			const { readBytesPerSecond, multiplyAddsPerSecond, arithmetic } = report.machine;
			expect(readBytesPerSecond! / 4).toBeGreaterThanOrEqual(report.model.fileBytes);
			expect(readBytesPerSecond! / 4).toBeLessThan(report.model.fileBytes + 65536);
			expect(multiplyAddsPerSecond! / 4).toBeCloseTo(64 * 16 * 64 * 256, 0);
			expect(arithmetic).toBe('float');
			const [{ tokensPerSecond, bytesPerToken, bandwidthShare, computeShare }] = report.results as [BenchmarkResult];
			expect(bandwidthShare).toBeCloseTo((tokensPerSecond!.mean * bytesPerToken!) / readBytesPerSecond!, 6);
			expect(computeShare).toBeGreaterThan(0);
			expect(renderReport(report)).toMatch(/^ceilings of the GPU: reads .*, 0 G float multiply-adds\/s$/m);
			// If the CPU took over in the middle, figures and ceilings would be of two kinds. The failure here comes far from
			// the ceilings, which are measured before and after.
			const longer = args.map((arg) => (arg === '3' ? '40' : arg));
			const failing = await command(['gpu-seconds=0.25', 'failing-command-buffer=50'], longer);
			expect(failing.code).toBe(1);
			expect(failing.stderr).toMatch(/two kinds: the CPU computes from here on: .*the GPU failed/);
		});

		// seeded/wrong.metal has these kernels: they are valid and have no race, but their results are wrong.
		describe('the self-test', () => {
			const selftest = (fake: string[], ...options: string[]) =>
				command(fake, ['selftest', '--backend', 'metal', '--quick', ...options]);
			/** The lines of the report that say what is wrong. */
			const wrongLines = (report: string) => /\n## Wrong\n\n((?:- .*\n)+)/.exec(report)?.[1]?.trimEnd().split('\n');

			test('names a wrong kernel and turns Metal off; --turn-on turns it on', async () => {
				const { code, stdout, stderr } = await selftest(['wrong=norm']);
				expect(code).toBe(1);
				expect(stderr).toMatch(/^hearth selftest: \d+ checks failed/);
				expect(stdout).toMatch(/\d+ of \d+ checks FAILED \(norm, .*Metal is turned off/);
				// Of all kernels the report names only this one, with only the case that is wrong. It also names models that
				// come out wrong because of it.
				const lines = wrongLines(stdout)!;
				const inModels = lines.filter((line) => line.startsWith('- metal, '));
				expect(lines.filter((line) => !inModels.includes(line))).toEqual([
					expect.stringMatching(
						/^- metal .*, norm, 3 rows, gathered: deviates from the reference by \S+, more than \S+$/,
					),
				]);
				expect(inModels.join('\n')).toMatch(/model.*: its logits diverge/);
				expect(stdout).toMatch(/\| norm +\| +3 rows, gathered \| WRONG \|/);

				// From here on the CPU computes and says why.
				const off = await run([], 'auto');
				expect(off).toMatchObject({ code: 0, stdout: expected });
				expect(off.stderr).toMatch(/^hearth: the CPU computes, not Metal: the self-test of [\d-]+ found .*\(norm, /);
				expect(await run([], 'metal')).toMatchObject({ code: 0, stderr: '' });

				expect((await command([], ['selftest', '--turn-on'])).stdout).toMatch(/forgotten; auto uses Metal on/);
				expect(await run([], 'auto')).toMatchObject({ code: 0, stderr: '' });
			});

			test('that passes again turns Metal on, with every kernel tested', async () => {
				const saved = path.join(folder, 'selftest.json');
				const { code } = await selftest(['wrong=expert_sum'], '--save', saved);
				expect(code).toBe(1);
				const wrong: SelfTestReport = JSON.parse(readFileSync(saved, 'utf8'));
				expect(wrong.gpus).toMatchObject([
					{ id: 'metal', state: 'off', reason: expect.stringMatching(/\(expert_sum, /) },
				]);
				const kernels = wrong.kernels.filter(({ ok }) => !ok).map(({ kernel }) => kernel);
				expect(new Set(kernels)).toEqual(new Set(['expert_sum']));
				const notes: string[] = [];
				const off = await openModel(file, { contextTokens: 64, onBackendNote: (note) => notes.push(note) });
				expect(off.engine.info.backend).toBe('cpu');
				expect(notes).toEqual([expect.stringMatching(/self-test .* found .*expert_sum/)]);
				await off.engine.close();

				const report = await runSelfTest({ backend: 'metal', quick: true, native });
				expect(failures(report)).toEqual([]);
				expect(report.gpus.map(({ state }) => state)).toEqual(['on-again']);
				const on = await openModel(file, { contextTokens: 64 });
				expect(on.engine.info.backend).toBe('metal');
				await on.engine.close();
				const family = (kernel: string) => kernel.replace(/_[cd]\d+$/, '');
				const tested = new Set(report.kernels.flatMap(({ kernel }) => kernel.split(', ')).map(family));
				const shipped = metalSources().flatMap(({ text }) => [...text.matchAll(/\bkernel void (\w+)/g)]);
				// latch_stop only sets the word that ends a step. It computes nothing that could be compared.
				expect(tested).toEqual(new Set(shipped.map(([, name]) => name!).filter((name) => name !== 'latch_stop')));
			});

			test('a GPU that fails is named, too, under a kernel or a model', async () => {
				// Each kernel is a command buffer here. The models come after the kernels.
				const { code, stdout } = await selftest(['failing-command-buffer=5'], '--json');
				expect(code).toBe(1);
				const { kernels, models, gpus } = JSON.parse(stdout) as SelfTestReport;
				expect(kernels.filter(({ ok }) => !ok)).toEqual([kernels[5]]);
				expect(kernels[5]!.problem).toMatch(/^the GPU failed: /);
				expect(models.every(({ ok }) => ok)).toBe(true);
				expect(gpus).toMatchObject([{ state: 'off', reason: expect.stringContaining(kernels[5]!.kernel) }]);

				const under = await selftest([`failing-command-buffer=${kernels.length + 5}`]);
				expect(under.code).toBe(1);
				expect(wrongLines(under.stdout)).toEqual([expect.stringMatching(/^- metal, .*: the GPU failed: /)]);
				expect(under.stdout).toContain('Metal is turned off');
			});
		});
	});
});
