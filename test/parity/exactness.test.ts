// One sequence has one result. The logits are equal bit for bit whatever the instruction set, the number of threads,
// the rows that share a step, the place in the cache and the part that was cached before (native/cpu/kernels.h,
// "Contract of determinism"). Schedulers, prefix caches and speculation rely on this.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ModelShape } from '../../engine/synth/architecture';
import { loadNative, type NativeModel } from '../../native/index';
import { forward, randomTokens } from '../support/forward';
import { shapes as gptOssShapes, makeModel, otherShapes, temporaryFolder } from '../support/models';
import { distances, mean } from './distance';

const folder = temporaryFolder();
const native = loadNative();
const kernels = native.cpuInfo().kernels;
/** One model of each other architecture. Their tensor types differ in how the kernels read them. */
const shapes: Record<string, Partial<ModelShape>> = {
	...gptOssShapes,
	...Object.fromEntries(
		(
			['llama, Q6_K and Q4_K', 'qwen2 with YaRN, Q5_0, tied', 'qwen3, Q5_K, tied', 'qwen3moe, Q4_1 and Q4_K'] as const
		).map((name) => [name, otherShapes[name]]),
	),
};

const bits = (logits: Float32Array) => Buffer.from(logits.buffer, logits.byteOffset, logits.byteLength);
/** Checks that two arrays are equal bit for bit. A failure says where they differ and by how much. */
function expectSame(actual: Float32Array, expected: Float32Array): void {
	if (bits(actual).equals(bits(expected))) return;
	const at = actual.findIndex((value, i) => !Object.is(value, expected[i]));
	expect.fail(
		`${actual.length} and ${expected.length} logits differ from number ${at}: ${actual[at]}, not ${expected[at]}`,
	);
}

const range = (count: number, first = 0) => Array.from({ length: count }, (_, i) => first + i);

