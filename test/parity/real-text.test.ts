// A real model on real text, compared with llama.cpp: perplexity over code and prose of this repository, and greedy
// continuations. It reads a fifth of the text. HEARTH_PERPLEXITY=all reads all of it, more than 20,000 tokens;
// llama.cpp then takes five minutes of processor time.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { type OpenOptions, openModel } from '../../engine/loading/open-model';
import { displayName } from '../../engine/models/display-name';
import { readHeader } from '../../engine/models/header';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { loadNative, type NativeModel } from '../../native/index';
import { forward } from '../support/forward';
import { temporaryFolder } from '../support/models';
import { needs } from '../support/needs';
import { smollm2, smollm2Model } from '../support/real-model';

const root = path.resolve(import.meta.dirname, '..', '..');
const folder = temporaryFolder();

/** Tokens of a chunk. Each chunk is computed from nothing before it. */
const CHUNK = 1024;
const TEXTS = {
	code: [
		'engine/runtime/step-loop.ts',
		'engine/runtime/scheduler.ts',
		'engine/runtime/drafting.ts',
		'engine/completion/completer.ts',
		'native/cpu/cpu_backend.cpp',
		'scripts/test.mjs',
	],
	prose: [
		'README.md',
		'docs/architecture.md',
		'docs/performance.md',
		'docs/language-server.md',
		'LICENSE',
		'CHANGELOG.md',
	],
};
const ALL = process.env['HEARTH_PERPLEXITY'] === 'all';
/** The number of chunks of each kind of text. */
const CHUNKS = ALL ? { code: 12, prose: 9 } : { code: 2, prose: 2 };
const PROMPTS = [
	'function add(a: number, b: number): number {\n\treturn',
	'The capital of France is',
	'def fibonacci(n):\n    if n < 2:\n        return n\n    return',
	'import { readFileSync } from "node:fs";\n\nconst text = readFileSync(',
	'Water boils at 100 degrees Celsius because',
];
const LENGTH = 48;

