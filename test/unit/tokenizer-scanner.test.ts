import { describe, expect, it } from 'vitest';
import { gpt2Pattern, smollmPattern } from '../../engine/tokenizer/gpt2-scanner';
import { llama3Pattern, qwen2Pattern } from '../../engine/tokenizer/llama3-scanner';
import { o200kPattern } from '../../engine/tokenizer/o200k-scanner';
import { type PreTokenizer, preTokenizerOf } from '../../engine/tokenizer/pre-tokenizer';

function cut(preTokenizer: PreTokenizer, text: string): string[] {
	const bytes = new TextEncoder().encode(text);
	const scanner = preTokenizer.scan(bytes, bytes.length);
	const pieces: string[] = [];
	for (let start = 0; start < bytes.length; ) {
		const end = scanner.pieceEnd(start);
		if (!(end > start && end <= bytes.length)) throw new Error(`piece [${start}, ${end}) of ${JSON.stringify(text)}`);
		pieces.push(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start, end)));
		start = end;
	}
	return pieces;
}

describe.each([
	['gpt-4o', o200kPattern],
	['llama-bpe', llama3Pattern],
	['qwen2', qwen2Pattern],
	['gpt-2', gpt2Pattern],
	['smollm', smollmPattern],
])('the hand-written scanner of %s', (name, patternOf) => {
	const scan = (text: string) => cut(preTokenizerOf(name), text);
	const split = (text: string) => text.match(patternOf) ?? [];
	// The alphabet has one or two of each class: upper, title, lower, modifier, other letter, mark, number, spaces,
	// newlines, symbols.
	const alphabet = [..."Aʼ'ǅbʰ中\u0301\u04881½ \t\u3000\ufeff\u0085\n\r/+-_🙂𝕳𐐷s𐐀"];

	it('equals the pattern on all strings of up to three of these characters', () => {
		let strings = [''];
		for (let length = 1; length <= 3; length++) {
			strings = strings.flatMap((string) => alphabet.map((character) => string + character));
			for (const string of strings) {
				const pieces = scan(string);
				if (pieces.join('|') !== split(string).join('|')) expect(pieces, JSON.stringify(string)).toEqual(split(string));
			}
		}
		expect(strings.length).toBe(alphabet.length ** 3);
	});

	it('equals the pattern on long mixtures', () => {
		let state = 7;
		const next = () => {
			state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
			return state >>> 8;
		};
		const more = [...alphabet, ..."'re'LL'Ve'd"];
		for (let round = 0; round < 5000; round++) {
			const text = Array.from({ length: 4 + (next() % 30) }, () => more[next() % more.length]).join('');
			expect(scan(text)).toEqual(split(text));
		}
	});

	it('equals the pattern on every code point', () => {
		let text = '';
		for (let codePoint = 0; codePoint < 0x110000; codePoint++) {
			if (codePoint >= 0xd800 && codePoint < 0xe000) continue;
			const character = String.fromCodePoint(codePoint);
			text += `a${character}B +${character}`;
			if ((codePoint & 0xfff) !== 0xfff) continue;
			const [ours, pattern] = [scan(text).join('|'), split(text).join('|')];
			expect(ours === pattern, `one of the code points up to ${codePoint.toString(16)}`).toBe(true);
			text = '';
		}
	});
});
