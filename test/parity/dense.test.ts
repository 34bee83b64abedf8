// Parity of the dense architectures, of qwen3moe and of every tensor type: our fast kernels and llama.cpp, each against the F32
// reference, as parity.test.ts does for gpt-oss.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadNative } from '../../native/index';
import { forward, randomTokens } from '../support/forward';
import { denseShapes, makeModel, temporaryFolder } from '../support/models';
import { distances, mean, type PositionDistance } from './distance';
import { llamaLogits, type Prompt } from './llama';

const folder = temporaryFolder();
const native = loadNative();
const names = Object.keys(denseShapes) as (keyof typeof denseShapes)[];

/** Within a cache block, and beyond the 128 positions that RoPE's scalings extend. */
function promptsFor(vocabulary: number): Prompt[] {
	const prompt = (length: number, seed: number): Prompt => ({
		tokens: randomTokens(length, vocabulary, seed),
		positions: Array.from({ length }, (_, i) => i),
	});
	return [...Array.from({ length: 8 }, (_, i) => prompt(5, i)), prompt(300, 8)];
}

const results = new Map<string, { hearth: PositionDistance[]; llama: PositionDistance[] }>();

async function measure(name: keyof typeof denseShapes): Promise<void> {
	const file = await makeModel(folder, name.replaceAll(/\W+/g, '-'), denseShapes[name]);
	const logitsOf = async (kernels: 'auto' | 'reference', prompts?: Prompt[]) => {
		const model = await native.openModel(file, { kernels, rope: 'llamacpp', threads: 1 });
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
	// A fault of the reference would take llama.cpp far from it, to 0.1 nats and more; rounding makes up to 0.001.
	test('llama.cpp and Hearth are close to the reference', () => {
		for (const list of Object.values(results.get(name)!)) {
			expect(typical(list)).toBeLessThan(0.004);
			expect(agreement(list)).toBeGreaterThan(0.9);
		}
	});

	// Ratios here are 1.04 and less; K-quants, whose activations llama.cpp rounds in blocks of 256 and we of 32, come to half.
	test('Hearth is no farther from it than llama.cpp', () => {
		const { hearth, llama } = results.get(name)!;
		expect(typical(hearth) / typical(llama)).toBeLessThan(1.25);
	});
});
