// Compares the tokenizers with llama.cpp's: on its published test vectors, and with its own tokenizer on real text. The
// vocabularies are those of the real SmolLM2 file and made ones with each pre-tokenizer.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import gpt2Ranks from 'gpt-tokenizer/bpeRanks/r50k_base';
import { describe, expect, it } from 'vitest';
import { requireStrings } from '../../engine/gguf/metadata';
import { stringTable } from '../../engine/gguf/string-table';
import { type GgufValue, writeGguf } from '../../engine/gguf/writer';
import { openModel } from '../../engine/loading/open-model';
import { readHeader } from '../../engine/models/header';
import {
	rankedVocabulary,
	trainedVocabulary,
	type VocabularyTables,
	vocabularyHeader,
} from '../../engine/synth/vocabulary';
import { TokenType } from '../../engine/tokenizer/token-type';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { headerFields } from '../support/gguf-fields';
import { temporaryFolder } from '../support/models';
import { needs } from '../support/needs';
import { smollm2, smollm2Model } from '../support/real-model';
import { gpt2Ids, smollmIds, texts } from './llama-vectors';

const folder = temporaryFolder();
const root = path.resolve(import.meta.dirname, '..', '..');

function llamaIds(model: string, given: readonly string[]): number[][] {
	const script = path.join(import.meta.dirname, 'llama-tokenizer.mjs');
	const [textFile, outFile] = ['texts', 'ids'].map((name) => path.join(folder, `${name}.json`)) as [string, string];
	writeFileSync(textFile, JSON.stringify(given));
	const { status, stderr } = spawnSync(process.execPath, [script, model, textFile, outFile], { encoding: 'utf8' });
	if (status !== 0) throw new Error(stderr);
	return JSON.parse(readFileSync(outFile, 'utf8')) as number[][];
}

