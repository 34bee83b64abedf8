// Steps of several tokens on the CPU. They give the same bits as as many steps of one token, report each round, and end
// where they are told to.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openModel } from '../../../engine/loading/open-model';
import { loadNative, type NativeModel } from '../../../native/index';
import { randomTokens } from '../../support/forward';
import { makeModel, temporaryFolder } from '../../support/models';
import { claimingSpeed, Decoder, type Decoding } from '../../support/rounds';

const folder = temporaryFolder();
let file: string;
let model: NativeModel;
let sequences: Decoding[];
let plainly: Awaited<ReturnType<Decoder['decode']>>;
const nothing = () => sequences.map(() => []);

beforeAll(async () => {
	file = await makeModel(folder, 'rounds', { layers: 2 });
	model = await loadNative().openModel(file, { threads: 2, backend: 'cpu' });
	// The prompts end in the middle of a block, close to the end of one, and at the beginning of one.
	sequences = [27, 126, 1].map((length, i) => ({
		prompt: randomTokens(length, model.info.vocabularySize, 20 + i),
		sampling: { temperature: i === 0 ? 0 : 1, topK: 0, topP: 0.9, minP: 0, seed: i },
	}));
	const decoder = await Decoder.at(model, sequences, 16);
	plainly = await decoder.decode(15, 1);
	decoder.close();
});
afterAll(() => model.close());

test.each([2, 4, 15])('%i rounds have the bits of as many steps, for one sequence and for three', async (rounds) => {
	for (const some of [sequences, sequences.slice(1, 2)]) {
		const decoder = await Decoder.at(model, some, 16);
		const { tokens, probabilities, told } = await decoder.decode(15, rounds);
		decoder.close();
		const first = sequences.indexOf(some[0]!);
		expect(tokens).toEqual(plainly.tokens.slice(first, first + some.length));
		expect(probabilities).toEqual(plainly.probabilities.slice(first, first + some.length));
		expect(told).toBe(15 - Math.ceil(15 / rounds));
	}
});

test('forced tokens are the rows of later rounds', async () => {
	const decoder = await Decoder.at(model, sequences, 16);
	const forced = randomTokens(9, model.info.vocabularySize, 5);
	const { tokens } = await decoder.step(nothing(), 4, undefined, forced);
	for (let round = 0; round < 4; round++) {
		const since = sequences.map((_, i) => [...forced.subarray(0, 3 * round)].filter((_, at) => at % 3 === i));
		expect(tokens.subarray(3 * round, 3 * round + 3)).toEqual((await decoder.step(since, 1)).tokens);
	}
	decoder.close();
});

test.each([0, 1, 9])('end once each has met a stop id, in round %i at the latest', async (round) => {
	const stopping = sequences.map((sequence, i) => ({
		...sequence,
		stopIds: [plainly.tokens[i]!.at(Math.max(0, round - i))!],
	}));
	const ends = stopping.map(({ stopIds }, i) => plainly.tokens[i]!.indexOf(stopIds[0]!));
	const decoder = await Decoder.at(model, stopping, 16);
	const { tokens } = await decoder.step(nothing(), 15);
	decoder.close();
	expect(tokens.length).toBe(3 * (1 + Math.max(...ends)));
	expect([...tokens]).toEqual(Array.from(tokens, (_, i) => plainly.tokens[i % 3]![Math.floor(i / 3)]));
});

test('runs asked for so far end after their first round, later ones do not', async () => {
	const decoder = await Decoder.at(model, sequences, 16);
	const ended = [decoder.step(nothing(), 15), decoder.step(nothing(), 15)];
	model.endRuns();
	const next = decoder.step(nothing(), 15);
	expect((await ended[1]!).tokens).toEqual(Int32Array.from(plainly.tokens, (tokens) => tokens[0]!));
	expect((await next).tokens.length).toBe(45);
	decoder.close();
});

test('requests beside each other get the tokens that they get alone, a token at a time', async () => {
	const rounds: number[] = [];
	const { engine } = await openModel(file, {
		contextTokens: 256,
		cacheTokens: 1024,
		instrument: claimingSpeed(rounds),
	});
	try {
		const results = await Promise.all(
			sequences.map(({ prompt, sampling }, i) =>
				engine.generate({ tokens: prompt, sampling, priority: 'chat', maxTokens: 15 - i }),
			),
		);
		expect(results.map(({ tokens }) => tokens)).toEqual(plainly.tokens.map((tokens, i) => tokens.slice(0, 15 - i)));
		expect(Math.max(...rounds)).toBeGreaterThan(2);
	} finally {
		await engine.close();
	}
});
