// Steps that ask for something impossible. They are refused with a reason before the cache is touched, and the model
// goes on working.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadNative, type NativeCache, type NativeModel, type StepBatch } from '../../native/index';
import { forward, randomTokens } from '../support/forward';
import { makeModel, temporaryFolder } from '../support/models';

const folder = temporaryFolder();
const native = loadNative();
let file: string;
let model: NativeModel;
let cache: NativeCache;

beforeAll(async () => {
	file = await makeModel(folder, 'small', { contextLength: 100 });
	model = await native.openModel(file, { threads: 2 });
	cache = model.createCache({ blocks: 4 });
});
afterAll(() => {
	cache.close();
	model.close();
});

const ints = (...values: number[]) => Int32Array.from(values);
const good = (): StepBatch => ({
	tokens: ints(1, 2, 3),
	positions: ints(0, 1, 0),
	sequences: ints(0, 0, 1),
	blockTables: [ints(0), ints(1)],
	outputs: ints(1, 2),
});
/** Runs a changed batch, which may also break the types, as plain JavaScript could. */
const step = async (change: Record<string, unknown>) => model.step(cache, { ...good(), ...change } as StepBatch);

/** `single` has a row for each of two sequences. In `late`, the first row is near the end of the context. */
const single = { tokens: ints(1, 2), positions: ints(0, 0), sequences: ints(0, 1), outputs: ints(0, 1) };
const late = { ...single, positions: ints(98, 0), blockTables: [ints(0, 2, 3, 3), ints(1)] };

const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 1 };

