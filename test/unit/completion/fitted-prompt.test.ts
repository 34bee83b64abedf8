import { describe, expect, test } from 'vitest';
import { fitPrompt, textAfter } from '../../../engine/completion/fitted-prompt';
import { cutWindow } from '../../../engine/completion/window';
import type { CompletionFile, CompletionFormat, RelatedFile, Window } from '../../../engine/families/family';
import { HarmonyCompletion } from '../../../engine/families/harmony/completion';
import { ContinuationCompletion } from '../../../engine/families/prompts/continuation';
import { FillCompletion } from '../../../engine/families/prompts/fill';
import type { OpenedModel } from '../../../engine/loading/open-model';
import { harmony, tokenizer } from '../support/fake-opened-model';

/** Any special tokens of the vocabulary will do, since the budgets do not depend on their meaning. */
const [prefix, suffix, middle, repository, file] = Array.from(
	{ length: tokenizer.vocabulary.size },
	(_, id) => id,
).filter((id) => tokenizer.vocabulary.isSpecial(id));
const FORMATS: Record<string, CompletionFormat> = {
	harmony: new HarmonyCompletion(harmony),
	fill: new FillCompletion(tokenizer, {
		...{ prefix: prefix!, suffix: suffix!, middle: middle! },
		...{ repository: repository!, file: file! },
	}),
	continuation: new ContinuationCompletion(tokenizer, prefix!),
};

/** A format that records the file and the window of its last prompt. */
class Recorder implements CompletionFormat {
	readonly #format: CompletionFormat;
	readonly name = 'recorder';
	readonly takesRelated = true;
	readonly shared: Int32Array;
	window: Window | undefined;
	file: CompletionFile | undefined;

	constructor(format: CompletionFormat) {
		this.#format = format;
		this.shared = format.shared;
	}

	build(given: CompletionFile, window: Window) {
		this.window = window;
		this.file = given;
		return this.#format.build(given, window);
	}
}

const limits = { maxTokens: 96, prefixTokens: 1024, suffixTokens: 256, relatedTokens: 512 };

function fitted(
	before: string,
	after: string,
	more: Partial<typeof limits & { context: number; label: string; related: RelatedFile[]; format: string }> = {},
) {
	const { context = 8192, label = 'src/a.ts', related = [], format = 'fill', ...settings } = more;
	const recorder = new Recorder(FORMATS[format]!);
	const model = { engine: { contextTokens: context }, family: { completion: recorder }, tokenizer };
	const given = { label, languageId: 'typescript', related };
	const budgets = { ...limits, ...settings };
	const prompt = fitPrompt(model as unknown as OpenedModel, given, { before, after }, budgets);
	const { window, file: shown } = recorder as Required<Recorder>;
	expect(prompt.tokens.length + prompt.maxTokens).toBeLessThanOrEqual(context);
	expect(prompt.maxTokens).toBeGreaterThanOrEqual(1);
	expect(tokenizer.count(window!.prefix)).toBeLessThanOrEqual(budgets.prefixTokens);
	expect(tokenizer.count(textAfter(window!))).toBeLessThanOrEqual(budgets.suffixTokens);
	const names = shown!.related.map((other) => `${other.label}${other.text}`);
	expect(tokenizer.count(names.join(''))).toBeLessThanOrEqual(budgets.relatedTokens);
	return { prompt, window: window!, file: shown! };
}

/** A minified file with so many characters. */
function minified(characters: number): string {
	const piece = '{"id":1234,"name":"Wörter","tags":["a","b"],"at":-1.5e3},';
	return piece.repeat(Math.ceil(characters / piece.length)).slice(0, characters);
}

/** Pseudorandom numbers below 2^31. The sequence is always the same. */
function numbers(seed: number): (below: number) => number {
	let state = (seed % 2_147_483_646) + 1;
	return (below) => {
		state = (state * 48_271) % 2_147_483_647;
		return state % below;
	};
}

const TEXTS: ((random: (below: number) => number) => string)[] = [
	() => '',
	(random) => minified(random(50_000)),
	(random) => `const a = ${random(9)};\r\n`.repeat(random(2000)),
	(random) => `const a = ${random(9)};\r`.repeat(random(2000)),
	(random) => '\n'.repeat(random(5000)),
	(random) => '😀'.repeat(random(5000)),
	(random) => `代码补全${random(100)}。\n`.repeat(random(500)),
	(random) => Array.from({ length: random(4000) }, () => String.fromCharCode(random(0x300))).join(''),
	(random) => Array.from({ length: random(4000) }, () => String.fromCharCode(0xd700 + random(0x900))).join(''),
	(random) => ' '.repeat(random(20_000)),
	(random) => 'x'.repeat(random(20_000)),
	(random) => `\tif (a) { // ${'comment '.repeat(random(50))}\n\t}\n`.repeat(random(300)),
];

