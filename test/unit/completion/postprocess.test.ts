import { describe, expect, test } from 'vitest';
import { bracketBalance } from '../../../engine/completion/postprocess/bracket-balance';
import { chatProse } from '../../../engine/completion/postprocess/chat-prose';
import { codeFence } from '../../../engine/completion/postprocess/code-fence';
import { duplicateLines } from '../../../engine/completion/postprocess/duplicate-lines';
import type { Filter } from '../../../engine/completion/postprocess/filter';
import { indentation } from '../../../engine/completion/postprocess/indentation';
import { postprocess } from '../../../engine/completion/postprocess/postprocess';
import { repetition } from '../../../engine/completion/postprocess/repetition';
import { specialText } from '../../../engine/completion/postprocess/special-text';
import { suffixOverlap } from '../../../engine/completion/postprocess/suffix-overlap';
import { trailingWhitespace } from '../../../engine/completion/postprocess/trailing-whitespace';
import { cutWindow } from '../../../engine/completion/window';

/** A file with the cursor as ‸. */
function at(text: string, languageId = 'typescript') {
	const [before = '', after = ''] = text.split('‸');
	const window = cutWindow({ before, after }, { prefixTokens: 1000, suffixTokens: 1000 });
	return { languageId, window, multiline: true };
}

type Case = [name: string, file: string, suggestion: string, kept: string, languageId?: string];

function table(name: string, filter: Filter, cases: Case[]) {
	describe(name, () => {
		test.each(cases)('%s', (_, file, suggestion, kept, languageId) => {
			expect(filter.apply(suggestion, at(file, languageId))).toBe(kept);
		});
	});
}

table('special text', specialText, [
	['plain text stays', '‸', 'a < b | c > d', 'a < b | c > d'],
	['a spelled-out token ends it', '‸', 'return 1;<|end|> more', 'return 1;'],
	['broken UTF-8 ends it', '‸', 'abc\uFFFDdef', 'abc'],
	['a control character ends it', '‸', 'abc\x07def', 'abc'],
	['tabs and line ends are text', '‸', '\tabc\r\n', '\tabc\r\n'],
	['F# pipes are no tokens', '‸', 'x <| f |> g', 'x <| f |> g'],
]);

table('code fence', codeFence, [
	['an opening and a closing fence are taken off', '‸', '```ts\nfoo();\n```\nDone!', 'foo();'],
	['a closing fence alone ends it', '‸', 'foo();\n```', 'foo();'],
	['no fence, no change', '‸', 'foo(`a`);', 'foo(`a`);'],
	['Markdown keeps its fences', '‸', '```ts\nfoo();\n```', '```ts\nfoo();\n```', 'markdown'],
	['a file that has fences keeps them', '/**\n * ```\n * ‸', 'x\n * ```', 'x\n * ```'],
]);

table('chat prose', chatProse, [
	['an announcement is refused', '‸', "Here's the completed code:\nfoo();", ''],
	['so is an apology', '‸', "I'm sorry, but I cannot continue this.", ''],
	['and eagerness', '\n  ‸', 'Sure! foo();', ''],
	['code stays', '‸', 'const here = is.the(code);', 'const here = is.the(code);'],
	['prose in a comment stays', '// ‸', 'The following code adds.', 'The following code adds.'],
	['prose in prose stays', '‸', 'Here is how the code works.', 'Here is how the code works.', 'markdown'],
]);

table('indentation', indentation, [
	[
		'tabs become the spaces of the file',
		'f {\n  a();\n}\n‸',
		'g {\n\tb {\n\t\tc();\n\t}\n}',
		'g {\n  b {\n    c();\n  }\n}',
	],
	['spaces become tabs', 'f {\n\ta();\n}\n‸', 'g {\n    b {\n        c();\n    }\n}', 'g {\n\tb {\n\t\tc();\n\t}\n}'],
	['so do two spaces a level', 'f {\n\ta();\n}\n‸', 'g {\n  b();\n}', 'g {\n\tb();\n}'],
	['the stars of a comment stay aligned', 'f {\n\ta();\n}\n‸', '/**\n * b\n */', '/**\n * b\n */'],
	['the same style stays', 'f {\n  a();\n}\n‸', 'g {\n  b();\n}', 'g {\n  b();\n}'],
	['a file without indentation tells nothing', 'a();\n‸', 'g {\n\tb();\n}', 'g {\n\tb();\n}'],
	['nor does one that mixes', 'f {\n\ta();\n  b();\n}\n‸', 'g {\n\tb();\n}', 'g {\n\tb();\n}'],
]);

