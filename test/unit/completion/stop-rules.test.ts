import { describe, expect, test } from 'vitest';
import { allowsMultiline, StopRule } from '../../../engine/completion/stop-rules';
import { cutWindow } from '../../../engine/completion/window';

/** The window for a text that shows the cursor as ‸. */
function drawn(text: string) {
	const [before = '', after = ''] = text.split('‸');
	return cutWindow({ before, after }, { prefixTokens: 1000, suffixTokens: 1000 });
}

describe('allowsMultiline', () => {
	test.each([
		['auto', 'typescript', 'function f() {‸', true],
		['auto', 'typescript', 'function f() {‸}', true],
		['auto', 'typescript', 'call(‸);', true],
		['auto', 'typescript', 'const f = () =>‸', true],
		['auto', 'typescript', '    ‸', true],
		['auto', 'python', 'def f():‸', true],
		['auto', 'typescript', 'const x =‸', false],
		['auto', 'typescript', 'case 1:‸', false],
		['auto', 'typescript', 'foo(‸bar)', false],
		['auto', 'typescript', '// explains {‸', false],
		['auto', 'python', '# explains:‸', false],
		['auto', 'markdown', '# Title‸', false],
		['always', 'typescript', 'const x =‸', true],
		['always', 'typescript', 'foo(‸bar)', false],
		['never', 'typescript', 'function f() {‸', false],
	] as const)('%s in %s at %j: %s', (setting, languageId, text, expected) => {
		expect(allowsMultiline(setting, languageId, drawn(text))).toBe(expected);
	});
});

