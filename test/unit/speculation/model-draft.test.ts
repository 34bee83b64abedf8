import { describe, expect, it } from 'vitest';
import { Engine, type EngineOptions } from '../../../engine/runtime/engine';
import type { GenerateOptions } from '../../../engine/runtime/request';
import { onBehalfOf, StepArbiter } from '../../../engine/runtime/step-arbiter';
import { ModelDraft, vocabularyMismatch } from '../../../engine/speculation/model-draft';
import { rankedVocabulary, trainedVocabulary, vocabularyHeader } from '../../../engine/synth/vocabulary';
import { Tokenizer } from '../../../engine/tokenizer/tokenizer';
import { FakeModel } from '../support/fake-native';

/**
 * The token that the larger model writes next. The draft model writes the same, but errs at every position divisible by
 * `every`.
 */
const next = (tokens: number[]) => (tokens.reduce((sum, token) => (sum * 31 + token) % 9973, 7) % 900) + 1;
const wrongAt = (every: number) => (tokens: number[]) => (tokens.length % every === 0 ? 999 : next(tokens));

function setUp(wrongEvery: number, options: EngineOptions = {}) {
	const turns = new StepArbiter().join();
	// Verifying many rows costs little more than verifying one. The time of drafting is really measured, and is short
	// beside that, so drafts pay.
	const small = new FakeModel({ next: wrongAt(wrongEvery), cost: () => 0.1 });
	const draft = new ModelDraft(
		new Engine(small, { turns: onBehalfOf(turns), speculation: false, repack: false }),
		1000,
	);
	const large = new FakeModel({ next, cost: (rows) => 10_000 + rows });
	const engine = new Engine(large, { ...options, turns, draftSources: [draft], repack: false });
	return { engine, small, large };
}

async function plain(options: GenerateOptions) {
	const engine = new Engine(new FakeModel({ next }), { speculation: false, repack: false });
	const result = await engine.generate(options);
	await engine.close();
	return result;
}

describe('a draft model', () => {
	it.each([1, 2, 5, 1000])('changes no token where it errs at every position divisible by %i', async (wrongEvery) => {
		const { engine } = setUp(wrongEvery);
		const options: GenerateOptions = { tokens: [5, 6, 7], priority: 'chat', maxTokens: 120 };
		const drafted = await engine.generate(options);
		expect(drafted.tokens).toEqual((await plain(options)).tokens);
		expect(drafted.drafts.proposed).toBeGreaterThan(0);
		await engine.close();
	});

	it('makes fewer steps of the larger model', async () => {
		const { engine, large } = setUp(1000);
		await engine.generate({ tokens: [5, 6, 7], priority: 'chat', maxTokens: 200 });
		expect(large.batches.length).toBeLessThan(120);
		await engine.close();
	});

	it('catches up on a long prompt beside the larger model, and then guesses', async () => {
		const { engine, small } = setUp(1000);
		const tokens = Array.from({ length: 300 }, (_, i) => (i % 50) + 1);
		const options: GenerateOptions = { tokens, priority: 'chat', maxTokens: 100 };
		const result = await engine.generate(options);
		expect(result.tokens).toEqual((await plain(options)).tokens);
		expect(result.drafts.accepted).toBeGreaterThan(0);
		// The prompt is computed once. After that, only the added tokens are computed.
		expect(small.rowsRun).toBeLessThan(300 + 3 * 100 + 50);
		await engine.close();
	});

	it('serves several sequences at once', async () => {
		const { engine } = setUp(4);
		const requests = [1, 2, 3].map(
			(first): GenerateOptions => ({ tokens: [first, 9], priority: 'chat', maxTokens: 40 }),
		);
		const results = await Promise.all(requests.map((options) => engine.generate(options)));
		for (const [i, { tokens }] of results.entries()) expect(tokens).toEqual((await plain(requests[i]!)).tokens);
		await engine.close();
	});

	it('is closed with the larger model, at once', async () => {
		const { engine, small } = setUp(1000);
		const endless = engine.generate({ tokens: [1, 2], priority: 'chat', maxTokens: 3000 });
		while (small.batches.length < 3) await new Promise((resolve) => setImmediate(resolve));
		await Promise.all([engine.close(), expect(endless).rejects.toThrow('the model was unloaded')]);
		await new Promise((resolve) => setImmediate(resolve));
		expect(small.closed).toBe(true);
	});

	it('leaves a generation as it is where it fails', async () => {
		const turns = new StepArbiter().join();
		const broken = new FakeModel({
			onStep: () => {
				throw new Error('out of memory');
			},
		});
		const draft = new ModelDraft(new Engine(broken, { turns: onBehalfOf(turns), repack: false }), 1000);
		const problems: string[] = [];
		const engine = new Engine(new FakeModel({ next }), {
			...{ turns, draftSources: [draft], repack: false, onDraftFailure: (error) => problems.push(error.message) },
		});
		const options: GenerateOptions = { tokens: [5, 6, 7], priority: 'chat', maxTokens: 30 };
		expect((await engine.generate(options)).tokens).toEqual((await plain(options)).tokens);
		expect(problems).toEqual(['out of memory']);
		await engine.close();
	});
});

describe('vocabularies', () => {
	const bytes = Array.from({ length: 256 }, (_, byte) => [byte]);
	const of = (specials: string[], size?: number) =>
		Tokenizer.fromGguf(vocabularyHeader(rankedVocabulary(bytes, ['<|startoftext|>', ...specials], size), 'qwen2'))
			.vocabulary;

	it('fit where they differ in padding only', () => {
		expect(vocabularyMismatch(of(['<|x|>']), of(['<|x|>'], 300))).toBeUndefined();
		expect(vocabularyMismatch(of(['<|x|>'], 300), of(['<|x|>']))).toBeUndefined();
	});

	it('do not where a token is another one, or text is missing', () => {
		const trained = (corpus: string) =>
			Tokenizer.fromGguf(vocabularyHeader(trainedVocabulary(corpus.repeat(3), 20))).vocabulary;
		expect(vocabularyMismatch(trained('the cat sat on the mat '), trained('a dog digs a deep ditch '))).toMatch(
			/^token \d+ is another one$/,
		);
		expect(vocabularyMismatch(of([]), trained('the cat sat on the mat '))).toMatch(/^(?:token|it has)/);
	});
});
