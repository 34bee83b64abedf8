// EAGLE-3 draft heads. The native forward pass is compared with plain loops, and the engine with a head is compared
// with the engine without one.
import { statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { convertFolder } from '../../engine/convert/convert';
import { openModel } from '../../engine/loading/open-model';
import { cacheTokens } from '../../engine/models/memory-need';
import { Engine } from '../../engine/runtime/engine';
import type { GenerateOptions } from '../../engine/runtime/request';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import type { DraftSource } from '../../engine/speculation/draft-source';
import { HeadDrafts } from '../../engine/speculation/head-drafts';
import { demoCorpus } from '../../engine/synth/demo-text';
import { fitLinear } from '../../engine/synth/linear-fit';
import { trainedVocabulary } from '../../engine/synth/vocabulary';
import { type KernelSet, loadNative, type NativeModel } from '../../native/index';
import { type Head, type HeadShape, headFolder, plainDraft, randomHead } from '../support/draft-head';
import { randomTokens } from '../support/forward';
import { exactNumbers, f32, type Tensors, tokenizerJson, writeFolder } from '../support/hugging-face';
import { makeModel, temporaryFolder } from '../support/models';
import { type PlainConfig, type PlainWeights, plainForward } from '../support/plain-transformer';

const folder = temporaryFolder();
const native = loadNative();
const vocabulary = trainedVocabulary(demoCorpus, 40);
const size = vocabulary.tokenTypes.length;

// The target is a small llama. The plain loops compute its hidden states, too.
const [embedding, layerCount] = [64, 6];
const frequencies = Array.from({ length: 8 }, (_, i) => 10_000 ** (-i / 8));
const targetConfig: PlainConfig = {
	...{ layers: layerCount, embedding, heads: 4, headsKv: 2, headLength: 16, feedForward: 64, vocabulary: size },
	...{ epsilon: 1e-5, frequencies },
};
const target: PlainWeights = {};
const targetTensors: Tensors = {};
const layers = [1, 3, 5] as const;

function addTarget(name: string, shape: number[], scale: number, mean = 0): void {
	const count = shape.reduce((product, length) => product * length, 1);
	const values = exactNumbers(count, scale, Object.keys(target).length + 1).map((value) => value + mean);
	target[name] = values;
	targetTensors[name] = f32(values, shape);
}

let targetFolder: string;
let targetFile: string;

beforeAll(async () => {
	addTarget('model.embed_tokens.weight', [size, embedding], 1);
	addTarget('model.norm.weight', [embedding], 0.25, 1);
	addTarget('lm_head.weight', [size, embedding], 0.25);
	for (let n = 0; n < layerCount; n++) {
		const at = `model.layers.${n}`;
		addTarget(`${at}.input_layernorm.weight`, [embedding], 0.25, 1);
		addTarget(`${at}.post_attention_layernorm.weight`, [embedding], 0.25, 1);
		for (const [name, rows] of [
			['q', 64],
			['k', 32],
			['v', 32],
		] as const) {
			addTarget(`${at}.self_attn.${name}_proj.weight`, [rows, embedding], 0.25);
		}
		addTarget(`${at}.self_attn.o_proj.weight`, [embedding, 64], 0.125);
		for (const name of ['gate', 'up', 'down']) addTarget(`${at}.mlp.${name}_proj.weight`, [64, 64], 0.125);
	}
	targetFolder = writeFolder(folder, 'target', targetTensors, {
		'config.json': {
			...{ architectures: ['LlamaForCausalLM'], num_hidden_layers: layerCount, hidden_size: embedding },
			...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16, intermediate_size: 64, vocab_size: size },
			...{ max_position_embeddings: 4096, rms_norm_eps: 1e-5, rope_theta: 10_000, hidden_act: 'silu' },
		},
		'tokenizer.json': tokenizerJson(vocabulary, 'llama-bpe'),
	});
	targetFile = `${targetFolder}.gguf`;
	await convertFolder(targetFolder, targetFile);
});

