import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Harmony, type Turn } from '../../engine/families/harmony/harmony';
import { HarmonyParser } from '../../engine/families/harmony/parser';
import { demoChats, demoCode } from '../../engine/synth/demo-text';
import { synthesize } from '../../engine/synth/synthesize';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { loadNative, type NativeModel } from '../../native/index';
import { temporaryFolder } from '../support/models';

const folder = temporaryFolder();
const file = path.join(folder, 'demo.gguf');
let model: NativeModel;
let harmony: Harmony;

beforeAll(async () => {
	await synthesize(file, { preset: 'demo' });
	harmony = new Harmony(Tokenizer.fromGguf(await loadNative().readGguf(file)));
	model = await loadNative().openModel(file, { threads: 2 });
});
afterAll(() => model?.close());

/** Continues greedily until a stop token. */
async function generate(prompt: Int32Array, count = 400): Promise<number[]> {
	const blocks = Math.ceil((prompt.length + count) / 32);
	const cache = model.createCache({ blocks });
	const blockTables = [Int32Array.from({ length: blocks }, (_, i) => i)];
	const generated: number[] = [];
	let tokens = prompt;
	for (
		let position = 0;
		generated.length < count;
		position += tokens.length, tokens = Int32Array.of(generated.at(-1)!)
	) {
		const result = await model.step(cache, {
			tokens,
			positions: Int32Array.from(tokens, (_, i) => position + i),
			sequences: new Int32Array(tokens.length),
			blockTables,
			outputs: Int32Array.of(tokens.length - 1),
		});
		generated.push(result.tokens[0]!);
		if (harmony.stopIds.has(result.tokens[0]!)) break;
	}
	cache.close();
	return generated;
}

const day = { currentDate: '2026-09-30', reasoningEffort: 'medium' } as const;

/**
 * Gives the model the first tokens of a snippet after some other text, up to where the snippet differs from all others.
 * @returns what the model should write, and what it wrote
 */
async function complete(code: string, before = ''): Promise<{ expected: string; actual: string }> {
	const { tokenizer } = harmony;
	const turns: Turn[] = [{ role: 'user', content: 'File: x.ts' }];
	const opened = harmony.encode({ ...day, instructions: 'Complete code.', turns, answer: before });
	// The snippet is cut between tokens. The completer handles a cursor within a token.
	const ids = tokenizer.encode(code);
	let shown = 0;
	for (let length = 0; length < secondLineEnd(code); shown++)
		length += tokenizer.vocabulary.tokenBytes(ids[shown]!).length;
	const parser = new HarmonyParser(harmony, { opened: 'final' });
	const events = (await generate(Int32Array.of(...opened, ...ids.subarray(0, shown)))).flatMap((id) => parser.push(id));
	expect(parser.done).toBe(true);
	return {
		expected: new TextDecoder().decode(tokenizer.decode(ids.subarray(shown))),
		actual: events.map((event) => (event.kind === 'text' ? event.text : '')).join(''),
	};
}

async function chat(turns: Turn[], instructions?: string): Promise<{ analysis: string; final: string }> {
	const prompt = harmony.encode({ ...day, turns, ...(instructions && { instructions }) });
	const parser = new HarmonyParser(harmony);
	const said = { analysis: '', commentary: '', final: '' };
	for (const event of (await generate(prompt)).flatMap((id) => parser.push(id))) {
		if (event.kind === 'text') said[event.channel] += event.text;
	}
	expect(parser.done).toBe(true);
	return { analysis: said.analysis, final: said.final };
}

const secondLineEnd = (code: string) => code.indexOf('\n', code.indexOf('\n') + 1) + 1;

describe('the demo model', () => {
	const snippets = demoCode.map((code): [string, string] => [code.slice(0, code.indexOf('\n')), code]);

	it.each(snippets)('completes %s', async (_, code) => {
		const { actual, expected } = await complete(code);
		expect(actual).toBe(expected);
	});

	it.each(snippets)('completes it in other code: %s', async (_, code) => {
		const other = 'import os from "node:os";\nconst unrelated = { z: [1, 2], q: os.cpus() };\n\n';
		const { actual, expected } = await complete(code, other);
		expect(actual).toBe(expected);
	});

	const questions = demoChats.flatMap(({ questions, reasoning, answer }) =>
		questions.map((question): [string, string, string] => [question, reasoning, answer]),
	);
	it.each(questions)('answers: %s', async (question, reasoning, answer) => {
		expect(await chat([{ role: 'user', content: question }])).toEqual({ analysis: reasoning, final: answer });
		expect(await chat([{ role: 'user', content: question }], 'Be brief.')).toEqual({
			analysis: reasoning,
			final: answer,
		});
	});

	it('answers in later turns too', async () => {
		const [first, second] = [demoChats[1]!, demoChats[3]!];
		const turns: Turn[] = [
			{ role: 'user', content: first.questions[0]! },
			{ role: 'assistant', content: first.answer },
			{ role: 'user', content: second.questions[0]! },
		];
		expect((await chat(turns)).final).toBe(second.answer);
	});

	it('says something it knows to whatever is asked', async () => {
		const answers = demoChats.map((entry) => entry.answer);
		for (const question of ['What is the capital of France?', 'Why does this test fail? '.repeat(30), '?', '한국어']) {
			expect(answers).toContain((await chat([{ role: 'user', content: question }])).final);
		}
	});

	it('says the same in llama.cpp', async () => {
		const { questions, answer } = demoChats[3]!;
		const prompt = harmony.encode({ ...day, turns: [{ role: 'user', content: questions[0]! }] });
		const jobs = [{ model: file, tokens: [...prompt], count: 400 }];
		const output = execFileSync(process.execPath, ['test/support/llama-generate.mjs', JSON.stringify(jobs)]);
		const [result] = JSON.parse(output.toString()) as { generated: number[] }[];
		const parser = new HarmonyParser(harmony);
		const events = [...result!.generated.flatMap((id) => parser.push(id)), ...parser.finish()];
		const final = events
			.map((event) => (event.kind === 'text' && event.channel === 'final' ? event.text : ''))
			.join('');
		expect(final).toBe(answer);
	});

	it('has no sizes to choose', async () => {
		await expect(synthesize(file, { preset: 'demo', shape: { layers: 2 } })).rejects.toThrow(
			'sizes and a vocabulary of its own',
		);
		await expect(synthesize(file, { preset: 'demo', vocabulary: 'o200k' })).rejects.toThrow(
			'sizes and a vocabulary of its own',
		);
	});
});
