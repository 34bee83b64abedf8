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

/** The window for a file whose text shows the cursor as ‸. */
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
	['a file that names tokens may name more', "const a = '<|end|>';\n‸", "b = '<|start|>';", "b = '<|start|>';"],
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
	['an empty first line is indented as well', 'f {\n  a();\n}\ng {\n‸\n}', '\tb();\n\tc();', '  b();\n  c();'],
	['with tabs, too', 'f {\n\ta();\n}\ng {\n‸\n}', '    b();\n    c();', '\tb();\n\tc();'],
	['one with some white space goes on so', 'f {\n    a();\n}\ng {\n    ‸', '\tb();', '    b();'],
	['one with text keeps its tab', 'f {\n  a();\n}\nb ‸', '\t// c', '\t// c'],
	['levels of three', 'f {\n   a {\n      b\n   }\n}\n‸', 'g {\n\ta {\n\t\tb', 'g {\n   a {\n      b'],
	['levels are what lines differ by', '    a {\n      b\n    }\n‸', '\tc', '  c'],
	['inner lines of two spaces', 'f {\n\ta();\n}\n‸', 'g {\n  b {\n    c {\n      d', 'g {\n\tb {\n\t\tc {\n\t\t\td'],
	['a few tabs among spaces', `${'f {\n  a();\n}\n'.repeat(4)}\tx\n‸`, 'g {\n\tb', 'g {\n  b'],
	['a few spaces among tabs', `${'f {\n\ta();\n}\n'.repeat(4)}  x\n‸`, 'g {\n  b', 'g {\n\tb'],
	['lines of a template string tell nothing', 'f {\n\ta(`\n  b\n  c\n`);\n}\n‸', 'g {\n  b', 'g {\n\tb'],
	['and stay', 'f {\n\ta();\n}\n‸', 'g(`\n  b\n`);', 'g(`\n  b\n`);'],
	["a makefile's tabs stay", 'A = 1 \\\n  2 \\\n  3\n‸', 'all:\n\tcc a.c', 'all:\n\tcc a.c', 'makefile'],
]);