describe.each(Object.entries(shapes))('%s', (name, shape) => {
	let file: string;
	let model: NativeModel;
	let tokens: Int32Array;
	let expected: Float32Array;
	const length = 150; // no multiple of the tiles of 16 and 32 rows; some windows end inside

	beforeAll(async () => {
		file = await makeModel(folder, name.replaceAll(/\W+/g, '-'), shape);
		model = await native.openModel(file, { threads: 2 });
		tokens = randomTokens(length, model.info.vocabularySize, 7);
		expected = await forward(model, tokens);
	});
	afterAll(() => model.close());

	test('the fast kernels compute what the reference does', async () => {
		const reference = await native.openModel(file, { kernels: 'reference', threads: 2 });
		const vocabulary = model.info.vocabularySize;
		const result = distances(await forward(reference, tokens), expected, vocabulary);
		reference.close();
		// In parity.test.ts, rounding activations to int8 makes 0.0004 (without router ties) to 0.04 nats. A uniform guess
		// would be off by more than 1.
		expect(mean(result.map((d) => d.kl))).toBeLessThan(0.1);
		expect(mean(result.map((d) => Number(d.sameTop)))).toBeGreaterThan(0.75);
	});

	test.each(kernels.filter((set) => set !== 'reference'))('kernels: %s', async (set) => {
		const other = await native.openModel(file, { kernels: set, threads: 2 });
		expect(other.info.kernels).toBe(set);
		expectSame(await forward(other, tokens), expected);
		other.close();
	});

	test.each(kernels.filter((set) => set !== 'reference'))(
		'moved to the faster layout, part by part: %s',
		async (set) => {
			const other = await native.openModel(file, { kernels: set, threads: 2 });
			if (name in gptOssShapes) expect(other.repackBytes.length).toBe(/^a/.test(set) ? other.info.layers + 1 : 0);
			for (let part = 0; part <= other.info.layers; part++) {
				await other.repack(part);
				expectSame(await forward(other, tokens, { chunk: 40 }), expected);
			}
			await other.repack(0);
			expectSame(await forward(other, tokens), expected);
			other.close();
		},
	);

	test.each([1, 3, 4])('%i threads', async (threads) => {
		const other = await native.openModel(file, { threads });
		expectSame(await forward(other, tokens), expected);
		expectSame(await forward(other, tokens, { chunk: 1 }), expected);
		other.close();
	});

	test.each([1, 7, 33, 128])('prefill in chunks of %i', async (chunk) => {
		expectSame(await forward(model, tokens, { chunk }), expected);
	});

	test('a permuted block table, in a cache that holds other tokens', async () => {
		const cache = model.createCache({ blocks: 11 });
		const blockTable = Int32Array.from([9, 2, 7, 0, 4]);
		await forward(model, randomTokens(11 * 32, model.info.vocabularySize, 8), { cache, positions: [] });
		expectSame(await forward(model, tokens, { cache, blockTable, chunk: 60 }), expected);
		cache.close();
	});

	test('outputs of some rows are those of all', async () => {
		const vocabulary = model.info.vocabularySize;
		const positions = [0, 5, 31, 32, 33, 100, 149];
		const some = await forward(model, tokens, { positions });
		for (const [i, position] of positions.entries())
			expectSame(
				some.subarray(i * vocabulary, (i + 1) * vocabulary),
				expected.subarray(position * vocabulary, (position + 1) * vocabulary),
			);
	});

	test.each(['f16', 'q8_0'] as const)('several sequences in one ragged batch, %s cache', async (cacheType) => {
		const vocabulary = model.info.vocabularySize;
		const sequences = [
			{ tokens: randomTokens(90, vocabulary, 21), cached: 60 },
			{ tokens: randomTokens(1, vocabulary, 22), cached: 0 },
			{ tokens, cached: 149 },
			{ tokens: randomTokens(40, vocabulary, 23), cached: 0 },
			{ tokens: randomTokens(64, vocabulary, 24), cached: 32 },
		];
		const alone = await Promise.all(sequences.map((sequence) => forward(model, sequence.tokens, { cacheType })));
		const cache = model.createCache({ blocks: 32, type: cacheType });
		let free = 32;
		const blockTables = sequences.map((sequence) =>
			Int32Array.from({ length: Math.ceil(sequence.tokens.length / 32) }, () => --free),
		);
		for (const [i, sequence] of sequences.entries())
			await forward(model, sequence.tokens.subarray(0, sequence.cached), {
				cache,
				blockTable: blockTables[i]!,
				positions: [],
			});
		const rows = sequences.flatMap((sequence, i) =>
			range(sequence.tokens.length - sequence.cached, sequence.cached).map((position) => ({ i, position })),
		);
		const { logits } = await model.step(cache, {
			tokens: Int32Array.from(rows, ({ i, position }) => sequences[i]!.tokens[position]!),
			positions: Int32Array.from(rows, ({ position }) => position),
			sequences: Int32Array.from(rows, ({ i }) => i),
			blockTables,
			outputs: Int32Array.from(range(rows.length)),
			logits: true,
		});
		cache.close();
		const wanted = new Float32Array(rows.length * vocabulary);
		for (const [row, { i, position }] of rows.entries())
			wanted.set(alone[i]!.subarray(position * vocabulary, (position + 1) * vocabulary), row * vocabulary);
		expectSame(logits!, wanted);
	});

	test('a cached prefix, its last block copied for each continuation', async () => {
		const vocabulary = model.info.vocabularySize;
		const prefix = 77; // this ends inside block 2
		const cache = model.createCache({ blocks: 16 });
		await forward(model, tokens.subarray(0, prefix), { cache, positions: [] });
		const continuations = [
			tokens,
			Int32Array.from([...tokens.subarray(0, prefix), ...randomTokens(50, vocabulary, 31)]),
		];
		for (const [i, continuation] of continuations.entries()) {
			const own = 4 + 4 * i;
			cache.copyBlock(2, own, prefix - 64);
			const blockTable = Int32Array.from([0, 1, own, own + 1, own + 2]);
			const rest = await forward(model, continuation, { cache, blockTable, start: prefix });
			expectSame(rest, (await forward(model, continuation)).subarray(prefix * vocabulary));
		}
		// The shared blocks have not changed.
		expectSame(
			await forward(model, tokens, { cache, blockTable: Int32Array.from([0, 1, 2, 13, 14]), start: prefix }),
			expected.subarray(prefix * vocabulary),
		);
		cache.close();
	});

	describe('a Q8_0 cache', () => {
		let quantised: Float32Array;

		beforeAll(async () => {
			quantised = await forward(model, tokens, { cacheType: 'q8_0' });
		});

		test('is close to an F16 one', () => {
			const vocabulary = model.info.vocabularySize;
			const kl = distances(expected, quantised, vocabulary).map((d) => d.kl);
			expect(bits(quantised).equals(bits(expected))).toBe(false);
			// Three models of each shape have medians of 0.0005 to 0.022 and means of 0.0006 to 0.073; router ties make the
			// large ones. Rounding activations takes the logits of the F16 cache as far from the reference's (0.0004 to
			// 0.044).
			expect(kl.toSorted((a, b) => a - b)[length / 2]).toBeLessThan(0.02);
			expect(mean(kl)).toBeLessThan(0.1);
		});

		test.each(kernels.filter((set) => set !== 'reference'))('kernels: %s', async (set) => {
			const other = await native.openModel(file, { kernels: set, threads: 3 });
			expectSame(await forward(other, tokens, { cacheType: 'q8_0' }), quantised);
			expectSame(await forward(other, tokens, { cacheType: 'q8_0', chunk: 1 }), quantised);
			other.close();
		});

		test('a cached prefix whose last block is copied into one that holds other tokens', async () => {
			const vocabulary = model.info.vocabularySize;
			const prefix = 77;
			const cache = model.createCache({ blocks: 11, type: 'q8_0' });
			await forward(model, randomTokens(11 * 32, vocabulary, 8), { cache, positions: [] });
			const shared = Int32Array.from([3, 1, 2]);
			await forward(model, tokens.subarray(0, prefix), { cache, blockTable: shared, positions: [] });
			cache.copyBlock(2, 9, prefix - 64);
			const blockTable = Int32Array.from([3, 1, 9, 5, 6]);
			for (const chunk of [31, 512])
				expectSame(
					await forward(model, tokens, { cache, blockTable, start: prefix, chunk }),
					quantised.subarray(prefix * vocabulary),
				);
			cache.close();
		});

		test('takes a byte an element, and two more a scale', () => {
			const scales = 2 * Math.ceil(model.info.headLength / 32);
			const f16 = 2 * model.info.headLength;
			expect(model.cacheBlockBytes('q8_0') / model.cacheBlockBytes('f16')).toBe((f16 / 2 + scales) / f16);
		});
	});

	test('greedy decoding after prefill continues as recomputed from the start', async () => {
		const cache = model.createCache({ blocks: 8 });
		await forward(model, tokens, { cache, positions: [] });
		const sequence = [...tokens];
		for (let step = 0; step < 20; step++) {
			const last = sequence.length - 1;
			const result = await model.step(cache, {
				tokens: Int32Array.of(sequence[last]!),
				positions: Int32Array.of(last),
				sequences: Int32Array.of(0),
				blockTables: [Int32Array.from(range(8))],
				outputs: Int32Array.of(0),
				logits: true,
			});
			const again = await forward(model, sequence, { positions: [last] });
			expectSame(result.logits!, again);
			expect(result.tokens[0]).toBe(again.indexOf(again.reduce((a, b) => Math.max(a, b))));
			sequence.push(result.tokens[0]!);
		}
		cache.close();
	});
});

// Attention is cut into chunks of 1,024 keys, and the chunks of one row may go to several threads.
test('contexts beyond one chunk of keys', async () => {
	const file = await makeModel(folder, 'long', { ...gptOssShapes['wide window, Q8_0'], experts: 4, expertsUsed: 2 });
	const one = await native.openModel(file, { threads: 1 });
	const vocabulary = one.info.vocabularySize;
	const tokens = randomTokens(2600, vocabulary, 9);
	const positions = [1022, 1023, 1024, 1025, 2047, 2048, 2100, 2598, 2599];
	const expected = await forward(one, tokens, { positions });
	one.close();
	for (const threads of [2, 3]) {
		const model = await native.openModel(file, { threads });
		expectSame(await forward(model, tokens, { positions, chunk: 311 }), expected);
		const cache = model.createCache({ blocks: 82 });
		await forward(model, tokens.subarray(0, 2590), { cache, positions: [] });
		expectSame(
			await forward(model, tokens, { cache, start: 2590, chunk: 1, positions: [2598, 2599] }),
			expected.subarray(-2 * vocabulary),
		);
		cache.close();
		model.close();
	}
});
