import { describe, expect, test } from 'vitest';
import { editFor } from '../../../engine/completion/edit';

describe('editFor', () => {
	test.each([
		['inserts at the end of a line', 'foo();', '', 0],
		['covers white space at the end of the line', 'foo();', '  ', 2],
		['covers the closer it brings itself', 'a, b);', ')', 1],
		['covers several closers in order', 'x: 1 }));', '}))', 3],
		['covers a block closed on another line', '\n  return 1;\n}', '}', 1],
		['covers a quote it closes', "hello');", "')", 2],
		['covers a closer though it opens a block after it', 'a, b) {', ')', 1],
		['covers a closer after pairs of its own', "f('a', [b]))", ')', 1],
		['leaves the closer where it only closes its own', 'bar(x);', ')', 0],
		['leaves closers it does not bring', 'a, b', ')', 0],
		['leaves quotes of strings of its own', 'f("a", "b"', '"', 0],
		['leaves code right of the cursor', 'a, ', 'b)', 0],
		['leaves closers in another order', 'a)]', '])', 0],
		['leaves what the text opens to the rest', 'a) + (b', ')', 0],
		['leaves punctuation', 'a, b', ',', 0],
		['leaves an arrow', '(x) => x', '>', 0],
		['leaves a closer that its own < does not change', 'i < n', ')', 0],
		['leaves a rest that goes on', 'a)', ')', 0, true],
	] as const)('%s', (_, text, lineSuffix, replace, isCut?: boolean) => {
		expect(editFor(text, lineSuffix, isCut)).toEqual({ text, replace });
	});

	test.each([
		['(item) => {\n  a();\n})', ');', '(item) => {\n  a();\n});'],
		['\n  a();\n}', '});', '\n  a();\n});'],
		['{\n  a: 1,\n})', '));', '{\n  a: 1,\n}));'],
	])('%j before %j is given what it lacks', (text, lineSuffix, whole) => {
		expect(editFor(text, lineSuffix)).toEqual({ text: whole, replace: lineSuffix.length });
	});
});
