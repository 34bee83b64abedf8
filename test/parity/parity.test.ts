// Model parity: our fast kernels and llama.cpp, each against the F32 reference, on models of several shapes.
//
// Both engines round: activations to int8 or 16 bits before products, keys and values to F16 in the cache. How far that
// takes each from the reference (every weight and activation F32, sums in double) is the measure: Kullback–Leibler divergence
// of the next token's distribution, and whether the most likely token is the same. llama.cpp is the judge of what gpt-oss is
// (the reference can be wrong too), and its distance is the yardstick of how much rounding is normal.
//
// Random weights make many near-ties in the router and in the head; at a tie rounding decides, for both engines alike. The
// positions of a prompt and the prompts of a model share their ties, so the unit of the statistics is a model: there are several
// of each shape, and the error of a mean comes from how the models differ.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadNative, type RopeMode } from '../../native/index';
import { forward, randomTokens } from '../support/forward';
import { makeModel, shapes, temporaryFolder } from '../support/models';
import { distances, mean, type PositionDistance, standardError } from './distance';
import { llamaLogits, type Prompt } from './llama';

const folder = temporaryFolder();
const native = loadNative();

const every = (from: number, to: number, step = 1) =>
	Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step);

/** Within a cache block; beyond the window of 128; beyond the 4,096 positions that YaRN extends. */
const lengths = [5, 200, 5000] as const;

/** The prompts of one model. The long one costs most, so only the first model of a shape gets it. */
function promptsFor(seed: number, vocabulary: number): Prompt[] {
	const prompt = (length: number, number: number, positions: number[]): Prompt => ({
		tokens: randomTokens(length, vocabulary, 1000 * seed + number),
		positions,
	});
	return [
		...every(0, 20).map((i) => prompt(5, i, every(0, 5))),
		...every(20, 22).map((i) => prompt(200, i, every(0, 200))),
		...(seed === 1 ? [prompt(5000, 22, [...every(200, 4096, 24), ...every(4096, 5000, 4)])] : []),
	];
}
const seeds = [1, 2, 3, 4];

/** One model's prompts of one length. */
interface Unit {
	shape: string;
	seed: number;
	length: number;
	hearth: PositionDistance[];
	llama: PositionDistance[];
}
const units: Unit[] = [];

/** The fast kernels with OpenAI's rounding of YaRN, against the reference with llama.cpp's, over 5,000 tokens. */
let otherRope: PositionDistance[];

async function logitsOf(file: string, kernels: 'auto' | 'reference', rope: RopeMode, prompts: Prompt[]) {
	const model = await native.openModel(file, { kernels, rope, threads: 2 });
	const results: Float32Array[] = [];
	for (const { tokens, positions } of prompts) results.push(await forward(model, tokens, { positions }));
	model.close();
	return results;
}

async function measure(shape: keyof typeof shapes, seed: number): Promise<void> {
	const file = await makeModel(folder, `${shape.replaceAll(/\W+/g, '-')}-${seed}`, shapes[shape], seed);
	const model = await native.openModel(file);
	const vocabulary = model.info.vocabularySize;
	model.close();
	const prompts = promptsFor(seed, vocabulary);
	const reference = await logitsOf(file, 'reference', 'llamacpp', prompts);
	const hearth = await logitsOf(file, 'auto', 'llamacpp', prompts);
	const llama = await llamaLogits(file, prompts, vocabulary);
	if (shape === 'window of 1, F32' && seed === 1) {
		const long = prompts.findIndex(({ tokens }) => tokens.length === 5000);
		const [other] = await logitsOf(file, 'auto', 'reference', [prompts[long]!]);
		otherRope = distances(reference[long]!, other!, vocabulary);
	}
	for (const length of lengths) {
		const chosen = [...prompts.keys()].filter((i) => prompts[i]!.tokens.length === length);
		if (chosen.length === 0) continue;
		units.push({
			shape,
			seed,
			length,
			hearth: chosen.flatMap((i) => distances(reference[i]!, hearth[i]!, vocabulary)),
			llama: chosen.flatMap((i) => distances(reference[i]!, llama[i]!, vocabulary)),
		});
	}
}