describe('SmolLM2-135M-Instruct', needs(smollm2Model), () => {
	let model: NativeModel;
	let tokenizer: Tokenizer;
	let kinds: { kind: keyof typeof TEXTS; ids: number[] }[];
	let prompts: number[][];
	let theirs: { losses: number[]; continuations: number[][] };

	beforeAll(async () => {
		model = await loadNative().openModel(smollm2!, { threads: 2 });
		tokenizer = Tokenizer.fromGguf(await readHeader(smollm2!));
		kinds = (Object.keys(TEXTS) as (keyof typeof TEXTS)[]).flatMap((kind) => {
			const text = TEXTS[kind].map((file) => readFileSync(path.join(root, file), 'utf8')).join('\n');
			const ids = [...tokenizer.encode(text)];
			const chunks = Array.from({ length: CHUNKS[kind] }, (_, i) => ids.slice(i * CHUNK, (i + 1) * CHUNK));
			return chunks.filter((chunk) => chunk.length === CHUNK).map((chunk) => ({ kind, ids: chunk }));
		});
		prompts = PROMPTS.map((prompt) => [...tokenizer.encode(prompt)]);
		const [jobs, out] = [path.join(folder, 'jobs.json'), path.join(folder, 'out.json')];
		writeFileSync(jobs, JSON.stringify({ chunks: kinds.map(({ ids }) => ids), prompts, length: LENGTH }));
		const script = path.join(import.meta.dirname, 'llama-real-text.mjs');
		await promisify(execFile)(process.execPath, [script, smollm2!, jobs, out]);
		theirs = JSON.parse(readFileSync(out, 'utf8'));
	});

	it('has the perplexity that it has in llama.cpp, within 0.5 %', async () => {
		const sums = { code: [0, 0, 0], prose: [0, 0, 0] } as Record<keyof typeof TEXTS, [number, number, number]>;
		for (const [i, { kind, ids }] of kinds.entries()) {
			const sum = sums[kind];
			sum[0] += await lossOf(model, ids);
			sum[1] += theirs.losses[i]!;
			sum[2] += ids.length - 1;
		}
		const rows = Object.entries(sums).map(([kind, [ours, llama, tokens]]) => ({
			kind,
			tokens,
			hearth: Math.exp(ours / tokens),
			llama: Math.exp(llama / tokens),
		}));
		mkdirSync(path.join(root, 'test', 'output'), { recursive: true });
		writeFileSync(path.join(root, 'test', 'output', 'perplexity.json'), `${JSON.stringify(rows, undefined, '\t')}\n`);
		expect(rows.reduce((sum, { tokens }) => sum + tokens, 0)).toBeGreaterThan(ALL ? 20_000 : 4000);
		for (const { kind, hearth, llama } of rows) {
			expect(Math.abs(hearth / llama - 1), `${kind}: ${hearth} and ${llama}`).toBeLessThan(0.005);
		}
	});

	it('writes the same with a draft model, which is right where it is the same model', async () => {
		const options = { contextTokens: 512, threads: 2, repack: false };
		const prompt = prompts[0]!;
		const write = async (more: OpenOptions) => {
			const { engine, draft } = await openModel(smollm2!, { ...options, ...more });
			const result = await engine.generate({ tokens: prompt, priority: 'chat', maxTokens: LENGTH });
			await engine.close();
			return { ...result, draft };
		};
		const plain = await write({ speculation: false });
		const drafted = await write({ draftModelPath: smollm2! });
		expect(drafted.draft).toBe(displayName(smollm2!, model.info.name));
		expect(drafted.tokens).toEqual(plain.tokens);
		expect(drafted.drafts.proposed).toBeGreaterThan(0);
	});

	// The choices depend on the processor, for llama.cpp as for us: AMX rounds activations differently than AVX2. Where
	// our choice is another one, the F32 reference judges. It may rate our choice lower by no more than rounding can
	// change the difference of two logits. The row itself tells how large rounding is, and it must be small.
	it('chooses as llama.cpp does along its continuations, or a token that is about as likely', async () => {
		const reference = await loadNative().openModel(smollm2!, { threads: 2, kernels: 'reference' });
		const vocabulary = model.info.vocabularySize;
		let agreed = 0;
		for (const [i, prompt] of prompts.entries()) {
			const continuation = theirs.continuations[i]!;
			const positions = continuation.map((_, j) => prompt.length - 1 + j);
			const along = (other: NativeModel) => forward(other, [...prompt, ...continuation], { positions });
			const [logits, exact] = [await along(model), await along(reference)];
			for (const [j, token] of continuation.entries()) {
				const row = (of: Float32Array) => of.subarray(j * vocabulary, (j + 1) * vocabulary);
				const ours = argmax(row(logits));
				agreed += Number(ours === token);
				if (ours === token) continue;
				const rounding = deviation(row(logits), row(exact));
				expect(rounding, `${PROMPTS[i]}: token ${j}`).toBeLessThan(0.2);
				const off = row(exact)[argmax(row(exact))]! - row(exact)[ours]!;
				expect(off, `${PROMPTS[i]}: token ${j}`).toBeLessThan(3 * Math.SQRT2 * rounding);
			}
		}
		reference.close();
		expect(agreed).toBeGreaterThan(prompts.length * LENGTH * 0.95);
	});
});

/**
 * The standard deviation of the differences of two rows' values. A difference that all values share does not count,
 * since it changes no choice.
 */
function deviation(a: Float32Array, b: Float32Array): number {
	let [sum, squares] = [0, 0];
	for (let i = 0; i < a.length; i++) {
		const difference = a[i]! - b[i]!;
		sum += difference;
		squares += difference ** 2;
	}
	return Math.sqrt(squares / a.length - (sum / a.length) ** 2);
}

function argmax(row: Float32Array): number {
	return row.reduce((best, value, i) => (value > row[best]! ? i : best), 0);
}

/** Resolves to the sum of −ln p of all tokens but the first. */
async function lossOf(model: NativeModel, ids: readonly number[]): Promise<number> {
	const vocabulary = model.info.vocabularySize;
	const cache = model.createCache({ blocks: Math.ceil(ids.length / 32) });
	let loss = 0;
	for (let start = 0; start < ids.length; start += 128) {
		const end = Math.min(ids.length, start + 128);
		const logits = await forward(model, ids.slice(0, end), { cache, start, chunk: 128 });
		for (let at = start; at < Math.min(end, ids.length - 1); at++) {
			const row = logits.subarray((at - start) * vocabulary, (at - start + 1) * vocabulary);
			let most = Number.NEGATIVE_INFINITY;
			for (const value of row) if (value > most) most = value;
			let weight = 0;
			for (const value of row) weight += Math.exp(value - most);
			loss += Math.log(weight) + most - row[ids[at + 1]!]!;
		}
	}
	cache.close();
	return loss;
}