/** Writes a file that has nothing but a vocabulary. */
async function vocabularyFile(name: string, pre: string, vocabulary: VocabularyTables): Promise<string> {
	const file = path.join(folder, `${name}.gguf`);
	const metadata = new Map<string, GgufValue>([
		['general.architecture', { type: 'string', value: 'llama' }],
		['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
		['tokenizer.ggml.pre', { type: 'string', value: pre }],
		['tokenizer.ggml.tokens', { type: 'strings', value: vocabulary.tokens }],
		['tokenizer.ggml.token_type', { type: 'i32s', value: vocabulary.tokenTypes }],
		['tokenizer.ggml.merges', { type: 'strings', value: vocabulary.merges }],
		['tokenizer.ggml.bos_token_id', { type: 'u32', value: vocabulary.bosId }],
		['tokenizer.ggml.eos_token_id', { type: 'u32', value: vocabulary.eosId }],
	]);
	await writeGguf(file, metadata, []);
	return file;
}

/** Compares the ids of a text. A failure shows the text around the first difference rather than all ids. */
function expectSame(tokenizer: Tokenizer, text: string, theirs: readonly number[]): void {
	const ours = tokenizer.encode(text);
	const at = theirs.findIndex((id, i) => ours[i] !== id);
	if (at < 0 && ours.length === theirs.length) return;
	const from = Math.max(0, at - 5);
	const near = new TextDecoder().decode(tokenizer.decode(theirs.slice(from, from + 15)));
	expect([...ours.slice(from, from + 15)], JSON.stringify(near)).toEqual(theirs.slice(from, from + 15));
}

/** Source code and prose of this repository, and many scripts. */
function realTexts(): string[] {
	const files = ['engine', 'native/cpu', 'docs', 'scripts/sample'].flatMap((name) =>
		readdirSync(path.join(root, name), { withFileTypes: true, recursive: true })
			.filter((entry) => entry.isFile() && /\.(?:ts|md|py|cpp|h)$/.test(entry.name))
			.map((entry) => readFileSync(path.join(entry.parentPath, entry.name), 'utf8')),
	);
	return [...files, ...texts, scripts, ...scripts.split('\n')];
}

const scripts = `Ελληνικά: Η γρήγορη αλεπού. Русский: Съешь же ещё этих мягких булок. Українська: їжак ґанок. Čeština: žluťoučký kůň
中文：天地玄黄，宇宙洪荒。日本語：いろはにほへと　ちりぬるを。カタカナ、ﾊﾝｶｸ。한국어: 키스의 고유조건은 입술끼리 만나야 한다.
العربية: نص حكيم له سر قاطع. עברית: דג סקרן שט בים. فارسی: می‌خواهم. हिन्दी: ऋषियों को सताने वाले। தமிழ்: யாமறிந்த. ไทย: เป็นมนุษย์
ქართული: ბგერა. Հայերեն: Բել. አማርኛ: ሰላም። Ǆ ǅ ǆ ﬁ Ⅷ ⅷ ½ ² ٣٤٥٦٧ १२३४५ 𝟘𝟙𝟚𝟛 𝕳𝖊𝖑𝖑𝖔 𐐷𐐨 ꧁
👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ❤️ 1️⃣ e\u0301 A\u0300B \u0301ab +\u0301x \u200d\u200b\u00a0\u3000x\u2028y
I'll, you'RE, they've, DON'T, we'D 'tis o'clock ''s 12345678 3.14159 0xDEADBEEF x1y22z333 \t\t tabs \n\r\n\r\n   \n  x\t y  \n  end   `;

describe('published vectors', () => {
	it('gives the expected ids of GPT-2', () => {
		const vocabulary = rankedVocabulary(gpt2Ranks, ['<|endoftext|>']);
		const tokenizer = Tokenizer.fromGguf(vocabularyHeader(vocabulary, 'gpt-2'));
		expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(gpt2Ids);
	});

	it('gives the expected ids of SmolLM', needs(smollm2Model), async () => {
		const tokenizer = Tokenizer.fromGguf(await readHeader(smollm2!));
		expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(smollmIds);
	});
});

describe("llama.cpp's tokenizer", () => {
	it('agrees on the SmolLM2 file over real text', needs(smollm2Model), async () => {
		const tokenizer = Tokenizer.fromGguf(await readHeader(smollm2!));
		const given = realTexts();
		const theirs = llamaIds(smollm2!, given);
		expect(theirs.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(100_000);
		for (const [i, text] of given.entries()) expectSame(tokenizer, text, theirs[i]!);
	});

	it.each(['gpt-2', 'smollm', 'llama-bpe', 'qwen2'])('agrees on a made vocabulary with %s', async (pre) => {
		const corpus = readFileSync(path.join(root, 'engine/runtime/scheduler.ts'), 'utf8') + scripts.repeat(3);
		const vocabulary = trainedVocabulary(corpus, 1500);
		const file = await vocabularyFile(pre, pre, vocabulary);
		const tokenizer = Tokenizer.fromGguf(await readHeader(file));
		// llama.cpp makes some of Harmony's special tokens user-defined, and finds user-defined tokens in text.
		const given = realTexts().map((text) => text.replaceAll('<|', '<¦'));
		const theirs = llamaIds(file, given);
		for (const [i, text] of given.entries()) expectSame(tokenizer, text, theirs[i]!);
	});

	it.each(['gpt-2', 'smollm', 'llama-bpe', 'qwen2'])('agrees where tokens are user-defined, with %s', async (pre) => {
		const corpus = readFileSync(path.join(root, 'engine/runtime/scheduler.ts'), 'utf8') + scripts.repeat(3);
		const made = trainedVocabulary(corpus, 1500);
		const { bytes, offsets } = made.tokens;
		const names: (Uint8Array | string)[] = Array.from(made.tokenTypes, (_, i) =>
			bytes.slice(offsets[i], offsets[i + 1]),
		);
		const added = [
			'<tool_call>',
			'</tool_call>',
			' const',
			'  ',
			'    ',
			'        ',
			'\n\n',

			'naïve',
			'中文',

			'this.#',
		];
		const tokenTypes = Int32Array.of(...made.tokenTypes, ...added.map(() => TokenType.userDefined));
		// Tokens that merges make stay tokens of merges alone under this type.
		for (const id of [300, 400, 500]) tokenTypes[id] = TokenType.userDefined;
		const changed = { ...made, tokens: stringTable([...names, ...added]), tokenTypes };
		const file = await vocabularyFile(`user-defined-${pre}`, pre, changed);
		const tokenizer = Tokenizer.fromGguf(await readHeader(file));
		const given = realTexts().map((text) => `${text}<tool_call>{}</tool_call>`.replaceAll('<|', '<¦'));
		const theirs = llamaIds(file, given);
		expect(theirs.flat()).toEqual(expect.arrayContaining([made.tokenTypes.length]));
		for (const [i, text] of given.entries()) expectSame(tokenizer, text, theirs[i]!);
	});

	it('agrees, and answers, where “ Paris” of SmolLM2 is user-defined', needs(smollm2Model), async () => {
		const original = readFileSync(smollm2!);
		const fields = headerFields(original);
		const find = (owner: string, role: string) => fields.find((field) => field.owner === owner && field.role === role)!;
		const header = await readHeader(smollm2!);
		const { bytes, offsets } = requireStrings(header, 'tokenizer.ggml.tokens');
		const texts = Array.from({ length: offsets.length - 1 }, (_, i) => bytes.subarray(offsets[i], offsets[i + 1]));
		const id = texts.findIndex((each) => Buffer.from(each).toString() === 'ĠParis');
		const typed = Buffer.from(original);
		typed.writeInt32LE(TokenType.userDefined, find('tokenizer.ggml.token_type', 'element').offset + 4 * id);
		// This file also spells the token as user-defined tokens are spelled. The text is one byte shorter, so the model's
		// name gets one byte more.
		const at =
			find('tokenizer.ggml.tokens', 'element').offset -
			8 +
			texts.slice(0, id).reduce((sum, { length }) => sum + 8 + length, 0);
		const name = find('general.name', 'string');
		expect(name.offset).toBeLessThan(at);
		const length = (value: number) => Buffer.from([value, 0, 0, 0, 0, 0, 0, 0]);
		const written = Buffer.concat([
			...[
				typed.subarray(0, name.offset - 8),
				length(name.bytes + 1),
				typed.subarray(name.offset, name.offset + name.bytes),
			],
			...[Buffer.from('!'), typed.subarray(name.offset + name.bytes, at), length(6), Buffer.from(' Paris')],
			typed.subarray(at + 8 + 7),
		]);
		expect(written.length).toBe(original.length);
		for (const [kind, content] of Object.entries({ typed, written })) {
			const file = path.join(folder, `paris-${kind}.gguf`);
			writeFileSync(file, content);
			const model = await openModel(file);
			const given = ['The capital of France is Paris.', ' Paris Parisian  Paris', 'Paris', 'x Pari', '(Paris)'];
			for (const [i, ids] of llamaIds(file, given).entries()) expectSame(model.tokenizer, given[i]!, ids);
			const tokens = model.tokenizer.encode('The capital of France is');
			const { family } = model;
			const answer = await model.engine.generate({ tokens, priority: 'chat', maxTokens: 2, stopIds: family.endOfText });
			expect(new TextDecoder().decode(model.tokenizer.decode(answer.tokens))).toBe(' Paris.');
			await model.engine.close();
		}
	});
});