const common = {
	...{ heads: 4, headsKv: 2, headLength: 16, feedForward: 96, targetEmbedding: embedding, vocabulary: size, layers },
} as const;
const shapes: Record<string, HeadShape> = {
	"speculators' style with a small vocabulary": {
		...{ ...common, embedding, draftVocabulary: Math.floor(size / 3), ownEmbedding: false, ownOutput: true },
		...{ normBeforeResidual: true, normBeforeFc: true, layerName: 'layers.0' },
	},
	"the authors' style with the target's output": {
		...{ ...common, embedding, draftVocabulary: size, ownEmbedding: true, ownOutput: false },
		...{ normBeforeResidual: false, normBeforeFc: false, layerName: 'midlayer' },
	},
	'wider than its target, all its own': {
		...{ ...common, embedding: 96, draftVocabulary: size, ownEmbedding: true, ownOutput: true, headLength: 24 },
		...{ normBeforeResidual: true, normBeforeFc: false, layerName: 'layers.0' },
	},
	'nothing its own': {
		...{ ...common, embedding, draftVocabulary: size, ownEmbedding: false, ownOutput: false },
		...{ normBeforeResidual: false, normBeforeFc: true, layerName: 'layers.0' },
	},
};

/** Converts the head to a GGUF. */
async function convertHead(head: Head, name: string): Promise<string> {
	const { tensors, config } = headFolder(head);
	const from = writeFolder(folder, name, tensors, { 'config.json': config });
	const file = `${from}.gguf`;
	await convertFolder(from, file, { weights: 'keep', target: targetFolder });
	return file;
}

function featuresOf(tokens: readonly number[], upTo: number): number[][] {
	const { inputs } = plainForward(targetConfig, target, tokens.slice(0, upTo));
	return Array.from({ length: upTo }, (_, p) => layers.flatMap((layer) => inputs[layer]![p]!));
}

const shared = () => ({ embedding: target['model.embed_tokens.weight']!, output: target['lm_head.weight']! });

/**
 * Runs the first `upTo` tokens of one sequence through the target in steps of `chunk` rows, then drafts behind them.
 */
async function nativeDraft(
	model: NativeModel,
	tokens: readonly number[],
	upTo: number,
	limit: number,
	chunk: number,
	sequence = 0,
): Promise<number[]> {
	const blockCount = Math.ceil((tokens.length + limit) / 32);
	const cache = model.createCache({ blocks: blockCount });
	// The blocks are in reverse order, so that a mistaken block shows.
	const blocks = Int32Array.from({ length: blockCount }, (_, i) => blockCount - 1 - i);
	for (let first = 0; first < upTo; first += chunk) {
		const rows = Math.min(chunk, upTo - first);
		await model.step(cache, {
			tokens: Int32Array.from(tokens.slice(first, first + rows)),
			positions: Int32Array.from({ length: rows }, (_, i) => first + i),
			sequences: new Int32Array(rows),
			blockTables: [blocks],
			draftSequences: Int32Array.of(sequence),
			outputs: first + rows === upTo ? Int32Array.of(rows - 1) : new Int32Array(0),
		});
	}
	const [draft] = await model.draft(cache, [{ sequence, position: upTo, token: tokens[upTo]!, limit, blocks }]);
	cache.close();
	model.releaseDrafts(sequence);
	return [...draft!];
}

describe.each(Object.entries(shapes))('%s', (title, shape) => {
	const head = randomHead(shape, title.length);
	let file: string;
	beforeAll(async () => {
		file = await convertHead(head, title.replace(/\W+/g, '-'));
	});

	test.each<KernelSet>(['reference', 'auto'])(
		'the %s kernels guess what the plain computation does',
		async (kernels) => {
			const model = await native.openModel(targetFile, { kernels, threads: 2, draftHead: file });
			expect(model.info.draftHead).toMatchObject({ path: file, vocabularySize: shape.draftVocabulary });
			let [same, all] = [0, 0];
			// The lengths are a first token, the border of a block and more than two blocks. The steps have every size.
			for (const [i, upTo] of [1, 2, 31, 32, 33, 70].entries()) {
				const tokens = [...randomTokens(upTo + 1, size, 10 * i + 7)];
				const wanted = plainDraft(head, featuresOf(tokens, upTo), tokens, 4, shared()).tokens;
				const drafts = await nativeDraft(model, tokens, upTo, 4, [100, 1, 5][i % 3]!);
				expect(drafts.length).toBe(4);
				// After the first different draft, the two chains have nothing to do with each other.
				const agreed = drafts.findIndex((token, n) => token !== wanted[n]);
				same += agreed < 0 ? 4 : agreed;
				all += agreed < 0 ? 4 : agreed + 1;
			}
			model.close();
			// The fast kernels keep K and V in 16 bits, which may decide a near-tie.
			if (kernels === 'reference') expect(same).toBe(all);
			else expect(same / all).toBeGreaterThan(0.8);
		},
	);
});