describe('StopRule', () => {
	/** The part of a generated text that is kept. */
	const kept = (text: string, multiline: boolean, generated: string, languageId?: string) => {
		const rule = new StopRule(drawn(text), multiline, languageId);
		const streamed = Array.from({ length: generated.length }, (_, i) => rule.end(generated.slice(0, i + 1)));
		const first = streamed.find((end) => end !== undefined);
		// The rule must decide the same while the text streams as for the whole text.
		expect(first).toBe(rule.end(generated));
		return first === undefined ? undefined : generated.slice(0, first);
	};

	test('one line ends with the line', () => {
		expect(kept('const x =‸', false, ' 1;\nconst y')).toBe(' 1;');
		expect(kept('const x =‸', false, ' 1')).toBeUndefined();
		expect(kept('const x = 1;‸', false, '\nmore')).toBe('');
	});

	test('a block ends with the line that closes it', () => {
		expect(kept('\tif (a) {‸', true, '\n\t\tb();\n\n\t\tc();\n\t}\n\td();\n')).toBe('\n\t\tb();\n\n\t\tc();\n\t}');
	});

	test('else goes on with the block', () => {
		const generated = '\n  a();\n} else {\n  b();\n}\nc();\n';
		expect(kept('if (x) {‸', true, generated)).toBe('\n  a();\n} else {\n  b();\n}');
	});

	test('a block without closing line ends before the next statement', () => {
		expect(kept('def f(x):‸', true, '\n    return x\n\nprint(f(1))\n')).toBe('\n    return x\n');
	});

	test('statements on a blank line end at a blank line or where the enclosing block closes', () => {
		expect(kept('{\n  ‸', true, 'a();\n  b();\n\n  c();\n')).toBe('a();\n  b();');
		expect(kept('{\n  ‸', true, 'a();\n}\nb();\n')).toBe('a();');
	});

	test('ends where the next line of the file begins', () => {
		expect(kept('{\n  ‸\n  return total;\n}', true, 'count();\n  return total;\n}\n')).toBe('count();');
	});

	test('ends where the next lines of the file begin, otherwise indented, two of which say something', () => {
		const file = '{\n  ‸\n  count();\n  return total;\n}';
		expect(kept(file, true, 'start();\n    count();\n    return total;\n')).toBe('start();');
		expect(kept(file, true, 'start();\n    count();\n    count();\n    end();\n')).toBeUndefined();
	});

	test('within a block of its own, the same lines may be meant', () => {
		const generated = 'if (a) {\n    count();\n    return total;\n  }\n';
		expect(kept('{\n  ‸\n  count();\n  return total;\n}', true, generated)).toBeUndefined();
	});

	test('a lone brace after the cursor is no repetition', () => {
		expect(kept('if (a) {‸\n}', true, '\n  b();\n  if (c) {\n  }\n  d();\n}\n')).toBe(
			'\n  b();\n  if (c) {\n  }\n  d();\n}',
		);
	});

	test('ends before a line whose beginning shows that it belongs elsewhere, be that line without end', () => {
		const rule = new StopRule(drawn('const twice = numbers.map((n) =>‸'), true);
		expect(rule.end(' n * 2);\ncon')).toBeUndefined();
		expect(rule.end(' n * 2);\nconsole.log(')).toBe(' n * 2);'.length);
		const markup = new StopRule(drawn('<div>{‸'), true);
		expect(markup.end('\n  a\n<')).toBeUndefined();
		expect(markup.end('\n  a\n</div>\n')).toBe('\n  a\n</div>'.length);
	});

	test('ends a statement once', () => {
		expect(kept('return ‸', false, 'a + b;;;;;;;;')).toBe('a + b;');
		expect(kept('‸', true, ';;;; A comment of Lisp\n(list 1)\n\n')).toBe(';;;; A comment of Lisp\n(list 1)');
	});

	test.each([
		['typescript', '‸', 'function f() {\n  a();\n\n  b();\n}'],
		['typescript', '‸', 'const a = [\n  1,\n\n  2,\n];'],
		['typescript', '‸', 'const text = `\n\nnot indented\n\n`;'],
		['c', '‸', 'void f(void)\n{\n    a();\n#ifdef B\n\n    b();\n#endif\n}'],
		['python', '‸', 'def f():\n    a = 1\n\n    return a'],
		[
			'python',
			'class A:\n    ‸',
			'def f(self):\n        x = g(\n            1,\n\n            2,\n        )\n\n        return x',
		],
		['python', 'class A:\n    ‸', 'def f(self):\n        x = g(\n\n1,\n\n2)\n        return x'],
		['python', 'class A:\n    def f(self):\n        ‸', 'x = """\ntext\n\nmore\n"""\n        return x'],
		['python', 'class A:\n‸', '    def f(self):\n        a = 1\n\n        return a'],
		['ruby', '‸', 'class A\n\n  def f\n    a\n\n    b\n  end\n\nend'],
		['lua', '‸', 'function f()\n  a()\n\n  b()\n\nend'],
		['rust', "fn a<'a>(x: &'a str) {}\n\n‸", "impl<'a> S<'a> {\n    fn f(&'a self) {}\n\n    fn g() {}\n}"],
		['css', '‸', '@media print {\n  a {\n  }\n\n  b {\n  }\n}'],
		['html', '‸', '<div>\n<p>a</p>\n\n<p>b</p>\n</div>'],
		['yaml', '‸', 'on:\n  push:\n\n  pull_request:'],
		['markdown', '‸', '```js\na\n\nb\n```'],
	])('in %s at %j a blank line does not end %j', (languageId, text, generated) => {
		expect(kept(text, true, `${generated}\n\nx = 1\ny = 2\n`, languageId)).toBe(generated);
	});

	test('blank lines without end end it', () => {
		expect(kept('‸', true, `if a:${'\n'.repeat(50)}`, 'python')).toBe('if a:');
	});

	test.each([
		['typescript', 'foo(‸', '{\n  a: 1,\n}, {\n  b: 2,\n});'],
		['typescript', 'foo(‸', '{\n  a: 1,\n},\n[\n  2,\n]);'],
		['html', '<div><div>‸', '\n</div>\n</div>'],
		['typescriptreact', 'return <div><b className="c">‸', '\n</b>\n</div>;'],
		['typescript', 'void f()‸', '\n{\n  a();\n}'],
	])('in %s %s goes on until all of its line is closed: %j', (languageId, text, generated) => {
		expect(kept(text, true, `${generated}\nnext();\n`, languageId)).toBe(generated);
	});

	test('ends where the lines after the cursor begin, though the first ones only close something', () => {
		const generated = '() => {\n    a();\n  }\n  next();\n  b();\n';
		expect(kept('f(() => {\n  g(‸\n  }\n  next();\n});', true, generated)).toBe('() => {\n    a();');
	});

	test('ends where it has repeated the beginning of a long rest of the line', () => {
		const rest = Array.from({ length: 50 }, (_, i) => `{"id":${i}}`).join(',');
		expect(kept(`[‸${rest}]`, false, `{"id":-1},${rest}`)).toBe('{"id":-1},');
	});

	test('closing lines are no repetition of those after the cursor', () => {
		expect(kept('<div>\n<div>‸\n</div>\n', true, '\nfoo\n</div>\n</div>\n', 'html')).toBe('\nfoo\n</div>');
		expect(kept('def f\n  a do‸\n  end\n', true, '\n    x do\n    end\n  end\nend\n', 'ruby')).toBe(
			'\n    x do\n    end\n  end',
		);
	});
});

test.each([
	['const a =‸', false, ' 1;\n', 'one line'],
	['{\n    ‸\n}\n', true, 'a();\n}\n', 'before an outer line'],
	['{\n    ‸\n}\n', true, 'a();\n\n    b();\n', 'blank line'],
	['if (a) {‸\n', true, '\n    b();\n}\nc();\n', 'block closed'],
	['    ‸\n    next(1);\n', true, 'a();\n    next(1);\n', 'repeats the next lines'],
	['a‸', false, ');;;;', 'the same sign again and again'],
	[`[‸${'"a", '.repeat(20)}]`, false, `"b", ${'"a", '.repeat(20)}`, 'repeats the rest of the line'],
])('at %j (several lines: %s) after %j it names the rule: %s', (text, multiline, generated, rule) => {
	expect(new StopRule(drawn(text), multiline, 'javascript').ending(generated)).toEqual({
		at: expect.any(Number),
		rule,
	});
});