table('repetition', repetition, [
	['a loop is kept once', '‸', `x = ${'foo(); '.repeat(6)}`, 'x = foo();'],
	['an unfinished loop too', '‸', `${'abcdefgh'.repeat(4)}abc`, 'abcdefgh'],
	['lines in a loop', '‸', `start();\n${'step();\n'.repeat(5)}`, 'start();\nstep();\n'],
	['three times is no loop', '‸', 'abcdefgh'.repeat(3), 'abcdefgh'.repeat(3)],
	['rules are drawn with one character', '‸', '-'.repeat(60), '-'.repeat(60)],
	['short repeats are legitimate', '‸', '[[0, 0, 0, 0]]', '[[0, 0, 0, 0]]'],
]);

table('duplicate lines', duplicateLines, [
	['the line above again is refused', 'foo(a);\n‸', 'foo(a);', ''],
	['another line is not', 'foo(a);\n‸', 'foo(b);', 'foo(b);'],
	['a line twice in a row is said once', '‸', 'a();\nb();\nb();\nc();', 'a();\nb();'],
	['closing braces may repeat', '‸', 'a {\n  }\n}', 'a {\n  }\n}'],
	['three lines copied from above end it', 'a1();\nb1();\nc1();\n\n‸', 'x1();\na1();\nb1();\nc1();', 'x1();'],
	['one line that occurs above is fine', 'a1();\nb1();\n‸', 'x1();\na1();\ny1();', 'x1();\na1();\ny1();'],
]);

table('suffix overlap', suffixOverlap, [
	['the rest of the line is not said again', 'foo(‸)', 'a, b)', 'a, b'],
	['nor a longer rest', 'foo(‸, last);', 'first, last);', 'first'],
	['closers of its own stay', 'foo(‸)', 'bar(x)', 'bar(x)'],
	['own closers and one of the line', 'foo(‸)', 'bar(x))', 'bar(x)'],
	['closers of the line even if more follow', 'foo(‸) {', 'a)', 'a'],
	['a name that happens to end alike stays', 'x = ‸bar', 'foob', 'foob'],
	['the closing line of a block that is there already', 'if (a) {‸\n}\n', '\n  b();\n}', '\n  b();'],
	['of several following lines', 'f {\n  ‸\n  c();\n}\n', 'b();\n  c();\n}', 'b();'],
	['a closing line elsewhere indented stays', '{\n  if (a) {‸\n}\n', '\n    b();\n  }', '\n    b();\n  }'],
]);

table('bracket balance', bracketBalance, [
	['closing what is open is right', 'function f() {‸', '\n  a();\n}', '\n  a();\n}'],
	['closing it twice is not', 'function f() {‸\n}\n', '\n  a();\n}\n}', '\n  a();'],
	['more closers than openers are cut', 'foo(a‸', '));', ')'],
	['brackets in strings and comments do not count', 'f(")" // (\n‸', 'a)', 'a)'],
	['an apostrophe opens no string', "// don't (\nf(‸", 'a)', 'a)'],
	['text that cannot be matched is left alone', 'a ) ( ] ‸', 'x))', 'x))'],
	['own pairs are fine', 'x = ‸', '[{ a: (1) }]', '[{ a: (1) }]'],
	['emoticons in prose are fine', '‸', 'well :)', 'well :)', 'markdown'],
]);

table('trailing whitespace', trailingWhitespace, [
	['is trimmed', '‸', 'a; \n  \n', 'a;'],
	['before text it stays', '‸', '\n  a', '\n  a'],
]);

describe('postprocess', () => {
	test('gives the reason of the filter that left nothing', () => {
		expect(postprocess(' \n', at('‸'))).toEqual({ dropped: trailingWhitespace.reason });
		expect(postprocess('Certainly! Here it is', at('‸'))).toEqual({ dropped: chatProse.reason });
		expect(postprocess(')', at('foo(a‸)'))).toEqual({ dropped: suffixOverlap.reason });
		expect(postprocess('\uFFFD', at('‸'))).toEqual({ dropped: specialText.reason });
	});

	test('runs all filters on what is left', () => {
		expect(postprocess('```js\nfoo();  \n```', at('‸', 'javascript'))).toEqual({ text: 'foo();' });
		expect(postprocess('\n  return a + b;\n}\n', at('function add(a, b) {‸\n}\n'))).toEqual({
			text: '\n  return a + b;',
		});
	});
});