interface Run {
	tokens: number[];
	drafts: { proposed: number; accepted: number };
}

async function generate(
	engine: Engine,
	prompt: readonly number[],
	count: number,
	temperature = 0,
	drafts?: GenerateOptions['drafts'],
): Promise<Run> {
	const result = await engine.generate({
		...{ tokens: prompt, priority: 'chat', maxTokens: count },
		sampling: { temperature, topK: 0, topP: 1, minP: 0, seed: 5 },
		...(drafts && { drafts }),
	});
	return { tokens: result.tokens, drafts: result.drafts };
}

describe('the engine with a head', () => {
	const prompts = [5, 40, 70, 100].map((length, i) => [...randomTokens(length, size, 50 + i)]);
	const COUNT = 24;
	const LENGTH = 3;
	let file: string;
	let plain: Run[];
	let engines: Engine[] = [];

	afterAll(async () => {
		for (const engine of engines) await engine.close();
		engines = [];
	});

	async function openEngine(draftHead?: string, cacheTokens = 2048): Promise<{ engine: Engine }> {
		const model = await native.openModel(targetFile, { threads: 2, ...(draftHead && { draftHead }) });
		const engine = new Engine(model, { contextTokens: 256, cacheTokens, speculation: draftHead !== undefined });
		engines.push(engine);
		return { engine };
	}

	beforeAll(async () => {
		const { engine } = await openEngine();
		plain = [];
		for (const prompt of prompts) plain.push(await generate(engine, prompt, COUNT));
		// This head has learned by heart how the first prompts go on: its output is fitted to the states that leave its
		// layer there.
		const head = randomHead({ ...shapes['wider than its target, all its own']!, embedding: 128 }, 3);
		const states: number[] = [];
		const classes: number[] = [];
		for (const [i, prompt] of prompts.slice(0, 3).entries()) {
			const all = [...prompt, ...plain[i]!.tokens];
			const features = featuresOf(all, all.length);
			for (let at = prompt.length; at < all.length; at++) {
				const rest = all.slice(at + 1, at + 1 + LENGTH);
				if (rest.length === 0) continue;
				const draft = plainDraft(head, features.slice(0, at), all.slice(0, at + 1), rest.length, shared(), rest);
				draft.states.forEach((state, n) => {
					states.push(...state);
					classes.push(rest[n]!);
				});
			}
		}
		head.weights['lm_head.weight'] = await fitLinear({
			...{ features: Float32Array.from(states), width: 128, classes: Int32Array.from(classes), classCount: size },
		});
		file = await convertHead(head, 'fitted');
	});

	test('greedy output is the same where the engine drafts as it pays', async () => {
		const { engine } = await openEngine(file);
		let proposed = 0;
		for (const [i, prompt] of prompts.entries()) {
			const run = await generate(engine, prompt, COUNT);
			expect(run.tokens, `prompt ${i}`).toEqual(plain[i]!.tokens);
			proposed += run.drafts.proposed;
		}
		expect(proposed).toBeGreaterThan(0);
	});

	test('of several sequences at once, and over a cache that knows the prompts', async () => {
		const { engine, drafts } = await openHeadOnly(file);
		for (const round of ['first', 'cached']) {
			const runs = await Promise.all(prompts.map((prompt) => generate(engine, prompt, COUNT, 0, drafts)));
			const total = sum(runs);
			expect(
				runs.map(({ tokens }) => tokens),
				round,
			).toEqual(plain.map(({ tokens }) => tokens));
			// The head has learned nothing of the last prompt. In a cached prompt, few rows of the head are missing.
			expect(total.accepted, round).toBeGreaterThan(40);
		}
	});

	test('one after another nearly all drafts of what was learned are right', async () => {
		const { engine, drafts } = await openHeadOnly(file);
		const runs: Run[] = [];
		for (const prompt of prompts.slice(0, 3)) runs.push(await generate(engine, prompt, COUNT, 0, drafts));
		expect(runs.map(({ tokens }) => tokens)).toEqual(plain.slice(0, 3).map(({ tokens }) => tokens));
		expect(sum(runs).accepted / sum(runs).proposed).toBeGreaterThan(0.8);
	});

	test('sampled output is the same', async () => {
		const { engine: without } = await openEngine();
		const { engine, drafts } = await openHeadOnly(file);
		for (const temperature of [0.5, 1]) {
			for (const prompt of prompts) {
				const run = await generate(engine, prompt, COUNT, temperature, drafts);
				expect(run.tokens).toEqual((await generate(without, prompt, COUNT, temperature)).tokens);
				expect(run.drafts.proposed).toBeGreaterThan(COUNT);
			}
		}
	});

	test('sequences that are driven out of a small cache and come back are the same', async () => {
		const { engine, drafts } = await openHeadOnly(file, 256);
		const runs = await Promise.all(prompts.map((prompt) => generate(engine, prompt, COUNT, 0, drafts)));
		expect(runs.map(({ tokens }) => tokens)).toEqual(plain.map(({ tokens }) => tokens));
		expect(sum(runs).accepted).toBeGreaterThan(20);
	});

	test('a head that fails is given up, and the answer is the same', async () => {
		const model = await native.openModel(targetFile, { threads: 2 });
		const failures: string[] = [];
		const broken: DraftSource = {
			propose: () => Promise.reject(new Error('no more')),
			prepare: () => undefined,
		};
		const engine = new Engine(model, {
			...{ contextTokens: 256, cacheTokens: 2048, draftSources: [broken] },
			onDraftFailure: ({ message }) => failures.push(message),
		});
		engines.push(engine);
		expect((await generate(engine, prompts[0]!, COUNT)).tokens).toEqual(plain[0]!.tokens);
		expect(failures).toEqual(['no more']);
	});

	const sum = (runs: readonly Run[]) => ({
		proposed: runs.reduce((total, { drafts }) => total + drafts.proposed, 0),
		accepted: runs.reduce((total, { drafts }) => total + drafts.accepted, 0),
	});

	/**
	 * Opens an engine whose drafts come from the head alone. With `drafts`, each step drafts LENGTH tokens whether or not
	 * that pays.
	 */
	async function openHeadOnly(draftHead: string, cacheTokens = 2048) {
		const model = await native.openModel(targetFile, { threads: 2, draftHead });
		// The engine makes its cache with `createCache`, and the source needs that same cache.
		const caches: ReturnType<NativeModel['createCache']>[] = [];
		const seen = new Proxy(model, {
			get: (of, name) => {
				if (name === 'createCache') {
					return (options: Parameters<NativeModel['createCache']>[0]) => {
						const cache = of.createCache(options);
						caches.push(cache);
						return cache;
					};
				}
				const value: unknown = Reflect.get(of, name, of);
				return typeof value === 'function' ? value.bind(of) : value;
			},
		});
		let head: HeadDrafts | undefined;
		const source: DraftSource = {
			propose: (requests) => head!.propose(requests),
			prepare: (batch, sequences) => {
				head ??= new HeadDrafts(model, caches.at(-1)!, { run: (work) => work() });
				head.prepare(batch, sequences);
			},
			release: (sequence) => head?.release(sequence),
			close: () => head?.close(),
		};
		const engine = new Engine(seen, { contextTokens: 256, cacheTokens, draftSources: [source] });
		engines.push(engine);
		return { engine, drafts: { source, length: LENGTH } };
	}
});

