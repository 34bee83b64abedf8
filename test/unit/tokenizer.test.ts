import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { encode as referenceEncode } from 'gpt-tokenizer/encoding/o200k_base';
import { beforeAll, describe, expect, it } from 'vitest';
import { stringTable } from '../../engine/gguf/string-table';
import {
	o200kVocabulary,
	trainedVocabulary,
	type VocabularyTables,
	vocabularyHeader,
} from '../../engine/synth/vocabulary';
import { estimateTokens } from '../../engine/tokenizer/estimate';
import { StreamDecoder } from '../../engine/tokenizer/stream-decoder';
import { TokenType } from '../../engine/tokenizer/token-type';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';

let vocabulary: VocabularyTables;
let tokenizer: Tokenizer;

beforeAll(async () => {
	vocabulary = await o200kVocabulary();
	tokenizer = Tokenizer.fromGguf(vocabularyHeader(vocabulary));
});

const reference = (text: string) => referenceEncode(text, { disallowedSpecial: new Set() });
const utf8 = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

/** Compares the ids of a text. A failure shows the text around the first difference rather than megabytes of ids. */
function expectSameIds(text: string): void {
	const ours = tokenizer.encode(text);
	const theirs = reference(text);
	const at = theirs.findIndex((id, i) => ours[i] !== id);
	if (at >= 0 || ours.length !== theirs.length) {
		const from = Math.max(0, at - 5);
		const near = JSON.stringify(utf8(tokenizer.decode(theirs.slice(from, from + 15))));
		expect([...ours.slice(from, from + 15)], near).toEqual(theirs.slice(from, from + 15));
	}
}

/** Numbers from 0 to 2^32 that are the same in each run. */
function* numbers(): Generator<number, never> {
	for (let state = 1; ; ) {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
		yield (mixed ^ (mixed >>> 14)) >>> 0;
	}
}

function* files(folder: string, suffix: RegExp): Iterable<string> {
	for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
		if (entry.isFile() && suffix.test(entry.name)) yield path.join(entry.parentPath, entry.name);
	}
}

const scripts = `
English prose with contractions: I'll, you'RE, they've, it's, DON'T, we'D, I'm, 'tis, o'clock, rock'n'roll, ''s 'x
Ελληνικά: Η γρήγορη αλεπού. Русский: Съешь же ещё этих мягких французских булок. Українська: їжак ґанок.
中文：天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。日本語：いろはにほへと　ちりぬるを。カタカナ、ﾊﾝｶｸ。한국어: 키스의 고유조건은 입술끼리 만나야 한다.
العربية: نص حكيم له سر قاطع وذو شأن عظيم. עברית: דג סקרן שט בים. فارسی: می‌خواهم. हिन्दी: ऋषियों को सताने वाले। தமிழ்: யாமறிந்த. ไทย: เป็นมนุษย์สุดประเสริฐ
ქართული: ბგერა. Հայերեն: Բել դղյակի. አማርኛ: ሰላም። ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ. Ǆ ǅ ǆ ﬁ ﬀ Ⅷ ⅷ ½ ² ٣٤٥٦٧ १२३४५ 𝟘𝟙𝟚𝟛 𝕳𝖊𝖑𝖑𝖔 𐐷𐐨𐐿 ꧁ ꧂
👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ❤️ ☺️ 1️⃣ e\u0301 A\u0300B \u0301ABC \u0301abc +\u0301x ++\u0301 (\u0301) \u200d\u200b\u00a0\u3000x\u2028y\u0085z
camelCase PascalCase SCREAMING_CASE kebab-case XMLHttpRequest iOS macOS ABCdef ABCДЕЖabc ЖЗab 12345678 3.14159 0xDEADBEEF
    four spaces\n\t\ttabs\n \t mixed \t \n\r\n\r\n   \n  x\t y  \n  end of line   \n\n\n//\n//\n/* c */ /\n/ a//\r\n#!/usr/bin/env
`;

