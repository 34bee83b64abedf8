import { describe, expect, it } from 'vitest';
import { type OpenFile, RelatedFiles } from '../../../engine/completion/related-files';
import { estimateTokens } from '../../../engine/tokenizer/estimate';

const file = (name: string, lines: number): OpenFile => ({
	document: `file:///${name}`,
	label: name,
	text: Array.from({ length: lines }, (_, i) => `${name} line ${i}`).join('\n'),
});
const at = (name: string, line = 0) => ({ document: `file:///${name}`, line });

describe('RelatedFiles', () => {
	it('shows other files around where the cursor was, the latest one last', () => {
		const related = new RelatedFiles();
		const all = [file('a', 500), file('b', 500), file('c', 3)];
		const beside = (name: string) => all.filter(({ label }) => label !== name);
		related.around(at('a', 200), beside('a'), 1000);
		related.around(at('b', 300), beside('b'), 1000);
		const shown = related.around(at('d'), beside('d'), 1000);
		expect(shown.map(({ label }) => label)).toEqual(['c', 'a', 'b']);
		expect(shown[1]!.text).toContain('a line 200\n');
		expect(shown[2]!.text).toContain('b line 300\n');
		expect(shown[0]!.text).toBe('c line 0\nc line 1\nc line 2');
	});

	it('keeps to its budget, in whole lines', () => {
		const related = new RelatedFiles();
		const [shown] = related.around(at('x'), [file('a', 500)], 50);
		expect(estimateTokens(shown!.text)).toBeLessThanOrEqual(50);
		expect(shown!.text.split('\n').every((line) => /^a line \d+$/.test(line))).toBe(true);
		expect(related.around(at('y'), [file('a', 500)], 0)).toEqual([]);
	});

	it('shows the same while one file is worked on and the others are not', () => {
		const related = new RelatedFiles();
		const first = related.around(at('x', 1), [file('a', 10)], 100);
		expect(related.around(at('x', 2), [file('a', 10), file('b', 5)], 100)).toBe(first);
		related.forget('file:///a');
		expect(related.around(at('x', 2), [file('b', 5)], 100).map(({ label }) => label)).toEqual(['b']);
	});

	it('shows what the others say by now, wherever they were changed', () => {
		const related = new RelatedFiles();
		related.around(at('x', 1), [file('a', 10)], 100);
		const [shown] = related.around(at('x', 2), [{ ...file('a', 10), text: 'changed' }], 100);
		expect(shown!.text).toBe('changed');
	});

	it('no longer shows a file that is not among the others', () => {
		const related = new RelatedFiles();
		related.around(at('x', 1), [file('a', 10), file('b', 10)], 1000);
		const shown = related.around(at('x', 1), [file('b', 10)], 1000);
		expect(shown.map(({ label }) => label)).toEqual(['b']);
	});

	it.each(['\n', '\r\n', '\r'])('finds the line of the cursor where lines end with %j', (end) => {
		const related = new RelatedFiles();
		const other = { ...file('a', 500), text: file('a', 500).text.replaceAll('\n', end) };
		related.around(at('a', 200), [], 100);
		const [shown] = related.around(at('x'), [other], 100);
		expect(shown!.text).toContain('a line 200');
		expect(shown!.text).toMatch(/^(?:a line \d+\n?)+$/);
	});

	it('shows a part of a file that is one line', () => {
		const related = new RelatedFiles();
		const text = '{"key":[1,2,3]},'.repeat(700_000);
		const [shown] = related.around(at('x'), [{ ...file('a', 1), text }], 100);
		expect(text.startsWith(shown!.text)).toBe(true);
		expect(shown!.text.length).toBeGreaterThan(300);
		expect(estimateTokens(shown!.text)).toBeLessThanOrEqual(100);
	});
});