describe('a gpt-oss target', () => {
	test('gives the same tokens with a head as without', async () => {
		const targetGguf = await makeModel(folder, 'gpt-oss', { layers: 6 });
		const info = await native.openModel(targetGguf, { threads: 1 });
		const { embeddingLength, vocabularySize } = info.info;
		info.close();
		const head = randomHead(
			{
				...{ ...common, embedding: embeddingLength, targetEmbedding: embeddingLength, vocabulary: vocabularySize },
				...{ draftVocabulary: 100, ownEmbedding: false, ownOutput: true, normBeforeResidual: true, normBeforeFc: true },
				layerName: 'layers.0',
			},
			9,
		);
		const { tensors, config } = headFolder(head);
		const from = writeFolder(folder, 'gpt-oss-head', tensors, { 'config.json': config });
		const draftHead = `${from}.gguf`;
		await convertFolder(from, draftHead, { target: targetGguf });
		const answers: number[][][] = [];
		for (const options of [{}, { draftHead }]) {
			const model = await native.openModel(targetGguf, { threads: 2, ...options });
			const engine = new Engine(model, { contextTokens: 512, speculation: 'draftHead' in options });
			const runs = await Promise.all(
				[3, 60, 150].map((length, i) =>
					generate(engine, [...randomTokens(length, vocabularySize, i)], 30, i === 1 ? 1 : 0),
				),
			);
			answers.push(runs.map(({ tokens }) => tokens));
			await engine.close();
		}
		expect(answers[1]).toEqual(answers[0]);
	});
});