describe('o200k', () => {
	it('has the published sizes', () => {
		expect(tokenizer.vocabulary.size).toBe(201_088);
		expect(vocabulary.merges.offsets.length - 1).toBe(446_189);
	});

	it('gives the ids of gpt-tokenizer on many scripts', () => {
		for (const line of scripts.split('\n')) expectSameIds(line);
		expectSameIds(scripts);
		expectSameIds(scripts.repeat(20).split('').reverse().join(''));
	});

	it('gives the ids of gpt-tokenizer on megabytes of source code', () => {
		let bytes = 0;
		for (const file of files('node_modules', /\.(?:[cm]?[jt]s|json|md|css|html|ya?ml|h|c|cc|py)$/)) {
			const text = readFileSync(file, 'utf8').slice(0, 200_000);
			// gpt-tokenizer cannot find tokens that begin with U+FEFF, because its decoder drops it as a byte order mark.
			if (text.includes('\ufeff')) continue;
			expectSameIds(text);
			bytes += text.length;
			if (bytes > 6e6) break;
		}
		expect(bytes).toBeGreaterThan(4e6);
	});

	it('gives the ids of gpt-tokenizer on random characters', () => {
		const random = numbers();
		// The alphabet has letters of each case, marks, numbers, spaces and symbols: the classes that the pre-tokenizer
		// tells apart. U+0085 is missing, because gpt-tokenizer uses JavaScript's \s in place of tiktoken's.
		const alphabet = [..."aAzZ09 \t\n\r'’sSdDlLrReEvVmMtT/._-+({é́ßÉǅʰªªあ中ש١½Ⅷ\u00a0\u3000\u2028🙂𝕳𐐷😀"];
		for (let round = 0; round < 3000; round++) {
			const length = 1 + (random.next().value % 40);
			expectSameIds(Array.from({ length }, () => alphabet[random.next().value % alphabet.length]).join(''));
		}
		for (let round = 0; round < 300; round++) {
			const units = Array.from({ length: 200 }, () => random.next().value % 0x10000).filter((unit) => unit !== 0xfeff);
			expectSameIds(String.fromCharCode(...units)); // this text has lone surrogates
		}
	});

	it('gives the ids of gpt-tokenizer on broken UTF-8, replaced', () => {
		const random = numbers();
		const bytes = Uint8Array.from({ length: 100_000 }, () => random.next().value & 0xff);
		expectSameIds(utf8(bytes));
	});

	it('agrees on long runs of one kind', () => {
		for (const run of ['a', 'A', ' ', '\n', '=', '한', '0', '\u0301', 'ab', 'ไก่']) expectSameIds(run.repeat(700));
	});

	it('takes a piece of a million characters', () => {
		const ids = tokenizer.encode('a'.repeat(1e6));
		expect(tokenizer.decode(ids).length).toBe(1e6);
		expect(ids.length).toBeLessThan(500_000);
	});

	it('knows the tokens that begin with a byte order mark', () => {
		// These are ranks of openai's o200k_base.tiktoken.
		expect([...tokenizer.encode('\ufeff')]).toEqual([5574]);
		expect([...tokenizer.encode('\ufeffusing')]).toEqual([9251]);
		expect([...tokenizer.encode('\ufeff//')]).toEqual([76234]);
		expect([...tokenizer.encode('\ufeff#')]).toEqual([110862]);
	});

	it('round-trips text and bytes', () => {
		expect(utf8(tokenizer.decode(tokenizer.encode(scripts)))).toBe(scripts);
		expect(tokenizer.encode('')).toHaveLength(0);
		expect(tokenizer.decode([])).toHaveLength(0);
	});

	it('never makes a special token from text', () => {
		const names = ['<|start|>', '<|end|>', '<|message|>', '<|channel|>', '<|return|>', '<|call|>', '<|endoftext|>'];
		for (const name of [...names, '<|endofprompt|>', '<|reserved_200013|>', '[PAD200500]']) {
			for (const text of [name, ` ${name}`, `x${name}y`, name.repeat(3), `\n${name}\n`]) {
				const ids = tokenizer.encode(text);
				expect([...ids].filter((id) => tokenizer.vocabulary.isSpecial(id))).toEqual([]);
				expect(utf8(tokenizer.decode(ids))).toBe(text);
			}
		}
	});

	it('finds special tokens by name', () => {
		expect(tokenizer.vocabulary.specialId('<|start|>')).toBe(200_006);
		expect(tokenizer.vocabulary.specialId('<|endofprompt|>')).toBe(200_018);
		expect(tokenizer.vocabulary.findSpecial('[PAD200500]')).toBeUndefined();
		expect(() => tokenizer.vocabulary.specialId('<|nothing|>')).toThrow(
			"the model's vocabulary has no special token <|nothing|>",
		);
		expect(utf8(tokenizer.decode([200_006, 200_008]))).toBe('<|start|><|message|>');
	});

	it('is read a few milliseconds at a time where others wait for their turn', async () => {
		let turns = 0;
		let reading = true;
		const count = () => {
			turns++;
			if (reading) setImmediate(count);
		};
		setImmediate(count);
		const same = await Tokenizer.fromGgufInTurns(vocabularyHeader(vocabulary));
		reading = false;
		// The vocabulary has 201,088 tokens and 446,189 merges.
		expect(turns).toBeGreaterThan(100);
		expect(same.encode(scripts)).toEqual(tokenizer.encode(scripts));
		const damaged = vocabularyHeader({ ...vocabulary, merges: stringTable(['a']) });
		await expect(Tokenizer.fromGgufInTurns(damaged)).rejects.toThrow(
			'merge 0 in tokenizer.ggml.merges is not "left right"',
		);
	});

	it('refuses ids outside the vocabulary', () => {
		for (const id of [-1, 201_088, 1.5, Number.NaN]) {
			expect(() => tokenizer.decode([id])).toThrow(`token id ${id} is outside the vocabulary of 201088 tokens`);
		}
	});

	it('streams text without splitting characters', () => {
		const decoder = new StreamDecoder(tokenizer.vocabulary);
		let text = '';
		for (const id of tokenizer.encode(scripts)) {
			const part = decoder.push(id);
			expect(part).not.toContain('\ufffd');
			text += part;
		}
		expect(text + decoder.end()).toBe(scripts);

		// The emoji is cut after its first token.
		const [first, ...rest] = tokenizer.encode('\u{1f9ff}');
		expect(rest.length).toBeGreaterThan(0);
		expect(decoder.push(first!)).toBe('');
		expect(decoder.end()).toBe('\ufffd');
		expect(decoder.push(tokenizer.encode('a')[0]!)).toBe('a');
	});

	it('estimates lengths within a factor of two', () => {
		const code = readFileSync('engine/tokenizer/tokenizer.ts', 'utf8');
		for (const text of [code, scripts.slice(0, 1200)]) {
			const ratio = estimateTokens(text) / tokenizer.count(text);
			expect(ratio).toBeGreaterThan(0.5);
			expect(ratio).toBeLessThan(2);
		}
	});
});

