// A fault of one request does not harm other requests.
import { describe, expect, test } from 'vitest';
import { Engine, type EngineOptions } from '../../../engine/runtime/engine';
import type { GenerateOptions } from '../../../engine/runtime/request';
import type { StepBatch } from '../../../native/index';
import { expectedTokens, FakeModel, type FakeModelOptions } from '../support/fake-native';

function setUp(modelOptions: FakeModelOptions = {}, engineOptions: EngineOptions = {}) {
	const model = new FakeModel(modelOptions);
	const engine = new Engine(model, { contextTokens: 256, cacheTokens: 1024, ...engineOptions });
	const generate = (tokens: ArrayLike<number>, options: Partial<GenerateOptions> = {}) =>
		engine.generate({ tokens, priority: 'chat', maxTokens: 8, ...options });
	return { model, engine, generate };
}

const GOOD = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 1 };

test.each<[string, Partial<GenerateOptions>, string]>([
	['temperature -1', { sampling: { ...GOOD, temperature: -1 } }, 'sampling.temperature must be a number from 0 to 100'],
	['temperature NaN', { sampling: { ...GOOD, temperature: Number.NaN } }, 'sampling.temperature must be a number'],
	['temperature ∞', { sampling: { ...GOOD, temperature: 1 / 0 } }, 'sampling.temperature must be a number'],
	['temperature text', { sampling: { ...GOOD, temperature: '1' as never } }, 'not text'],
	['seed 1.5e300', { sampling: { ...GOOD, seed: 1.5e300 } }, 'sampling.seed must be a whole number from 0 to'],
	['seed -1', { sampling: { ...GOOD, seed: -1 } }, 'sampling.seed must be a whole number'],
	['seed 2^53', { sampling: { ...GOOD, seed: 2 ** 53 } }, 'sampling.seed must be a whole number'],
	['no seed', { sampling: { ...GOOD, seed: undefined as never } }, 'sampling.seed is missing'],
	['topP 1.1', { sampling: { ...GOOD, topP: 1.1 } }, 'sampling.topP must be a number from 0 to 1, not 1.1'],
	['topK 0.5', { sampling: { ...GOOD, topK: 0.5 } }, 'sampling.topK must be a whole number'],
	['topK 2^31', { sampling: { ...GOOD, topK: 2 ** 31 } }, 'sampling.topK must be a whole number'],
	['minP -0.1', { sampling: { ...GOOD, minP: -0.1 } }, 'sampling.minP must be a number from 0 to 1'],
	['sampling null', { sampling: null as never }, 'sampling must be an object, not null'],
	['maxTokens 1.5', { maxTokens: 1.5 }, 'maxTokens must be a whole number from 0 to'],
	['maxTokens -5', { maxTokens: -5 }, 'maxTokens must be a whole number'],
	['maxTokens x', { maxTokens: 'x' as never }, 'maxTokens must be a whole number'],
	['maxTokens NaN', { maxTokens: Number.NaN }, 'maxTokens must be a whole number'],
	['priority', { priority: 'first' as never }, 'priority must be completion, chat, benchmark or warmup, not "first"'],
	['a token of 1.5', { tokens: [1, 1.5] }, 'token id 1.5 is not in the vocabulary of 1000'],
	['a token of -1', { tokens: [1, -1] }, 'token id -1 is not in the vocabulary of 1000'],
	['a hole', { tokens: new Array(3) }, 'token id undefined is not in the vocabulary of 1000'],
	['a token NaN', { tokens: [Number.NaN] }, 'token id NaN is not in the vocabulary of 1000'],
	['a forced token', { forced: [1, 1000] }, 'token id 1000 is not in the vocabulary of 1000'],
	['a stop id', { stopIds: new Set([0.5]) }, 'a stop id must be a whole number'],
])('%s fails its own request, and who runs beside it gets its tokens', async (_, options, message) => {
	const { generate } = setUp();
	const others = [generate([1, 2, 3]), generate([4, 5, 6])];
	await expect(generate([7, 8, 9], options)).rejects.toThrow(message);
	expect((await others[0]!).tokens).toEqual(expectedTokens([1, 2, 3], 8));
	expect((await others[1]!).tokens).toEqual(expectedTokens([4, 5, 6], 8));
});

/** Steps fail that have a sequence for which `guilty` holds. `tokens` are the sequence's tokens in the step. */
function failing(guilty: (tokens: number[], batch: StepBatch) => boolean, code?: string): (batch: StepBatch) => void {
	return (batch) => {
		for (let sequence = 0; sequence < batch.blockTables.length; sequence++) {
			const tokens = [...batch.tokens].filter((_, row) => batch.sequences[row] === sequence);
			if (guilty(tokens, batch)) throw Object.assign(new Error('this row cannot be computed'), code ? { code } : {});
		}
	};
}