describe('a model opened with a draft', () => {
	test('says the name of the head, and works without one that does not fit', async () => {
		const targetGguf = path.join(folder, 'gpt-oss.gguf');
		const fits = await openModel(targetGguf, { threads: 1, draftModelPath: path.join(folder, 'gpt-oss-head.gguf') });
		expect(fits).toMatchObject({ draft: 'gpt-oss-head', engine: { info: { draftHead: { vocabularySize: 100 } } } });
		await fits.engine.close();
		const strange = await openModel(targetGguf, { threads: 1, draftModelPath: path.join(folder, 'fitted.gguf') });
		expect(strange.draftProblem).toMatch('is a draft head for a model of width 64');
		expect(strange.draft).toBeUndefined();
		expect(strange.engine.info.draftHead).toBeUndefined();
		await strange.engine.close();
	});

	test('counts the head in the memory it needs, and leaves it where there is none for it', async () => {
		const targetGguf = path.join(folder, 'gpt-oss.gguf');
		const draftModelPath = path.join(folder, 'gpt-oss-head.gguf');
		const settings = { ...DEFAULT_SETTINGS, contextTokens: 1000 };
		const open = (availableBytes: number, draft = true) =>
			openModel(targetGguf, {
				...{ threads: 1, contextTokens: 1000, cacheTokens: cacheTokens(settings), cacheType: 'f16' },
				...(draft && { draftModelPath }),
				memory: { settings, limit: 'available', available: { totalBytes: 64e9, availableBytes } },
			});
		const without = await open(32e9, false);
		const alone = without.need!;
		expect(alone.cacheBytes).toBe(without.engine.cacheBytes);
		expect(alone.draftBytes).toBeUndefined();
		await without.engine.close();

		const both = await open(32e9);
		const { cacheBytes, weightBytes, scratchBytes, totalBytes, draftBytes } = both.need!;
		// The head's keys and values count together with the target's.
		expect(cacheBytes).toBe(both.engine.cacheBytes);
		expect(cacheBytes).toBeGreaterThan(alone.cacheBytes);
		expect(weightBytes).toBe(alone.weightBytes + statSync(draftModelPath).size);
		expect(scratchBytes).toBeGreaterThan(alone.scratchBytes);
		expect(totalBytes).toBe(weightBytes + cacheBytes + scratchBytes);
		expect(draftBytes).toBe(totalBytes - alone.totalBytes);
		await both.engine.close();

		const short = await open(totalBytes - 1);
		expect(short.draft).toBeUndefined();
		expect(short.draftProblem).toMatch(/gpt-oss-head\.gguf would take another [\d.]+ MB of memory, which are not left/);
		expect(short.need).toEqual(alone);
		expect(short.engine.info.draftHead).toBeUndefined();
		await short.engine.close();
	});
});

