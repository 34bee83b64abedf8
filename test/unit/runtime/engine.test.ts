import { describe, expect, test } from 'vitest';
import { Engine, type EngineOptions, type GenerateOptions } from '../../../engine/runtime/engine';
import type { StepBatch } from '../../../native/index';
import { expectedTokens, FakeModel, type FakeModelOptions, seededRandom } from '../support/fake-native';

const range = (start: number, end: number) => Array.from({ length: end - start }, (_, i) => start + i);

function setUp(modelOptions: FakeModelOptions = {}, engineOptions: EngineOptions = {}) {
	const model = new FakeModel(modelOptions);
	const engine = new Engine(model, { contextTokens: 256, cacheTokens: 1024, ...engineOptions });
	const generate = (tokens: number[], options: Partial<GenerateOptions> = {}) =>
		engine.generate({ tokens, priority: 'chat', maxTokens: 8, ...options });
	return { model, engine, generate };
}

describe('Engine', () => {
	test('generates what the model says, token by token', async () => {
		const { generate } = setUp();
		const seen: number[] = [];
		const result = await generate(range(0, 10), { onToken: (token) => void seen.push(token) });
		expect(result.tokens).toEqual(expectedTokens(range(0, 10), 8));
		expect(seen).toEqual(result.tokens);
		expect(result).toMatchObject({ stopReason: 'length', promptTokens: 10, cachedTokens: 0 });
		expect(result.timings.milliseconds).toBeGreaterThanOrEqual(result.timings.firstTokenMilliseconds);
	});

	test('a second turn prefills only what is new, with the same tokens out', async () => {
		const { model, generate } = setUp();
		const prompt = range(0, 50);
		const first = await generate(prompt);
		const rows = model.rowsRun;
		const turn = [...prompt, ...first.tokens, 7, 8, 9];
		const second = await generate(turn);
		expect(second.cachedTokens).toBe(57); // the last generated token was never computed
		expect(model.rowsRun - rows).toBe(turn.length - 57 + 7);
		expect(second.tokens).toEqual(expectedTokens(turn, 8));
	});

	test('stops at a stop id without giving it out', async () => {
		const expected = expectedTokens(range(0, 5), 4);
		const { generate } = setUp();
		const result = await generate(range(0, 5), { stopIds: new Set([expected[3]!]) });
		expect(result).toMatchObject({ tokens: expected.slice(0, 3), stopReason: 'stop', stopToken: expected[3] });
	});

	test('stops where the caller says so', async () => {
		const { generate } = setUp();
		let count = 0;
		const result = await generate(range(0, 5), { onToken: () => (++count === 3 ? 'stop' : undefined) });
		expect(result).toMatchObject({ tokens: expectedTokens(range(0, 5), 3), stopReason: 'stop' });
	});

	test('a caller may choose the first tokens from the logits', async () => {
		const { model, generate } = setUp();
		const forced = [11, 12];
		const result = await generate(range(0, 5), {
			maxTokens: 5,
			choose: (logits) => {
				expect(logits.length).toBe(1000);
				return forced.shift();
			},
		});
		expect(result.tokens).toEqual([11, 12, ...expectedTokens([...range(0, 5), 11, 12], 3)]);
		expect(model.batches.map((batch) => batch.logits ?? false)).toEqual([true, true, true, false, false]);
	});

	test('fills the cache without output when no tokens are wanted', async () => {
		const { model, generate } = setUp();
		expect(await generate(range(0, 40), { maxTokens: 0, priority: 'warmup' })).toMatchObject({ tokens: [] });
		expect(model.batches.every((batch) => batch.outputs.length === 0)).toBe(true);
		expect((await generate(range(0, 45))).cachedTokens).toBe(40);
	});

	test('a cancelled request resolves at once and frees its cache at the next step', async () => {
		let release = () => {};
		let steps = 0;
		const { engine, generate } = setUp({
			onStep: () => (++steps === 3 ? new Promise<void>((resolve) => (release = resolve)) : undefined),
		});
		const controller = new AbortController();
		const cancelled = generate(range(0, 30), { maxTokens: 100, signal: controller.signal });
		while (steps < 3) await new Promise((resolve) => setImmediate(resolve));
		controller.abort();
		const result = await cancelled;
		expect(result.stopReason).toBe('canceled');
		expect(result.tokens).toEqual(expectedTokens(range(0, 30), 2));
		const other = generate(range(0, 31));
		release();
		expect((await other).tokens).toEqual(expectedTokens(range(0, 31), 8));
		expect(engine.busy).toBe(false);
	});

	test('an aborted signal never reaches the model', async () => {
		const { model, generate } = setUp();
		expect((await generate([1], { signal: AbortSignal.abort() })).stopReason).toBe('canceled');
		expect(model.batches).toEqual([]);
	});

	test('the end of the context ends the generation', async () => {
		const { generate } = setUp({}, { contextTokens: 32 });
		const result = await generate(range(0, 30), { maxTokens: 100 });
		expect(result.stopReason).toBe('context');
		expect(result.tokens).toEqual(expectedTokens(range(0, 30), 2));
	});

	test('refusals are errors and leave the engine working', async () => {
		const { generate } = setUp({}, { contextTokens: 32 });
		await expect(generate(range(0, 40))).rejects.toThrow('40 tokens, more than fit into the context of 32');
		await expect(generate([])).rejects.toThrow('the prompt is empty');
		await expect(generate([5, 1000])).rejects.toThrow('token id 1000 is not in the vocabulary of 1000');
		expect((await generate([1, 2, 3])).tokens).toEqual(expectedTokens([1, 2, 3], 8));
	});

	test('a failing step fails its requests, not the engine', async () => {
		let fail = true;
		const { generate } = setUp({
			onStep: () => {
				if (fail) throw new Error('out of memory');
			},
		});
		await expect(generate([1, 2, 3])).rejects.toThrow('out of memory');
		fail = false;
		expect((await generate([1, 2, 3])).tokens).toEqual(expectedTokens([1, 2, 3], 8));
	});

	test('a callback that throws fails its own request only', async () => {
		const { generate } = setUp();
		const bad = generate([1, 2, 3], {
			onToken: () => {
				throw new Error('caller bug');
			},
		});
		const good = generate([1, 2, 4]);
		await expect(bad).rejects.toThrow('caller bug');
		expect((await good).tokens).toEqual(expectedTokens([1, 2, 4], 8));
	});

	test('forget drops a conversation', async () => {
		const { engine, generate } = setUp();
		const { tokens } = await generate(range(0, 40));
		engine.forget([...range(0, 40), ...tokens]);
		expect((await generate(range(0, 40))).cachedTokens).toBe(0);
	});

	test('close fails what runs and closes the model after the step', async () => {
		const { model, engine, generate } = setUp();
		const running = generate(range(0, 30), { maxTokens: 100 });
		const refused = expect(running).rejects.toThrow('unloaded');
		await engine.close();
		await refused;
		expect(model.closed).toBe(true);
		await expect(generate([1])).rejects.toThrow('unloaded');
	});

	test.each([1, 2, 3])(
		'tokens depend on nothing but the prompt and seed, under random load (seed %i)',
		async (seed) => {
			const random = seededRandom(seed);
			const { model, engine, generate } = setUp(
				{ cost: (rows) => rows * 3 },
				{ contextTokens: 200, cacheTokens: 400, maxRunning: 5, latencyBudget: 100 + 200 * random() },
			);
			const priorities = ['completion', 'chat', 'benchmark'] as const;
			const prompts: number[][] = [range(0, 50)];
			const pending: Promise<void>[] = [];
			let reused = 0;
			for (let i = 0; i < 120; i++) {
				const base = prompts[Math.floor(random() * prompts.length)]!;
				const prompt = base
					.slice(0, Math.min(110, Math.floor(random() * base.length)))
					.concat(range(500, 501 + random() * 60));
				prompts.push(prompt);
				const count = 1 + Math.floor(random() * 20);
				const controller = new AbortController();
				const request = generate(prompt, {
					priority: priorities[Math.floor(random() * 3)]!,
					maxTokens: count,
					signal: controller.signal,
				});
				const cancelled = random() < 0.2;
				pending.push(
					request.then((result) => {
						expect(result.tokens).toEqual(expectedTokens(prompt, result.tokens.length));
						if (!cancelled) expect(result.tokens.length).toBe(count);
						reused += result.cachedTokens;
					}),
				);
				for (let s = Math.floor(random() * 4); s > 0; s--) await new Promise((resolve) => setImmediate(resolve));
				if (cancelled) controller.abort();
			}
			await Promise.all(pending);
			expect(reused).toBeGreaterThan(1000);
			expect(Math.max(...model.batches.map((batch: StepBatch) => batch.blockTables.length))).toBeGreaterThan(2);
			expect(engine.busy).toBe(false);
		},
	);
});
