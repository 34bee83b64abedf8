// Where the benchmark of completions puts the cursor: what it cuts out of a file is what its name says, and together the parts are the file.
import { describe, expect, test } from 'vitest';
import { KINDS, positionIn, spansOf } from '../../../bench/completions/positions';
import { randomNumbers } from '../../../bench/completions/random';
import type { SourceFile } from '../../../bench/completions/sources';

const SCRIPT = `import { readFile } from 'node:fs';

// Adds all numbers of a list.
function total(values, { start }) {
    let sum = start;
    for (const value of values) {
        sum += Math.round(value);
    }
    return sum;
}
`;
const PYTHON = `import os

def head(path):
    """The first line."""
    with open(path) as file:
        return file.readline()

print(head(os.path))
`;
const PAGE = `<ul class="list">
  <li id="a">One</li>
</ul>
`;

/** Each span: its line up to ‸, then what is missing, and in brackets what the editor has closed. */
function missing(kind: Parameters<typeof spansOf>[0], text: string, languageId: string): string[] {
	return spansOf(kind, text, languageId).map(
		({ from, to, closers }) =>
			`${text.slice(text.lastIndexOf('\n', from - 1) + 1, from)}‸${text.slice(from, to)}${closers === undefined ? '' : ` [${closers}]`}`,
	);
}

describe('positions', () => {
	test.each<[Parameters<typeof spansOf>[0], string, string, string[]]>([
		['mid-identifier', SCRIPT, 'javascript', ['    ret‸urn sum;', 'func‸tion total(values, { start }) {']],
		['after a dot', SCRIPT, 'javascript', ['        sum += Math.‸round(value);']],
		['after a dot', PYTHON, 'python', ['        return file.‸readline()', 'print(head(os.‸path))']],
		['arguments', SCRIPT, 'javascript', ['        sum += Math.round(‸value', '        sum += Math.round(‸value); [)]']],
		['arguments', PYTHON, 'python', ['print(‸head(os.path)', 'print(head(‸os.path)) [)]']],
		[
			'new statement',
			SCRIPT,
			'javascript',
			['    ‸for (const value of values) {\n        sum += Math.round(value);\n    }', '    ‸return sum;'],
		],
		['new statement', PYTHON, 'python', ['    ‸with open(path) as file:\n        return file.readline()']],
		['block body', SCRIPT, 'javascript', ['        ‸sum += Math.round(value);']],
		['block body', PYTHON, 'python', ['        ‸return file.readline()']],
		[
			'between braces',
			SCRIPT,
			'javascript',
			['    for (const value of values) {‸\n        sum += Math.round(value);\n    ', 'import {‸ readFile '],
		],
		['comment', SCRIPT, 'javascript', ['// Adds ‸all numbers of a list.', '// Adds all numbers of a ‸list.']],
		['docstring', PYTHON, 'python', ['    """‸The first line.']],
		['import', SCRIPT, 'javascript', ["import ‸{ readFile } from 'node:fs';", "import { readFile } from '‸node:fs';"]],
		['import', PYTHON, 'python', ['import ‸os']],
		['markup', PAGE, 'html', ['<ul ‸class="list">', '<ul class="‸list', '  <li id="a">‸One']],
		['start of file', PYTHON, 'python', ['‸import os']],
		['end of file', PAGE, 'html', ['‸</ul>', '  ‸<li id="a">One</li>\n</ul>']],
	])('of kind "%s" are found in %#', (kind, text, languageId, expected) => {
		expect(missing(kind, text, languageId)).toEqual(expect.arrayContaining(expected));
	});

	test('code is no comment, a comment no code', () => {
		expect(missing('mid-identifier', SCRIPT, 'javascript').filter((line) => line.includes('//'))).toEqual([]);
		expect(missing('comment', SCRIPT, 'javascript').every((line) => line.startsWith('// '))).toBe(true);
	});

	test('what is cut out as a statement or body closes what it opens', () => {
		const torn = 'call(\n    a,\n    b(\n);\n';
		expect(missing('block body', torn, 'javascript')).toEqual([]);
		expect(missing('new statement', 'a = [\n1,\n2]\n', 'javascript')).toEqual(['‸1,']);
	});

	test('an empty call has nothing that could be missing', () => {
		expect(missing('arguments', 'x = call()\n', 'python')).toEqual([]);
	});

	const file: SourceFile = { source: 'a', name: 'a.js', languageId: 'javascript', text: SCRIPT };

	test.each(KINDS.filter((kind) => !['docstring', 'markup', 'spaces'].includes(kind)))(
		'of kind "%s": before, missing and tail are the file, and the same seed gives the same one',
		(kind) => {
			const position = positionIn(file, kind, randomNumbers(3))!;
			const { before, missing: cut, tail, closers } = position;
			const whole = before + cut + tail;
			if (kind === 'CRLF') expect(whole).toBe(SCRIPT.replaceAll('\n', '\r\n'));
			else if (kind === 'tabs') expect(whole).toBe(SCRIPT.replaceAll('    ', '\t'));
			else expect(whole).toBe(SCRIPT);
			expect(cut.trim()).not.toBe('');
			expect(cut).toContain(closers);
			expect(positionIn(file, kind, randomNumbers(3))).toEqual(position);
		},
	);

	test('tabs become spaces, and a file without either has no such position', () => {
		const tabbed = { ...file, text: SCRIPT.replaceAll('    ', '\t') };
		const { before, missing: cut, tail } = positionIn(tabbed, 'spaces', randomNumbers(1))!;
		expect(before + cut + tail).toBe(SCRIPT);
		expect(positionIn(file, 'spaces', randomNumbers(1))).toBeUndefined();
		expect(positionIn(tabbed, 'tabs', randomNumbers(1))).toBeUndefined();
	});
});
