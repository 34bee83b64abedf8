import { describe, expect, test } from 'vitest';
import { TokenPrefixIndex } from '../../../engine/completion/token-healing';
import { splitForHealing } from '../../../engine/families/prompts/healing';
import { tokenizer } from '../support/fake-opened-model';

describe('splitForHealing', () => {
	test.each([
		['const resu', 'const', ' resu'],
		['if (value) {\n', 'if (value)', ' {\n'],
		['{\n    ', '{\n', '    '],
		['{\n    ret', '{\n   ', ' ret'],
		['a.b', 'a', '.b'],
		['x', '', 'x'],
		['', '', ''],
		['end\n\n\n', 'end', '\n\n\n'],
	])('%j is cut before its last piece', (text, head, piece) => {
		expect(splitForHealing(text, tokenizer)).toEqual({ head, piece });
	});

	test('a piece of many tokens stays', () => {
		const text = `const hash = ${'qzx'.repeat(10)}`;
		expect(splitForHealing(text, tokenizer)).toEqual({ head: text, piece: '' });
	});

	test("further typing never changes the head's tokens", () => {
		const file = "function add(first) {\n    return first + 'a b';\n}\n\n  // done\n";
		const whole = [...tokenizer.encode(`${file}x`)];
		for (let end = 0; end <= file.length; end++) {
			const head = [...tokenizer.encode(splitForHealing(file.slice(0, end), tokenizer).head)];
			expect(whole.slice(0, head.length)).toEqual(head);
		}
	});
});

describe('TokenPrefixIndex', () => {
	const index = new TokenPrefixIndex(tokenizer.vocabulary);
	const logitsFor = (favourites: string[]) => {
		const logits = new Float32Array(tokenizer.vocabulary.size).fill(-10);
		favourites.forEach((text, rank) => {
			const [id] = tokenizer.encode(text);
			logits[id!] = 10 - rank;
		});
		return logits;
	};
	const text = (token: number | undefined) => new TextDecoder().decode(tokenizer.vocabulary.tokenBytes(token!));

	test('takes the likeliest token that agrees with the bytes', () => {
		expect(text(index.best(logitsFor(['const', ' return', ' result']), new TextEncoder().encode(' re')))).toBe(
			' return',
		);
	});

	test('makes a generation begin with the piece, then lets go', () => {
		const choose = index.chooser(' retu');
		let written = '';
		for (let step = 0; step < 10; step++) {
			const token = choose(logitsFor([' r', 'e', 'turn']));
			if (token === undefined) break;
			written += text(token);
		}
		expect(written.startsWith(' retu')).toBe(true);
		expect(choose(logitsFor(['x']))).toBeUndefined();
	});

	test('never takes a special token', () => {
		const logits = new Float32Array(tokenizer.vocabulary.size).fill(-10);
		logits[tokenizer.vocabulary.specialId('<|end|>')] = 100;
		expect(tokenizer.vocabulary.isSpecial(index.best(logits, new TextEncoder().encode('<'))!)).toBe(false);
	});
});