describe('indentation as the editor says', () => {
	test.each([
		[{ tabSize: 4, insertSpaces: true }, '\ta {\n\t\tb', '    a {\n        b'],
		[{ tabSize: 8, insertSpaces: false }, '  a {\n    b', '\ta {\n\t\tb'],
	])('%j', (formatting, suggestion, kept) => {
		for (const file of ['‸', '  a\n  b\n‸', '\ta\n‸']) {
			expect(indentation.apply(suggestion, { ...at(file), formatting })).toBe(kept);
		}
	});
});

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
	['the line below again is refused', '  ret‸\n  return total;\n', 'urn total;', ''],
	['over blank lines', 'ret‸\n\n\nreturn total;\n', 'urn total;', ''],
	['with the rest of its own line', 'ret‸;\nreturn total;\n', 'urn total', ''],
	['as a whole line', '  ‸\n  return total;\n', 'return total;', ''],
	['one indented otherwise is another', '    ret‸\n  return total;\n', 'urn total;', 'urn total;'],
	['another line than the one below', 'ret‸\nreturn total;\n', 'urn a;', 'urn a;'],
	['a line that closes may stand below again', '    e‸\n    end\n', 'nd', 'nd', 'ruby'],
	['tags close as often as they have opened', '<div><div>‸', '\n</div>\n</div>', '\n</div>\n</div>', 'html'],
	['so do the words that end blocks', '‸', 'if a\nif b\nend\nend', 'if a\nif b\nend\nend', 'ruby'],
	['fi, done and esac', '‸', 'x\nfi\nfi\ndone\ndone\nesac\nesac', 'x\nfi\nfi\ndone\ndone\nesac\nesac', 'shellscript'],
	['end if, endif, EndIf', '‸', 'x\nend if\nend if\nendif\nendif', 'x\nend if\nend if\nendif\nendif', 'vb'],
	['brackets', '‸', 'x\n}\n}\n)\n)\n];\n];\n},\n},', 'x\n}\n}\n)\n)\n];\n];\n},\n},'],
	['a dedented line is another', '‸', 'if a:\n    return 1\nreturn 1', 'if a:\n    return 1\nreturn 1', 'python'],
	['than the one above, too', '    return 1\n‸', 'return 1', 'return 1', 'python'],
	['what is repeated once within what is closed stays', 'f(() => {‸', '\n  a();\n  a();\n});', '\n  a();\n  a();\n});'],
	['what never closes does not', 'f(() => {‸', '\n  a();\n  a();\n  a();', '\n  a();'],
	[
		'lines from above that go on otherwise are no copy',
		'a1();\nb1();\nc1();\n\n‸',
		'x1();\na1();\nb1();\nc1();\nd1();',
		'x1();\na1();\nb1();\nc1();\nd1();',
	],
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
	['but one too many goes wherever it stands', '{\n  if (a) {\n    ‸\n  }\n}\n', 'b();\n    }', 'b();'],
	[
		'of two that look alike only the one',
		'a {\n  b {\n    ‸\n  }\n}\n',
		'c {\n      d;\n    }\n    }',
		'c {\n      d;\n    }',
	],
	[
		'with what follows it, otherwise indented',
		'{\n  if (a) {\n    ‸\n  }\n  c();\n}\n',
		'b();\n    }\n    c();',
		'b();',
	],
	[
		'a line that looks like the next one stays',
		'{\n  ‸\n  return a;\n}\n',
		'if (b) {\n    return a;\n  }',
		'if (b) {\n    return a;\n  }',
	],
	['tags that are alike close what is open', '<div>\n<div>‸\n</div>\n', '\na\n</div>', '\na\n</div>', 'html'],
	['but once', '<div>\n<div>‸\n</div>\n</div>\n', '\na\n</div>', '\na', 'html'],
	['more closers than the text opened', 'foo(‸));', 'bar(x));', 'bar(x'],
	['a rest with words', 'foo(‸, b(c));', 'a, b(c));', 'a'],
	['the beginning of a rest that is cut off', `[‸${'"abcdefghij",'.repeat(800)}`, '1,"abcdefghij","abc', '1,'],
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
	['but a tag too many is cut', '<div>\n  <p>‸\n</div>\n', 'a</p></div>', 'a</p>', 'html'],
	['the end of an element stays', '<div>\n  ‸\n</div>\n', '<p>a</p>', '<p>a</p>', 'html'],
	['the end of one whose tag spans lines, too', '<div><a\n  href="‸\n</div>\n', 'b">c</a>', 'b">c</a>', 'html'],
	['an emoticon in markup', '<p>‸</p>', 'well :)', 'well :)', 'html'],
	['a signature whose body stands below', 'function f(a: string‸\n  a();\n}\n', '): number {', '): number {'],
	['a condition', 'f() {\n  if (a‸\n    b();\n  }\n}\n', ') {', ') {'],
	['one with nothing below', 'if (a‸', ') {', ') {'],
	['the same before a bracket of the editor', 'function f(‸)', 'a) {', 'a) {'],
	['an odd number of lifetimes', "fn f(x: &'a str) {‸", '\n    x;\n}', '\n    x;\n}', 'rust'],
	['and of labels', "fn f() { 'a: loop {‸", ' } }', ' } }', 'rust'],
	['lifetimes and characters', "fn f<'a>(x: &'a str) { x.find('('‸", ') }', ') }', 'rust'],
	['but not one more', "fn f(x: &'a str) {‸", '\n    x;\n}\n}', '\n    x;\n}', 'rust'],
	['type variables', "let f (x : 'a) = [‸", ' x ]', ' x ]', 'ocaml'],
	['quoted symbols', "(list 'a (b‸", '))', '))', 'clojure'],
	['integer division', 'f(a // b, (c‸', '))', '))', 'python'],
	['a hash that is no comment', 'f(a#b, (c‸', '))', '))'],
	['comments of the language', 'f(a # (\n‸', ')', ')', 'python'],
	['regular expressions', 'f(/[(]/, g(‸', '1))', '1))', 'javascript'],
	['template strings', 'f(`(${a(‸', ')})`)', ')})`)', 'javascript'],
	['strings over lines', 'f("""(\n(\n""", ‸', 'a)', 'a)', 'python'],
]);

table('trailing whitespace', trailingWhitespace, [
	['is trimmed', '‸', 'a; \n  \n', 'a;'],
	['before text it stays', '‸', '\n  a', '\n  a'],
	['before the rest of the line, too', 'f(‸b)', 'a, ', 'a, '],
]);

describe('bracket balance in an excerpt', () => {
	/** The cursor so far behind the file's beginning that only an excerpt of it is looked at. */
	const within = (line: string) => {
		const before = `function f() {\n${'  call(a, b);\n'.repeat(3000)}${line}`;
		const window = cutWindow({ before, after: '\n' }, { prefixTokens: 256, suffixTokens: 256 });
		expect(window.prefixIsWhole).toBe(false);
		return { ...at('‸', 'javascript'), window };
	};

	test('a bracket that closes nothing is cut', () => {
		expect(bracketBalance.apply('b));', within('  if (c) {\n    d(a, '))).toBe('b)');
		expect(bracketBalance.apply('b);\n    }\n  }', within('  if (c) {\n    d(a, '))).toBe('b);\n    }\n  }');
	});

	test('one that may close what was opened before the excerpt stays', () => {
		expect(bracketBalance.apply('d();\n}', within('  '))).toBe('d();\n}');
	});
});

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