describe('fitPrompt', () => {
	test.each(Object.keys(FORMATS))('%s: keeps to every budget, whatever the file and wherever the cursor', (format) => {
		const random = numbers(format.length);
		for (let round = 0; round < 300; round++) {
			const text = TEXTS[random(TEXTS.length)]!(random) + TEXTS[random(TEXTS.length)]!(random);
			const cursor = random(text.length + 1);
			const related = Array.from({ length: random(3) }, () => ({
				label: 'b/'.repeat(random(400)),
				text: TEXTS[random(TEXTS.length)]!(random),
			}));
			const budget = (most: number) => (random(5) === 0 ? 0 : random(most));
			fitted(text.slice(0, cursor), text.slice(cursor), {
				...{ format, related, label: 'a/'.repeat(random(400)) },
				// Harmony's instructions take 700 tokens of the small test vocabulary.
				context: (format === 'harmony' ? 1300 : 256) + random(4000),
				...{ prefixTokens: budget(3000), suffixTokens: budget(1000), relatedTokens: budget(1000) },
				maxTokens: 1 + random(500),
			});
		}
	});

	test.each([16 * 1024, 10 * 1024 * 1024])(
		'a line of %i characters on both sides is shown as far as fits',
		(length) => {
			const line = minified(length);
			const { window } = fitted(line, line);
			expect(line.endsWith(window.prefix)).toBe(true);
			expect(line.startsWith(window.lineSuffix)).toBe(true);
			expect(window.lineSuffixIsCut).toBe(true);
			expect(tokenizer.count(window.prefix)).toBeGreaterThan(limits.prefixTokens / 4);
			expect(tokenizer.count(window.lineSuffix)).toBeGreaterThan(limits.suffixTokens / 4);
		},
	);

	test('of 100,000 lines only those around the cursor are shown', () => {
		const lines = (name: string) => Array.from({ length: 100_000 }, (_, i) => `${name}${i} = ${i};\n`).join('');
		const { window } = fitted(`${lines('a')}x`, `\n${lines('b')}`);
		expect(window.prefix).toMatch(/a99999 = 99999;\nx$/);
		expect(window.suffix).toMatch(/^b0 = 0;\nb1 = 1;\n/);
	});

	test('a small context shows what is next to the cursor, and leaves room for an answer', () => {
		const {
			prompt,
			window,
			file: shown,
		} = fitted('a = 1;\n'.repeat(200), '\nb = 2;'.repeat(200), {
			...{ context: 256, related: [{ label: 'c', text: 'c = 3;\n'.repeat(50) }] },
		});
		expect(window.prefix.endsWith('a = 1;\n')).toBe(true);
		expect(window.prefix.length).toBeGreaterThan(40);
		expect(window.suffix).toContain('b = 2;');
		expect(shown.related).toEqual([]);
		expect(prompt.maxTokens).toBeGreaterThan(50);
	});

	test('a context that has no room for anything says what to do', () => {
		expect(() => fitted('a', 'b', { format: 'harmony', context: 256 })).toThrow(
			/^a context of 256 tokens is too small for completions with this model; raise hearth\.contextTokens above \d+$/,
		);
	});

	test('a budget of nothing shows nothing', () => {
		const { window, file: shown } = fitted('before', 'after\nafter', {
			...{ prefixTokens: 0, suffixTokens: 0, relatedTokens: 0, related: [{ label: 'c', text: 'c' }] },
		});
		expect(window.prefix + window.lineSuffix + window.suffix).toBe('');
		expect(shown.related).toEqual([]);
	});

	test('of a long name the end is shown', () => {
		const { file: shown } = fitted('a', '', { label: `${'folder/'.repeat(1000)}name.ts` });
		expect(shown.label).toMatch(/^….*folder\/name\.ts$/);
		expect(shown.label.length).toBeLessThan(200);
	});

	test('typing moves the beginning of the prefix seldom, dense as the text may be', () => {
		const starts = new Set<number>();
		let before = minified(20_000);
		for (let i = 0; i < 400; i++) {
			before += i % 40 === 0 ? '\n' : 'q';
			const { window } = fitted(before, '', { prefixTokens: 400 });
			starts.add(before.length - window.prefix.length);
		}
		expect(starts.size).toBeLessThanOrEqual(8);
	});

	test('characters are not torn, and a cursor within \\r\\n is before it', () => {
		const { window } = fitted('a\r', '\nb');
		expect(window).toMatchObject({ prefix: 'a', linePrefix: 'a', lineSuffix: '', suffix: 'b' });
		const torn = fitted('a\ud83d', '\ude00b').window;
		expect(torn).toMatchObject({ prefix: 'a', lineSuffix: 'b' });
		expect(
			cutWindow({ before: 'a', after: '😀'.repeat(1000) }, { prefixTokens: 9, suffixTokens: 9 }).lineSuffix,
		).toMatch(/^(?:😀)+$/u);
	});
});