/** A divergence below this is rounding of the comparison itself. */
const FLOOR = 1e-9;
const logOf = (kl: number) => Math.log(Math.max(FLOOR, kl));
/** log(ours / llama.cpp's): of the typical (geometric mean) divergence, and of the mean one. */
const typicalRatio = ({ hearth, llama }: Unit) => mean(hearth.map((d, i) => logOf(d.kl) - logOf(llama[i]!.kl)));
const meanRatio = ({ hearth, llama }: Unit) =>
	logOf(mean(hearth.map((d) => d.kl))) - logOf(mean(llama.map((d) => d.kl)));
const lostAgreement = ({ hearth, llama }: Unit) =>
	mean(hearth.map((d, i) => Number(llama[i]!.sameTop) - Number(d.sameTop)));

describe('against llama.cpp and the F32 reference', () => {
	beforeAll(async () => {
		for (const shape of Object.keys(shapes) as (keyof typeof shapes)[])
			for (const seed of seeds) await measure(shape, seed);
	});

	afterAll(() => {
		const kl = (list: PositionDistance[]) => mean(list.map((d) => d.kl)).toExponential(2);
		const same = (list: PositionDistance[]) => `${(100 * mean(list.map((d) => Number(d.sameTop)))).toFixed(1)} %`;
		const table = Object.keys(shapes).flatMap((shape) =>
			lengths.map((length) => {
				const chosen = units.filter((unit) => unit.shape === shape && unit.length === length);
				const hearth = chosen.flatMap((unit) => unit.hearth);
				const llama = chosen.flatMap((unit) => unit.llama);
				return {
					model: shape,
					tokens: length,
					positions: hearth.length,
					'KL(F32 ‖ Hearth)': kl(hearth),
					'KL(F32 ‖ llama.cpp)': kl(llama),
					'typical ratio': Math.exp(mean(chosen.map(typicalRatio))).toFixed(2),
					'same top: Hearth': same(hearth),
					'same top: llama.cpp': same(llama),
				};
			}),
		);
		console.table(table);
	});

	// The mean over the models of equal engines is 0 with its standard error; chance passes 3 of those once in 270 (Student's t,
	// 19 degrees of freedom).
	test.each([
		['typical divergence', typicalRatio],
		['mean divergence', meanRatio],
		['top-token agreement', lostAgreement],
	])('Hearth is no farther from the reference than llama.cpp: %s', (_name, difference) => {
		const models = Object.keys(shapes).flatMap((shape) =>
			seeds.map((seed) =>
				mean(units.filter((unit) => unit.shape === shape && unit.seed === seed).map((unit) => difference(unit))),
			),
		);
		expect(mean(models)).toBeLessThanOrEqual(3 * standardError(models));
	});

	test('the measure is fine enough to see how the two round YaRN', () => {
		const same = units.find((unit) => unit.shape === 'window of 1, F32' && unit.length === 5000)!;
		expect(mean(otherRope.map((d) => d.kl))).toBeGreaterThan(3 * mean(same.hearth.map((d) => d.kl)));
		expect(mean(otherRope.map((d) => d.kl))).toBeGreaterThan(3 * mean(same.llama.map((d) => d.kl)));
	});

	// A fault of one shape only would drown in the rest. Ratios of one shape's random models differ by about ±15 % (standard
	// deviation), so 4 models by ±8 %, and the single one of 5,000 tokens by ±15 %: 1.6 is three deviations of the latter.
	describe.each(Object.keys(shapes))('%s', (shape) => {
		test.each(lengths)('%i tokens', (length) => {
			const chosen = units.filter((unit) => unit.shape === shape && unit.length === length);
			expect(Math.exp(mean(chosen.map(typicalRatio)))).toBeLessThan(1.6);
		});
	});
});