describe('a step that fails', () => {
	test('fails the sequence at fault; the others get the tokens they would have had', async () => {
		const { generate } = setUp({ onStep: failing((tokens) => tokens.includes(999)) });
		const prompts = [
			[1, 2, 3],
			[4, 999, 6],
			[7, 8],
			[9, 10, 11, 12, 13],
		];
		const settled = await Promise.allSettled(prompts.map((prompt) => generate(prompt)));
		expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
		settled.forEach((result, i) => {
			if (result.status === 'fulfilled') expect(result.value.tokens).toEqual(expectedTokens(prompts[i]!, 8));
			else expect(result.reason.message).toBe('this row cannot be computed');
		});
	});

	test('in the middle of decoding, too', async () => {
		const bad = expectedTokens([7, 8], 8)[4]!;
		// Steps as slow as these have one round each.
		const { generate } = setUp({ cost: () => 1000, onStep: failing((tokens) => tokens.includes(bad)) });
		const [one, two] = await Promise.allSettled([generate([1, 2, 3], { maxTokens: 24 }), generate([7, 8])]);
		expect(one).toMatchObject({ status: 'fulfilled', value: { tokens: expectedTokens([1, 2, 3], 24) } });
		expect(two).toMatchObject({ status: 'rejected' });
	});

	test('in a later round: what was handed out stays, and each goes on', async () => {
		let rounds = 0;
		const { generate } = setUp({
			onStep: (batch, round) => {
				if (batch.blockTables.length > 1 && round === 2 && rounds++ < 3) throw new Error('out of memory');
			},
		});
		const given: number[][] = [[], []];
		const results = await Promise.all(
			given.map((seen, i) => generate([1 + i, 2], { maxTokens: 60, onToken: (token) => void seen.push(token) })),
		);
		expect(rounds).toBeGreaterThan(0);
		results.forEach(({ tokens }, i) => {
			expect(tokens).toEqual(expectedTokens([1 + i, 2], 60));
			expect(given[i]).toEqual(tokens);
		});
	});

	test('only while several are in it fails nobody', async () => {
		let failures = 0;
		const { generate } = setUp({
			onStep: ({ blockTables }) => {
				if (blockTables.length > 1 && failures++ < 5) throw new Error('too many rows');
			},
		});
		const results = await Promise.all([generate([1, 2, 3]), generate([4, 5])]);
		expect(failures).toBeGreaterThan(0);
		expect(results.map(({ tokens }) => tokens)).toEqual([expectedTokens([1, 2, 3], 8), expectedTokens([4, 5], 8)]);
	});

	test("fails all where the error is the model's own, at once", async () => {
		const { generate, model } = setUp({ onStep: failing((tokens) => tokens.includes(999), 'HEARTH_MODEL_CHANGED') });
		const settled = await Promise.allSettled([generate([1, 2, 3]), generate([4, 999])]);
		expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
		expect(model.batches.length).toBe(1);
	});

	test('always fails each of its sequences, and the next ones work', async () => {
		let broken = true;
		const { generate, engine } = setUp({
			onStep: () => {
				if (broken) throw new Error('out of memory');
			},
		});
		const settled = await Promise.allSettled([generate([1, 2, 3]), generate([4, 5]), generate([6])]);
		expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
		expect(engine.busy).toBe(false);
		broken = false;
		expect((await generate([1, 2, 3])).tokens).toEqual(expectedTokens([1, 2, 3], 8));
	});

	test('closing meanwhile ends all of them', async () => {
		const { generate, engine, model } = setUp({
			onStep: async () => {
				void engine.close();
				throw new Error('out of memory');
			},
		});
		const settled = await Promise.allSettled([generate([1, 2, 3]), generate([4, 5])]);
		expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
		await engine.close();
		expect(model.batches.length).toBe(1);
	});
});

test.each([
	[
		'throws',
		() => {
			throw new Error("the caller's own mistake");
		},
		"the caller's own mistake",
	],
	['picks no token', () => 1000, 'token id 1000 is not in the vocabulary of 1000'],
	['picks half a token', () => 0.5, 'token id 0.5 is not in the vocabulary of 1000'],
])('a rule that %s fails its own request', async (_, choose, message) => {
	const { generate } = setUp();
	const other = generate([1, 2, 3]);
	await expect(generate([4, 5], { choose })).rejects.toThrow(message);
	expect((await other).tokens).toEqual(expectedTokens([1, 2, 3], 8));
});

test.each([[[1000]], [[0.5]], [[-1]], [[Number.NaN]]])('a source that drafts %j is not asked again', async (draft) => {
	const failures: string[] = [];
	const source = { ground: () => ({ accepted: 1, proposed: 1 }) as never, propose: async () => [draft] };
	const { generate } = setUp({}, { draftSources: [source], onDraftFailure: ({ message }) => failures.push(message) });
	const { tokens } = await generate([1, 2, 3], { drafts: { source, length: 1 } });
	expect(tokens).toEqual(expectedTokens([1, 2, 3], 8));
	expect(failures[0]).toContain(`token id ${draft[0]} is not in the vocabulary`);
});
