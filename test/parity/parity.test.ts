// Model parity: our fast kernels and llama.cpp are each compared with the F32 reference, on models of several shapes.
// | Both engines round: they round activations to int8 or 16 bits before products, and keys and values to F16 in the
// cache. The reference has every weight and activation in F32 and sums in double. The measures are how far rounding
// takes each engine from the reference: the Kullback–Leibler divergence of the next token's distribution, and whether
// the most likely token is the same. The reference can be wrong, too. llama.cpp therefore decides what gpt-oss is, and
// its distance from the reference shows how much rounding is normal.
// | Random weights make many near-ties in the router and in the head. Rounding decides a tie, for both engines alike.
// The positions of a prompt and the prompts of a model share their ties, so one model is one sample of the statistics.
// There are several models of each shape, and the error of a mean comes from how the models differ.
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

/** 5 positions fit a cache block, 200 go beyond the window of 128, and 5,000 go beyond the 4,096 that YaRN extends. */
const lengths = [5, 200, 5000] as const;

/** The prompts of one model. The longest prompt costs most, so only the first model of a shape gets it. */
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

/** The results of one model's prompts of one length. */
interface Unit {
	shape: string;
	seed: number;
	length: number;
	hearth: PositionDistance[];
	llama: PositionDistance[];
}
const units: Unit[] = [];

/**
 * The fast kernels with OpenAI's rounding of YaRN, compared with the reference with llama.cpp's rounding, over 5,000
 * tokens.
 */
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
/** The log of our divergence divided by llama.cpp's: `typicalRatio` of the geometric mean, `meanRatio` of the mean. */
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

	// For equal engines, the mean over the models is 0 within its standard error. Chance exceeds 3 standard errors once
	// in 270 runs (Student's t, 19 degrees of freedom).
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

	// The mean over all shapes would hide a fault of one shape. The ratios of one shape's random models have a standard
	// deviation of about 15 %. That makes 8 % for the mean of 4 models, and 15 % for the single model with 5,000 tokens;
	// 1.6 is three deviations of the latter.
	describe.each(Object.keys(shapes))('%s', (shape) => {
		test.each(lengths)('%i tokens', (length) => {
			const chosen = units.filter((unit) => unit.shape === shape && unit.length === length);
			expect(Math.exp(mean(chosen.map(typicalRatio)))).toBeLessThan(1.6);
		});
	});
});
