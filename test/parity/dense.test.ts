// Parity of the dense architectures, of qwen3moe and of every tensor type. Our fast kernels and llama.cpp are each
// compared with the F32 reference, as parity.test.ts does for gpt-oss.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ModelShape } from '../../engine/synth/architecture';
import { type KernelSet, loadNative, type RopeMode } from '../../native/index';
import { forward, randomTokens } from '../support/forward';
import { type RawValue, scalar, withMetadata } from '../support/gguf-edit';
import { makeModel, otherShapes, temporaryFolder } from '../support/models';
import { distances, mean, type PositionDistance } from './distance';
import { llamaLogits, type Prompt } from './llama';

const folder = temporaryFolder();
const native = loadNative();
const names = Object.keys(otherShapes) as (keyof typeof otherShapes)[];

/**
 * The short prompts fit one cache block. The long one goes beyond the 128 positions after which RoPE's scalings matter.
 */
function promptsFor(vocabulary: number): Prompt[] {
	const prompt = (length: number, seed: number): Prompt => ({
		tokens: randomTokens(length, vocabulary, seed),
		positions: Array.from({ length }, (_, i) => i),
	});
	return [...Array.from({ length: 8 }, (_, i) => prompt(5, i)), prompt(300, 8)];
}

const results = new Map<string, { hearth: PositionDistance[]; llama: PositionDistance[] }>();

/**
 * RoPE as the model's publisher computes it. Only for gpt-oss does llama.cpp differ: it rounds the correction range of
 * YaRN otherwise.
 */
const ropeOf = (name: string): RopeMode => (name.startsWith('gpt-oss') ? 'llamacpp' : 'reference');

async function measure(name: keyof typeof otherShapes): Promise<void> {
	const file = await makeModel(folder, name.replaceAll(/\W+/g, '-'), otherShapes[name]);
	const logitsOf = async (kernels: 'auto' | 'reference', prompts?: Prompt[]) => {
		const model = await native.openModel(file, { kernels, rope: ropeOf(name), threads: 1 });
		const vocabulary = model.info.vocabularySize;
		const asked = prompts ?? promptsFor(vocabulary);
		const logits: Float32Array[] = [];
		for (const { tokens, positions } of asked) logits.push(await forward(model, tokens, { positions }));
		model.close();
		return { vocabulary, prompts: asked, logits };
	};
	const { vocabulary, prompts, logits: reference } = await logitsOf('reference');
	const hearth = (await logitsOf('auto', prompts)).logits;
	const llama = await llamaLogits(file, prompts, vocabulary, 1);
	const all = (other: Float32Array[]) => reference.flatMap((logits, i) => distances(logits, other[i]!, vocabulary));
	results.set(name, { hearth: all(hearth), llama: all(llama) });
}

/** A divergence below this is rounding of the comparison itself. */
const FLOOR = 1e-9;
/**
 * This is above what rounding makes of F32 weights (1e-8) and far below what another correction range makes (3e-5 and
 * more).
 */
const CLOSE = 1e-6;
const typical = (list: PositionDistance[]) => Math.exp(mean(list.map(({ kl }) => Math.log(Math.max(FLOOR, kl)))));
const agreement = (list: PositionDistance[]) => mean(list.map(({ sameTop }) => Number(sameTop)));

beforeAll(async () => {
	for (const name of names) await measure(name);
});

afterAll(() => {
	console.table(
		[...results].map(([model, { hearth, llama }]) => ({
			model,
			positions: hearth.length,
			'KL(F32 ‖ Hearth)': typical(hearth).toExponential(2),
			'KL(F32 ‖ llama.cpp)': typical(llama).toExponential(2),
			'typical ratio': (typical(hearth) / typical(llama)).toFixed(2),
			'same top: Hearth': `${(100 * agreement(hearth)).toFixed(1)} %`,
			'same top: llama.cpp': `${(100 * agreement(llama)).toFixed(1)} %`,
		})),
	);
});

describe.each(names)('%s', (name) => {
	// A fault of the reference would put llama.cpp at 0.1 nats and more. Rounding makes at most 0.001.
	test('llama.cpp and Hearth are close to the reference', () => {
		for (const list of Object.values(results.get(name)!)) {
			expect(typical(list)).toBeLessThan(0.004);
			expect(agreement(list)).toBeGreaterThan(0.9);
		}
	});

	// The ratios are 1.04 and less here. With K-quants they are about half, because llama.cpp rounds activations in
	// blocks of 256 and we round them in blocks of 32.
	test('Hearth is no farther from it than llama.cpp', () => {
		const { hearth, llama } = results.get(name)!;
		expect(typical(hearth) / typical(llama)).toBeLessThan(1.25);
	});
});