describe('a head that does not fit', () => {
	const head = randomHead(shapes["speculators' style with a small vocabulary"]!, 1);
	const folderOf = (name: string, change: object, tensors: (all: Tensors) => Tensors = (all) => all) => {
		const made = headFolder(head);
		return writeFolder(folder, name, tensors(made.tensors), { 'config.json': { ...made.config, ...change } });
	};
	const refused = async (from: string, options: object = {}) =>
		convertFolder(from, `${from}.gguf`, options).then(
			() => 'converted',
			(error: Error) => error.message,
		);

	test('is refused when it is converted', async () => {
		expect(await refused(folderOf('h1', { norm_output: true }))).toMatch(
			'an EAGLE-3 head with norm_output is not supported',
		);
		expect(await refused(folderOf('h2', { target_hidden_size: 32 }), { target: targetFolder })).toMatch(
			'for a model of width 32',
		);
		expect(await refused(folderOf('h3', { eagle_aux_hidden_state_layer_ids: [1, 2] }))).toMatch('should be 3 layers');
		expect(await refused(folderOf('h4', {}, ({ d2t: _, ...all }) => all))).toMatch('lacks the tensor d2t');
		const wild = { dtype: 'I64', shape: [head.ids.length], bytes: new Uint8Array(8 * head.ids.length).fill(0x11) };
		expect(await refused(folderOf('h5', {}, (all) => ({ ...all, d2t: wild })))).toMatch('d2t maps draft token 0 to');
		// Without a target, the file has neither tokenizer nor layers. Hearth then takes both from the model that the head
		// is opened with.
		expect(await refused(folderOf('h6', { eagle_aux_hidden_state_layer_ids: null }))).toBe('converted');
	});

	test('is refused when it is opened, by name; so are wrong calls', async () => {
		const other = await makeModel(folder, 'other', { layers: 6 });
		const draftHead = path.join(folder, 'h6.gguf');
		await expect(native.openModel(other, { draftHead })).rejects.toThrow('is a draft head for a model of width 64');
		await expect(native.openModel(draftHead)).rejects.toThrow(
			'is a draft head for another model; choose it as the draft',
		);
		await expect(native.openModel(targetFile, { draftHead: targetFile })).rejects.toThrow('a draft head has "eagle3"');
		const without = await native.openModel(targetFile, { threads: 1 });
		const bare = without.createCache({ blocks: 1 });
		await expect(without.draft(bare, [])).rejects.toThrow('opened without a draft head');
		without.close();

		const model = await native.openModel(targetFile, { threads: 1, draftHead });
		const cache = model.createCache({ blocks: 2 });
		const request = { sequence: 0, position: 1, token: 1, limit: 2, blocks: Int32Array.of(0) };
		// The head knows nothing of this sequence yet.
		expect(await model.draft(cache, [request])).toEqual([new Int32Array(0)]);
		const step = {
			tokens: Int32Array.of(1),
			positions: Int32Array.of(0),
			sequences: Int32Array.of(0),
			outputs: Int32Array.of(0),
		};
		await model.step(cache, { ...step, blockTables: [Int32Array.of(0)], draftSequences: Int32Array.of(0) });
		await expect(model.draft(cache, [{ ...request, blocks: Int32Array.of(9) }])).rejects.toThrow(
			'cache block 9 is outside',
		);
		await expect(model.draft(cache, [{ ...request, limit: 40 }])).rejects.toThrow('has no cache block');
		await expect(model.draft(cache, [{ ...request, token: size }])).rejects.toThrow('outside the vocabulary');
		expect(() => model.draft(cache, [{ ...request, limit: -1 }])).toThrow('limit must be a whole number');
		await expect(
			model.step(cache, { ...step, blockTables: [Int32Array.of(0)], draftSequences: new Int32Array(2) }),
		).rejects.toThrow('draftSequences must name every sequence');
		expect((await model.draft(cache, [request]))[0]!.length).toBe(2);
		model.close();
	});
});
