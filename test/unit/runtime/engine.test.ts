import { describe, expect, test } from 'vitest';
import { Engine, type EngineOptions } from '../../../engine/runtime/engine';
import type { GenerateOptions } from '../../../engine/runtime/request';
import type { StepTurns } from '../../../engine/runtime/step-arbiter';
import type { DraftSource } from '../../../engine/speculation/draft-source';
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
		expect(model.batches.map((batch) => batch.logits ?? false)).toEqual([true, true, true, false]);
		expect(model.batches.at(-1)!.rounds).toBe(2);
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

	describe('several tokens a step', () => {
		/** The rounds of each step. */
		const roundsOf = (model: FakeModel) => model.batches.map((batch) => batch.rounds ?? 1);
		/** Waits for a certain round of a certain step. That round then stays under way until it is released. */
		const holdAt = (step: number, round: number) => {
			let steps = 0;
			let reached = () => {};
			let release = () => {};
			const held = new Promise<void>((resolve) => (release = resolve));
			const arrived = new Promise<void>((resolve) => (reached = resolve));
			const onStep: FakeModelOptions['onStep'] = (_, at) => {
				if (at === 0) steps++;
				if (steps !== step || at !== round) return;
				reached();
				return held;
			};
			return { onStep, arrived, release };
		};

		test.each([
			[10, [1, 1, 5, 5, 5, 3]], // the prompt, a token to measure, then 50 ms at a time
			[3, [1, 1, 8, 8, 2]],
			[26, Array.from({ length: 20 }, () => 1)],
		])('as many as a step of %i ms a token may go on for', async (milliseconds, expected) => {
			const { model, generate } = setUp({ cost: () => milliseconds });
			const { tokens } = await generate(range(0, 10), { maxTokens: 20 });
			expect(roundsOf(model)).toEqual(expected);
			expect(tokens).toEqual(expectedTokens(range(0, 10), 20));
		});

		test('are handed out one by one, and what follows begins with what they left in the cache', async () => {
			const seen: number[] = [];
			let already = 0;
			const { model, generate } = setUp({
				onStep: (_, round) => {
					if (round > 0) expect(seen.length).toBe(already + round);
					else already = seen.length;
				},
			});
			const first = await generate(range(0, 10), { onToken: (token) => void seen.push(token) });
			expect(roundsOf(model)).toEqual([1, 1, 6]);
			const second = await generate([...range(0, 10), ...first.tokens, 1], {
				onToken: (token) => void seen.push(token),
			});
			expect(second.cachedTokens).toBe(17);
			expect(second.tokens).toEqual(expectedTokens([...range(0, 10), ...first.tokens, 1], 8));
		});

		test.each([0, 1, 2, 3])('end with a stop id, a stop rule and the context in round %i', async (round) => {
			const prompt = range(0, 10);
			const expected = expectedTokens(prompt, 20);
			const count = 2 + round;
			for (const [options, settings, tokens] of [
				[{ stopIds: new Set([expected[count]!]) }, {}, count],
				[{ onToken: (token: number) => (token === expected[count] ? 'stop' : undefined) }, {}, count + 1],
				[{}, { contextTokens: prompt.length + count + 1 }, count + 1],
			] as const) {
				const { model, generate } = setUp({}, settings);
				const result = await generate(prompt, { maxTokens: 20, ...options });
				expect(result.tokens).toEqual(expected.slice(0, tokens));
				// At most one round is computed in vain.
				expect(model.rowsRun).toBeLessThanOrEqual(prompt.length + count + 2);
				if ('contextTokens' in settings) continue;
				const again = [...prompt, ...result.tokens];
				const next = await generate([...again, 7]);
				expect(next.cachedTokens).toBeGreaterThanOrEqual(again.length - 1);
				expect(next.tokens).toEqual(expectedTokens([...again, 7], 8));
			}
		});

		test('a sequence that ends in a run of several leaves the others as they are', async () => {
			const prompts = range(0, 4).map((i) => range(100 * i, 100 * i + 9));
			const { engine, generate } = setUp();
			const results = await Promise.all(
				prompts.map((prompt, i) =>
					generate(prompt, { maxTokens: 20, stopIds: new Set([expectedTokens(prompt, 20)[3 + i]!]) }),
				),
			);
			results.forEach(({ tokens }, i) => {
				expect(tokens).toEqual(expectedTokens(prompts[i]!, 3 + i));
			});
			expect(engine.busy).toBe(false);
		});

		test('an arrival waits for the token that is being computed, not for the others', async () => {
			const { onStep, arrived, release } = holdAt(3, 1);
			const { model, generate } = setUp({ onStep });
			const long = generate(range(0, 10), { maxTokens: 30 });
			await arrived;
			const completion = generate(range(50, 60), { priority: 'completion', maxTokens: 3 });
			release();
			expect((await completion).tokens).toEqual(expectedTokens(range(50, 60), 3));
			expect((await long).tokens).toEqual(expectedTokens(range(0, 10), 30));
			// The step ends after two of its 8 rounds. The next one has the completion's prompt.
			expect(model.batches[2]!.rounds).toBe(8);
			expect(model.batches[3]!.tokens.length).toBe(11);
			expect(model.batches[3]!.positions[0]).toBe(13);
		});

		test('a cancelled sequence keeps the tokens it had, and its cache is that of these', async () => {
			const { onStep, arrived, release } = holdAt(3, 2);
			const { model, generate } = setUp({ onStep });
			const controller = new AbortController();
			const cancelled = generate(range(0, 10), { maxTokens: 30, signal: controller.signal });
			await arrived;
			controller.abort();
			const { tokens } = await cancelled;
			expect(tokens).toEqual(expectedTokens(range(0, 10), 4));
			release();
			const next = await generate([...range(0, 10), ...tokens, 5]);
			expect(next).toMatchObject({ cachedTokens: 14, tokens: expectedTokens([...range(0, 10), ...tokens, 5], 8) });
			expect(model.rowsRun).toBe(10 + 1 + 3 + 1 + 7);
		});

		test('a step that fails in a later round fails its requests, and the next ones work', async () => {
			let fail = true;
			const { generate } = setUp({
				onStep: (_, round) => {
					if (fail && round === 2) throw new Error('out of memory');
				},
			});
			await expect(generate(range(0, 10))).rejects.toThrow('out of memory');
			fail = false;
			expect((await generate(range(0, 10))).tokens).toEqual(expectedTokens(range(0, 10), 8));
		});

		test('drafts that begin to pay end a run, and tokens stay', async () => {
			const prompt = range(0, 10);
			const expected = expectedTokens(prompt, 30);
			const known = (tokens: readonly number[]) => tokens.length - prompt.length;
			const source: DraftSource = {
				// The source has drafts from the 6th token on.
				ground: ({ tokens }) => (known(tokens) >= 6 ? { kind: 0, prior: 0.9 } : undefined),
				propose: (requests) =>
					requests.map(({ sequence, limit }) => expected.slice(known(sequence.tokens)).slice(0, limit)),
			};
			const { model, generate } = setUp({ cost: () => 5 }, { draftSources: [source] });
			const { tokens, drafts } = await generate(prompt, { maxTokens: 30 });
			expect(tokens).toEqual(expected);
			expect(drafts.accepted).toBeGreaterThan(10);
			expect(model.batches[2]!.rounds).toBe(8);
			// 2 tokens come before the run and 4 before drafts pay. The last of these has not been computed yet.
			expect(model.batches[3]!.positions[0]).toBe(prompt.length + 5);
			expect(model.batches[3]!.tokens.length).toBeGreaterThan(1);
		});

		test('what came while a step waited for its turn makes it a step of one token', async () => {
			let hold = Promise.resolve();
			const turns: StepTurns = {
				...{ urgency: undefined, idle: true, leave: () => {} },
				run: async (step) => {
					await hold;
					return step();
				},
			};
			const { model, generate } = setUp({}, { turns });
			const first = generate(range(0, 10), { maxTokens: 12, forced: range(200, 212) });
			while (model.batches.length < 2) await new Promise((resolve) => setImmediate(resolve));
			let release = () => {};
			hold = new Promise((resolve) => (release = resolve));
			for (let i = 0; i < 9; i++) await new Promise((resolve) => setImmediate(resolve));
			const second = generate(range(50, 60), { maxTokens: 3 });
			release();
			expect((await first).tokens).toEqual(range(200, 212));
			expect((await second).tokens).toEqual(expectedTokens(range(50, 60), 3));
			expect(model.batches[2]).not.toHaveProperty('forced');
			expect(roundsOf(model).slice(0, 4)).toEqual([1, 1, 1, 1]);
		});

		test('tokens that are chosen from logits come one a step', async () => {
			const { model, generate } = setUp();
			await generate(range(0, 10), { maxTokens: 12, choose: () => 5 });
			expect(new Set(roundsOf(model))).toEqual(new Set([1]));
		});

		test('forced tokens are what the later rounds compute, and beside others come one a step', async () => {
			const { model, generate } = setUp();
			const forced = range(200, 212);
			const { tokens } = await generate(range(0, 10), { maxTokens: 14, forced });
			expect(tokens).toEqual([...forced, ...expectedTokens([...range(0, 10), ...forced], 2)]);
			expect(roundsOf(model)).toEqual([1, 1, 8, 2, 1, 1]);
			const next = await generate([...range(0, 10), ...forced, 5]);
			expect(next).toMatchObject({ cachedTokens: 22, tokens: expectedTokens([...range(0, 10), ...forced, 5], 8) });
			model.batches.length = 0;
			const [alone, beside] = await Promise.all([
				generate(range(300, 310), { maxTokens: 6, forced }),
				generate(range(400, 410), { maxTokens: 6 }),
			]);
			expect(alone.tokens).toEqual(forced.slice(0, 6));
			expect(beside.tokens).toEqual(expectedTokens(range(400, 410), 6));
			expect(new Set(roundsOf(model))).toEqual(new Set([1]));
		});
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