test.each<[string, Record<string, unknown>, RegExp]>([
	['no rows', { tokens: ints(), positions: ints(), sequences: ints(), outputs: ints() }, /at least one row/],
	['a negative token', { tokens: ints(1, -1, 3) }, /token id -1 is outside the vocabulary/],
	['a token beyond the vocabulary', { tokens: ints(1, 2, 1e6) }, /token id 1000000 is outside the vocabulary/],
	['a negative position', { positions: ints(-1, 0, 0) }, /position -1 is outside the model's context of 100/],
	[
		'a position beyond the context',
		{ positions: ints(99, 100, 0), blockTables: [ints(0, 1, 2, 3), ints(1)] },
		/position 100/,
	],
	['a position without a block', { positions: ints(31, 32, 0) }, /position 32 has no cache block/],
	['positions that repeat', { positions: ints(1, 1, 0) }, /must ascend by 1/],
	['positions with a gap', { positions: ints(0, 2, 0) }, /must ascend by 1/],
	['fewer positions than tokens', { positions: ints(0, 1) }, /same length/],
	['a sequence without a table', { sequences: ints(0, 0, 2) }, /sequence 2, but there are 2 block tables/],
	['a negative sequence', { sequences: ints(0, 0, -1) }, /sequence -1/],
	['rows of a sequence apart', { sequences: ints(0, 1, 0), positions: ints(0, 0, 1) }, /adjacent/],
	['a block beyond the cache', { blockTables: [ints(4), ints(1)] }, /cache block 4 is outside the cache of 4/],
	['a negative block', { blockTables: [ints(0), ints(-1)] }, /cache block -1/],
	['a bad block that is not reached yet', { blockTables: [ints(0, 77), ints(1)] }, /cache block 77/],
	['one block for two sequences', { blockTables: [ints(0), ints(0)] }, /cache block 0 would be written twice/],
	[
		'one block twice in a sequence',
		{ positions: ints(31, 32, 0), blockTables: [ints(2, 2), ints(1)] },
		/written twice/,
	],
	['an output beyond the rows', { outputs: ints(1, 3) }, /output rows/],
	['a negative output', { outputs: ints(-1) }, /output rows/],
	['outputs out of order', { outputs: ints(2, 1) }, /output rows must be ascending/],
	['the same output twice', { outputs: ints(1, 1) }, /output rows must be ascending/],
	['a plain array of tokens', { tokens: [1, 2, 3] }, /batch\.tokens must be an Int32Array/],
	['unsigned positions', { positions: Uint32Array.of(0, 1, 0) }, /batch\.positions must be an Int32Array/],
	['floats as sequences', { sequences: Float32Array.of(0, 0, 1) }, /batch\.sequences must be an Int32Array/],
	['no outputs', { outputs: undefined }, /batch\.outputs must be an Int32Array/],
	['no tables', { blockTables: undefined }, /batch\.blockTables must be an array/],
	['a table that is no Int32Array', { blockTables: [ints(0), [1]] }, /blockTables\[i\] must be an Int32Array/],
	['sampling for too few outputs', { sampling: [greedy] }, /one entry per output/],
	['sampling that is no object', { sampling: [greedy, 1] }, /sampling\[i\] must be an object/],
	['a temperature of NaN', { sampling: [greedy, { ...greedy, temperature: Number.NaN }] }, /sampling\.temperature/],
	['a negative top-k', { sampling: [{ ...greedy, topK: -1 }, greedy] }, /sampling\.topK/],
	['a top-p above 1', { sampling: [{ ...greedy, topP: 1.5 }, greedy] }, /sampling\.topP/],
	['a seed beyond 2^53', { sampling: [{ ...greedy, seed: 2 ** 53 }, greedy] }, /sampling\.seed/],
	['no rounds', { rounds: 0 }, /batch\.rounds must be a whole number from 1 to 64/],
	['half a round', { rounds: 1.5 }, /batch\.rounds/],
	['too many rounds', { rounds: 65 }, /batch\.rounds/],
	['rounds behind several rows', { rounds: 2 }, /a sequence of a step of several rounds has one row, not 2/],
	['rounds behind a row without output', { ...single, outputs: ints(1), rounds: 2 }, /every row .* must be an output/],
	['rounds with logits', { ...single, logits: true, rounds: 2 }, /several rounds gives no logits/],
	['rounds beyond the context', { ...late, rounds: 3 }, /position 100 is outside the model's context of 100/],
	['rounds without a block', { ...single, positions: ints(30, 0), rounds: 3 }, /position 32 has no cache block/],
	[
		'rounds into a block of another sequence',
		{ ...single, positions: ints(30, 0), blockTables: [ints(0, 1), ints(1)], rounds: 3 },
		/cache block 1 would be written twice/,
	],
	['too few forced tokens', { ...single, rounds: 3, forced: ints(1, 2, 3) }, /a forced token for each row/],
	['a forced token beyond the vocabulary', { ...single, rounds: 2, forced: ints(1, 1e6) }, /token id 1000000/],
	['stop ids for too few outputs', { stopIds: [ints(1)] }, /one list of stop ids per output/],
	['stop ids that are no Int32Array', { stopIds: [[1], [2]] }, /stopIds\[i\] must be an Int32Array/],
])('%s', async (_name, change, message) => {
	await expect(step(change)).rejects.toThrow(message);
	const { tokens } = await step({});
	expect(tokens).toHaveLength(2);
});

test('a refused step leaves the cache as it was', async () => {
	const tokens = randomTokens(60, model.info.vocabularySize, 1);
	const expected = await forward(model, tokens, { positions: [59] });
	await forward(model, tokens.subarray(0, 59), { cache, positions: [] });
	const blockTable = ints(0, 1);
	await expect(
		model.step(cache, {
			tokens: ints(5, 6, 7),
			positions: ints(0, 1, 2),
			sequences: ints(0, 0, 0),
			blockTables: [blockTable],
			outputs: ints(0, 5),
		}),
	).rejects.toThrow(/output rows/);
	expect(await forward(model, tokens, { cache, start: 59 })).toEqual(expected);
});

test('what is told of the rounds must be a function', async () => {
	await expect(async () => model.step(cache, good(), 1 as unknown as () => void)).rejects.toThrow(/must be a function/);
});

test('what is no cache, and a cache of another model', async () => {
	for (const none of [undefined, null, 1, {}, [], model])
		await expect(async () => model.step(none as unknown as NativeCache, good())).rejects.toThrow(
			/takes a cache and a batch/,
		);
	await expect(async () => model.step(cache, undefined as unknown as StepBatch)).rejects.toThrow(
		/takes a cache and a batch/,
	);
	const other = await native.openModel(await makeModel(folder, 'other', { layers: 1, headLength: 16 }), { threads: 1 });
	const small = other.createCache({ blocks: 4 });
	await expect(async () => model.step(small, good())).rejects.toThrow('the cache belongs to another model');
	other.close();
});

test('a cache of the wrong type for the kernels', async () => {
	const f32 = model.createCache({ blocks: 4, type: 'f32' });
	await expect(model.step(f32, good())).rejects.toThrow(/need a cache of type f16/);
	f32.close();
});

test.each([
	[{ blocks: 0 }, /blocks must be a whole number from 1/],
	[{ blocks: 1.5 }, /blocks must be a whole number/],
	[{ blocks: Number.NaN }, /blocks must be a whole number/],
	[{}, /blocks must be a whole number/],
	[{ blocks: 1, type: 'q4' }, /type must be f16, q8_0 or f32/],
	[{ blocks: 2 ** 24 }, /no memory for a KV cache of \d+ MB; choose a smaller context/],
])('createCache(%o)', (options, message) => {
	const big = 'blocks' in options && options.blocks === 2 ** 24;
	// 2^24 blocks of this model take 400 GB. When the system promises even that, there is nothing to refuse.
	try {
		model.createCache(options as { blocks: number }).close();
		if (!big) expect.fail('accepted');
	} catch (error) {
		expect(String(error)).toMatch(message);
	}
});

test.each([
	[[-1, 0, 1], /the block to copy from/],
	[[0, 4, 1], /the block to copy to/],
	[[0, 1, 0], /the number of tokens to copy/],
	[[0, 1, 33], /the number of tokens to copy/],
	[[0, 1.5, 1], /the block to copy to/],
	[['0', 1, 1], /the block to copy from/],
])('copyBlock(%o)', (args, message) => {
	expect(() => cache.copyBlock(...(args as [number, number, number]))).toThrow(message);
});

test.each([-1, 5, 1.5, Number.NaN, '0', undefined])('repack(%s)', async (part) => {
	await expect(async () => model.repack(part as number)).rejects.toThrow('the part must be a whole number from 0 to 4');
});

test.each([
	[{ threads: -1 }, /threads must be/],
	[{ threads: 'many' }, /threads must be/],
	[{ threads: 1e9 }, /threads must be/],
	[{ rope: 'linear' }, /rope must be reference or llamacpp/],
	[{ kernels: 'mmx' }, /the kernels "mmx" are unknown or not for this CPU; it has: /],
])('openModel(file, %o)', async (options, message) => {
	await expect(async () => native.openModel(file, options as object)).rejects.toThrow(message);
});

test('a closed cache, a closed model', async () => {
	const other = await native.openModel(file, { threads: 1 });
	const shut = other.createCache({ blocks: 4 });
	const kept = other.createCache({ blocks: 4 });
	const running = other.step(shut, good());
	shut.close();
	shut.close();
	expect((await running).tokens).toHaveLength(2);
	await expect(async () => other.step(shut, good())).rejects.toThrow('the cache is closed');
	expect(() => shut.copyBlock(0, 1, 1)).toThrow('the cache is closed');
	expect(() => shut.bytes).toThrow('the cache is closed');

	const pending = other.step(kept, good());
	other.close();
	other.close();
	await pending.catch((error: Error) => expect(error.message).toBe('the model is being closed'));
	await expect(async () => other.step(kept, good())).rejects.toThrow('the model is closed');
	expect(() => other.info).toThrow('the model is closed');
	expect(() => other.createCache({ blocks: 1 })).toThrow('the model is closed');
	expect(() => kept.copyBlock(0, 1, 1)).toThrow('the model is closed');
	kept.close();
});

test('what is thrown where rounds are told rejects the step, and the next one works', async () => {
	const rounds = { ...good(), ...single, blockTables: [ints(0), ints(1)], rounds: 3 };
	const told: number[] = [];
	const failing = model.step(cache, rounds, (tokens) => {
		told.push(tokens.length);
		throw new RangeError('the listener failed');
	});
	await expect(failing).rejects.toThrow(new RangeError('the listener failed'));
	expect(told).toEqual([2, 2]);
	await expect(model.step(cache, good())).resolves.toMatchObject({ tokens: expect.any(Int32Array) });
});
