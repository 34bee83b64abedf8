// Each message is one line, whatever text it quotes.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { integerOption, parseCommandLine, parseTokenIds } from '../../engine/cli/command';
import { catalogue, catalogueEntry } from '../../engine/models/catalogue';
import { readHeader } from '../../engine/models/header';
import { whyUnsupported } from '../../engine/models/supported';
import { messageOf, printable, quote } from '../../engine/quote';
import { rankedVocabulary, vocabularyHeader } from '../../engine/synth/vocabulary';
import { byteToCodePoint } from '../../engine/tokenizer/byte-level';
import { preTokenizerOf } from '../../engine/tokenizer/pre-tokenizer';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { temporaryFolder } from '../support/models';
import { needs, unix } from '../support/needs';

afterEach(() => vi.unstubAllEnvs());

/**
 * What does not belong into a line of text: line breaks of any kind, escape sequences, direction marks and half
 * characters.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;
const EVIL = 'a\nb\r\nc\u0085d\u2028e\u001b[31mf\u202eg\ud800h\0i\u007f"\\';

function messageFrom(work: () => unknown): string {
	try {
		work();
	} catch (error) {
		return (error as Error).message;
	}
	throw new Error('nothing was thrown');
}

describe('a text in a message', () => {
	test('is quoted with escapes, and short', () => {
		expect(quote('plain – ünïcode 🙂')).toBe('"plain – ünïcode 🙂"');
		expect(quote('say "x"\\')).toBe('"say \\"x\\"\\\\"');
		expect(quote(EVIL)).not.toMatch(UNSEEN);
		expect(quote('\n\t')).toBe('"\\n\\t"');
		expect(quote('\u202e\u2028')).toBe('"\\u{202e}\\u{2028}"');
		expect(quote('x'.repeat(1e6)).length).toBeLessThan(130);
		// A surrogate pair is never cut in two without a trace.
		for (let i = 115; i < 125; i++) expect(quote(`${'x'.repeat(i)}🙂🙂🙂🙂`)).not.toMatch(UNSEEN);
	});

	test('in a table does nothing to the terminal', () => {
		expect(printable(EVIL)).not.toMatch(UNSEEN);
		expect(printable('a b')).toBe('a b');
	});

	test('of an error is one line', () => {
		expect(messageOf(new Error(EVIL))).not.toMatch(UNSEEN);
		expect(messageOf(new Error('  first\n\n  second '))).toBe('first second');
		for (const [thrown, text] of [
			['text', 'text'],
			[undefined, 'undefined'],
			[new Error(' \n '), 'unknown error'],
		])
			expect(messageOf(thrown)).toBe(text);
		expect(messageOf(new Error('x'.repeat(1e6))).length).toBeLessThan(5000);
	});
});

describe('one line has the error about', () => {
	const text = [0x0a, ...Array.from({ length: 0x5f }, (_, i) => 0x20 + i)];
	test.each(text)('a vocabulary without byte %d', (missing) => {
		const tokens = Array.from(byteToCodePoint, (_, byte) => [byte]);
		// Two bytes of another value take its place, so that all ids stay the same.
		tokens[missing] = [0xff, 0xff];
		const message = messageFrom(() => Tokenizer.fromGguf(vocabularyHeader(rankedVocabulary(tokens, ['<|end|>']))));
		expect(message).toContain(`lacks the token of byte ${missing} (`);
		expect(message).not.toMatch(UNSEEN);
		expect(messageOf(new Error(message)), 'nothing has to be made of it any more').toBe(message);
	});

	test.each<[string, (evil: string) => unknown]>([
		['a pre-tokenizer', preTokenizerOf],
		[
			'a tokenizer model',
			(evil) => {
				const header = vocabularyHeader(
					rankedVocabulary(
						Array.from(byteToCodePoint, (_, byte) => [byte]),
						['<|end|>'],
					),
				);
				header.metadata.set('tokenizer.ggml.model', evil);
				return Tokenizer.fromGguf(header);
			},
		],
		[
			'an architecture',
			(architecture) => {
				throw new Error(whyUnsupported({ architecture, matrixTypes: [] }));
			},
		],
		['an option', (evil) => integerOption('threads', evil, 1)],
		['an option that there is not', (evil) => parseCommandLine([`--${evil}`], '', {}, [])],
		['an argument too many', (evil) => parseCommandLine([evil], '', {}, [])],
		['a token id', (evil) => parseTokenIds('tokens', evil.replace(/\s/g, ''))],
		['a model of the catalogue', catalogueEntry],
	])('%s', (_what, work) => {
		expect(messageFrom(() => work(EVIL))).not.toMatch(UNSEEN);
	});

	test.each([
		['{\n"models": x\n}'],
		['{"models":\n[\n}'],
		['\u001b[31m'],
		[JSON.stringify({ models: [{ ...entry(), id: EVIL }] })],
		[JSON.stringify({ models: [{ ...entry(), files: [{ url: EVIL }] }] })],
		[JSON.stringify({ models: [{ ...entry(), files: [{ url: `https://x.example/a b\n${EVIL}` }] }] })],
		[JSON.stringify({ models: [{ ...entry(), files: [{ url: 'https://x.example/\na.gguf', bytes: 0 }] }] })],
	])('a catalogue: %j', (json) => {
		const file = path.join(temporaryFolder(), 'catalogue.json');
		writeFileSync(file, json);
		vi.stubEnv('HEARTH_CATALOGUE', file);
		expect(messageFrom(catalogue)).not.toMatch(UNSEEN);
	});

	test('a file whose name has two lines', needs(unix), async () => {
		const folder = path.join(temporaryFolder(), 'a\nb');
		mkdirSync(folder);
		for (const file of [folder, path.join(folder, 'c\u001b.gguf')]) {
			const error = await readHeader(file).catch((thrown) => thrown);
			expect(messageOf(error)).not.toMatch(UNSEEN);
		}
	});

	function entry() {
		return {
			...{ id: 'm', name: 'M', summary: 's', page: 'p', uses: ['chat'], architecture: 'a', matrixTypes: [] },
			files: [{ url: 'https://x.example/a.gguf' }],
		};
	}
});

test('nothing is put between quotation marks by hand', () => {
	const root = path.resolve(import.meta.dirname, '../../engine');
	// In these files the quoted names are our own and not from outside.
	const own = new Map([
		['benchmark/options.ts', 'name'],
		['cli/hearth.ts', 'label'],
		['tokenizer/pre-tokenizer.ts', 'each'],
		['convert/tokenizer.ts', 'pre'],
		['convert/apart.ts', 'CONVERT_CHILD'],
	]);
	const found = readdirSync(root, { recursive: true, encoding: 'utf8' })
		.filter((file) => file.endsWith('.ts') && !/^jinja\b/.test(file))
		.filter((file) => {
			const name = own.get(file.replaceAll('\\', '/'));
			return [...readFileSync(path.join(root, file), 'utf8').matchAll(/"\$\{(\w*)/g)].some(([, used]) => used !== name);
		});
	expect(found).toEqual([]);
});