describe('a small vocabulary', () => {
	const small = trainedVocabulary('the cat sat on the mat. the cat sat. '.repeat(3), 20);
	const tokens = () => Tokenizer.fromGguf(vocabularyHeader(small));

	it('encodes any text', () => {
		const text = 'the cat \u{1f642} naïve \u0000';
		const ids = tokens().encode(text);
		expect(ids.length).toBeLessThan(new TextEncoder().encode(text).length);
		expect(utf8(tokens().decode(ids))).toBe(text);
		expect(tokens().vocabulary.specialId('<|start|>')).toBeGreaterThanOrEqual(256);
	});

	it('applies merges by their line where the lines do not follow the tokens', () => {
		// The line "b c" comes before "a b", though the token "ab" has the lower id.
		const bytes = trainedVocabulary('', 0);
		const names = Array.from({ length: 256 }, (_, i) =>
			bytes.tokens.bytes.slice(bytes.tokens.offsets[i], bytes.tokens.offsets[i + 1]),
		);
		const header = vocabularyHeader({
			...bytes,
			tokens: stringTable([...names, 'ab', 'bc']),
			tokenTypes: new Int32Array(258).fill(TokenType.normal),
			merges: stringTable(['b c', 'a b']),
		});
		expect([...Tokenizer.fromGguf(header).encode('abc')]).toEqual([97, 257]);
	});

	describe('from a damaged file', () => {
		const damaged = (change: (metadata: Map<string, unknown>) => void) => {
			const header = vocabularyHeader(small);
			change(header.metadata as Map<string, unknown>);
			return () => Tokenizer.fromGguf(header);
		};
		const count = small.tokenTypes.length;

		it.each<[string, (metadata: Map<string, unknown>) => void, string]>([
			[
				'no model',
				(m) => m.delete('tokenizer.ggml.model'),
				'metadata tokenizer.ggml.model should be a string but is missing',
			],
			['other model', (m) => m.set('tokenizer.ggml.model', 'llama'), 'tokenizer.ggml.model "llama" is not supported'],
			[
				'other pre-tokenizer',
				(m) => m.set('tokenizer.ggml.pre', 'viking'),
				'tokenizer.ggml.pre "viking" is not supported; Hearth knows "gpt-4o", "llama-bpe"',
			],
			['no pre-tokenizer', (m) => m.delete('tokenizer.ggml.pre'), 'tokenizer.ggml.pre "(none)" is not supported'],
			[
				'no tokens',
				(m) => m.delete('tokenizer.ggml.tokens'),
				'metadata tokenizer.ggml.tokens should be an array of strings',
			],
			['tokens a number', (m) => m.set('tokenizer.ggml.tokens', 7), 'should be an array of strings but is a number'],
			[
				'no merges',
				(m) => m.delete('tokenizer.ggml.merges'),
				'metadata tokenizer.ggml.merges should be an array of strings',
			],
			[
				'types too short',
				(m) => m.set('tokenizer.ggml.token_type', new Int32Array(3)),
				`has 3 entries for ${count} tokens`,
			],
			[
				'types no array',
				(m) => m.set('tokenizer.ggml.token_type', 'x'),
				'should be an array of integers but is a string',
			],
			['no tokens at all', (m) => m.set('tokenizer.ggml.tokens', stringTable([])), `has ${count} entries for 0 tokens`],
			[
				'a byte missing',
				(m) => m.set('tokenizer.ggml.token_type', small.tokenTypes.with(65, TokenType.control)),
				'lacks the token of byte 65 ("A")',
			],
			[
				'a merge without space',
				(m) => m.set('tokenizer.ggml.merges', stringTable(['ab'])),
				'merge 0 in tokenizer.ggml.merges is not "left right"',
			],
			[
				'a merge of one part',
				(m) => m.set('tokenizer.ggml.merges', stringTable(['a '])),
				'merge 0 in tokenizer.ggml.merges is not "left right"',
			],
			[
				'an empty merge',
				(m) => m.set('tokenizer.ggml.merges', stringTable([''])),
				'merge 0 in tokenizer.ggml.merges is not "left right"',
			],
			[
				'a merge to no token',
				(m) => m.set('tokenizer.ggml.merges', stringTable(['q x'])),
				'merge 0 in tokenizer.ggml.merges names text that is no token',
			],
			[
				'a merge outside the alphabet',
				(m) => m.set('tokenizer.ggml.merges', stringTable(['q 中'])),
				'merge 0 in tokenizer.ggml.merges names text that is no token',
			],
			[
				'a merge to a special',
				(m) => m.set('tokenizer.ggml.merges', stringTable(['<|end |>'])),
				'merge 0 in tokenizer.ggml.merges names text that is no token',
			],
		])('names the fault: %s', (_, change, message) => {
			expect(damaged(change)).toThrow(message);
		});

		it('names a token that is no byte-level text', () => {
			const tokens = stringTable([...Array.from({ length: 256 }, (_, i) => String.fromCharCode(i + 1)), '']);
			const change = (m: Map<string, unknown>) => {
				m.set('tokenizer.ggml.tokens', tokens);
				m.delete('tokenizer.ggml.token_type');
			};
			expect(damaged(change)).toThrow('token 0 in tokenizer.ggml.tokens is not byte-level text');
		});
	});
});