// YaRN as real models have it: the range of mixed frequencies begins and ends between two dimensions. Whether its ends
// are rounded thus shows even where the context is far from full.
describe('YaRN over an original context of 32768', () => {
	const positions = [400, 599];
	const long = { layers: 3, embedding: 256, feedForward: 256, heads: 4, headsKv: 2, headLength: 64 } as const;
	const plain = { ...long, contextLength: 2048, ropeScaling: 'yarn', attentionType: 'F32' } as const;

	async function yarnModel(
		name: string,
		architecture: ModelShape['architecture'],
		changes: Record<string, RawValue> = {},
	): Promise<string> {
		const shape: Partial<ModelShape> = { ...plain, architecture, feedForwardType: 'F32' };
		const file = await makeModel(folder, name, { ...shape, experts: 8, expertsUsed: 2 });
		const edited = withMetadata(readFileSync(file), {
			[`${architecture}.rope.scaling.original_context_length`]: scalar('u32', 32768),
			[`${architecture}.rope.freq_base`]: scalar('f32', 1e6),
			...changes,
		});
		const target = path.join(folder, `${name}-long.gguf`);
		writeFileSync(target, edited);
		return target;
	}

	async function logitsOf(file: string, kernels: KernelSet, rope?: RopeMode) {
		const model = await native.openModel(file, { kernels, threads: 1, ...(rope && { rope }) });
		const vocabulary = model.info.vocabularySize;
		const tokens = randomTokens(600, vocabulary, 5);
		const logits = await forward(model, tokens, { positions });
		model.close();
		return { vocabulary, tokens, logits };
	}

	/** The divergence of our logits from llama.cpp's, at each position. */
	async function divergence(file: string, kernels: KernelSet, rope?: RopeMode): Promise<number[]> {
		const { vocabulary, tokens, logits } = await logitsOf(file, kernels, rope);
		const [llama] = await llamaLogits(file, [{ tokens, positions }], vocabulary, 1);
		return distances(llama!, logits, vocabulary).map(({ kl }) => kl);
	}

	test.each(['llama', 'qwen2', 'qwen3', 'qwen3moe'] as const)(
		'%s: the default is what llama.cpp computes',
		async (architecture) => {
			const file = await yarnModel(architecture, architecture);
			for (const kernels of ['auto', 'reference'] as const) {
				for (const kl of await divergence(file, kernels)) expect(kl, kernels).toBeLessThan(CLOSE);
			}
		},
	);

	test('a file may say that the range is not rounded, and llamacpp rounds it all the same', async () => {
		const truncate = { 'qwen3.rope.scaling.yarn_truncate': scalar('bool', 0) };
		const file = await yarnModel('unrounded', 'qwen3', truncate);
		for (const kl of await divergence(file, 'auto')) expect(kl).toBeGreaterThan(10 * CLOSE);
		for (const kl of await divergence(file, 'auto', 'llamacpp')) expect(kl).toBeLessThan(CLOSE);
	});

	test('gpt-oss does not round it unless its file says so', async () => {
		const file = await yarnModel('gpt-oss', 'gpt-oss');
		for (const kl of await divergence(file, 'auto')) expect(kl).toBeGreaterThan(10 * CLOSE);
		for (const kl of await divergence(file, 'auto', 'llamacpp')) expect(kl).toBeLessThan(CLOSE);
		const rounded = await yarnModel('rounded', 'gpt-oss', { 'gpt-oss.rope.scaling.yarn_truncate': scalar('bool', 1) });
		for (const kl of await divergence(rounded, 'auto')) expect(kl).toBeLessThan(CLOSE);
	});

	test('backends share one table: the reference and the fast kernels agree on each kind of file', async () => {
		for (const truncate of [0, 1]) {
			const key = { 'qwen3.rope.scaling.yarn_truncate': scalar('bool', truncate) };
			const file = await yarnModel(`shared-${truncate}`, 'qwen3', key);
			const [fast, plain] = [await logitsOf(file, 'auto'), await logitsOf(file, 'reference')];
			for (const { kl } of distances(plain.logits, fast.logits, plain.vocabulary)) expect(kl).toBeLessThan(CLOSE);
		}
	});
});
