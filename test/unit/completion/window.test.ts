import { describe, expect, test } from 'vitest';
import { cutWindow } from '../../../engine/completion/window';

const limits = { prefixTokens: 100, suffixTokens: 40 };
const lines = (count: number, text = 'const value = compute(index);') =>
	Array.from({ length: count }, (_, i) => `${text} // ${i}\n`).join('');

describe('cutWindow', () => {
	test('a small file is shown whole', () => {
		expect(cutWindow({ before: 'a\n  b', after: ' c\nd\n' }, limits)).toEqual({
			prefix: 'a\n  b',
			prefixIsWhole: true,
			linePrefix: '  b',
			lineSuffix: ' c',
			suffix: 'd\n',
		});
	});

	test('an empty file has an empty window', () => {
		expect(cutWindow({ before: '', after: '' }, limits)).toEqual({
			prefix: '',
			prefixIsWhole: true,
			linePrefix: '',
			lineSuffix: '',
			suffix: '',
		});
	});

	test('the prefix begins at a line and holds between half and all of its budget', () => {
		const before = lines(200);
		for (let length = 3000; length < before.length; length += 7) {
			const { prefix, prefixIsWhole } = cutWindow({ before: before.slice(0, length), after: '' }, limits);
			expect(prefixIsWhole).toBe(false);
			expect(prefix.startsWith('const value')).toBe(true);
			expect(prefix.length).toBeLessThanOrEqual(350);
			expect(prefix.length).toBeGreaterThan(350 / 2 - 40);
		}
	});

	test('typing moves the beginning of the prefix once in half a budget', () => {
		let before = lines(100);
		const starts = new Set<number>();
		for (let i = 0; i < 350; i++) {
			before += 'x';
			if (i % 30 === 0) before += '\n';
			starts.add(before.length - cutWindow({ before, after: '' }, limits).prefix.length);
		}
		expect(starts.size).toBeLessThanOrEqual(4);
	});

	test('the suffix is whole lines from the one after the cursor, and typing leaves it alone', () => {
		const after = `rest of line\n${lines(50)}`;
		const { suffix, lineSuffix } = cutWindow({ before: 'abc', after }, limits);
		expect(lineSuffix).toBe('rest of line');
		expect(after.slice('rest of line\n'.length).startsWith(suffix)).toBe(true);
		expect(suffix.endsWith(')') || /\d$/.test(suffix)).toBe(true);
		expect(suffix.length).toBeLessThanOrEqual(140);
		expect(cutWindow({ before: 'abc\nnew line', after }, limits).suffix).toBe(suffix);
	});

	test('a line longer than the window is cut inside, never within a character', () => {
		const { prefix } = cutWindow({ before: '😀'.repeat(2000), after: '' }, limits);
		expect(prefix.length).toBeGreaterThan(0);
		expect(prefix).toMatch(/^(?:😀)+$/u);
		expect(cutWindow({ before: '', after: `\n${'x'.repeat(5000)}` }, limits).suffix).toBe('');
	});

	test('dense scripts get fewer characters', () => {
		const { prefix } = cutWindow({ before: '代码补全。\n'.repeat(500), after: '' }, limits);
		expect(prefix.length).toBeLessThanOrEqual(150);
	});
});
