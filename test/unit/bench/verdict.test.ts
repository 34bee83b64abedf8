// What the benchmark of completions says of an edit, and whom it blames.
import { describe, expect, test } from 'vitest';
import type { Position } from '../../../bench/completions/positions';
import { blame, type Verdict, verdictOf } from '../../../bench/completions/verdict';

/** A file drawn with what is missing between ‹ and ›; what an editor has closed by itself follows between ‹ and › again. */
function drawn(text: string): Position {
	const [, before = '', missing = '', closers = '', tail = ''] = /^(.*?)‹(.*?)›(?:‹(.*?)›)?(.*)$/s.exec(text)!;
	return {
		...{ kind: 'rest of a line', languageId: 'javascript', place: 'a.js:1:1', label: 'a.js' },
		...{ before, missing, closers, tail },
	};
}

describe('verdicts on the applied edit', () => {
	test.each<[Verdict, string, string, number]>([
		['exact', 'a = ‹b + c;›\nd\n', 'b + c;', 0],
		['exact', 'a = ‹b + c; ›\nd\n', 'b + c;', 0],
		['exact', 'f(‹a, b›);\n', 'a, b', 0],
		['exact', 'f(‹a, b›);\n', 'a, b);', 2],
		['exact', 'f(‹a, b);›‹)›\nd\n', 'a, b);', 1],
		['exact', 'if (x) {‹\n  y();\n›}\n', '\n  y();\n}', 1],
		['exact', 'a ‹= b›  \nd\n', '= b', 2],
		['exact', 'a {‹\r\n  b\r\n›}\r\n', '\r\n  b\r\n', 0],
		['lines', '  ‹a();\n  b();›\nd\n', 'a();', 0],
		['lines', '  ‹a(); \n  b();›\nd\n', 'a();', 0],
		['open', '  ‹if (a) {\n    b();\n  }›\nd\n', 'if (a) {\n    b();', 0],
		['open', 'f(‹a,\n  b)›\nd\n', 'a,', 0],
		['lines', '  ‹if (a) {\n    b();\n  }\n  c();›\nd\n', 'if (a) {\n    b();\n  }', 0],
		['lines', 'if (a) {\n  ‹b();\n  c();›\n}\n', 'b();', 0],
		['torn', 'a = ‹b + c;›\nd\n', 'b +', 0],
		['torn', '  ‹a();\n  b();›\nd\n', 'a();\n  b(', 0],
		['torn', 'f(‹a, b);›‹)›\nd\n', 'a, b', 0],
		['beyond', 'a = ‹b + c;›\nd\n', 'b + c;\nd', 0],
		['beyond', 'a = ‹b›\nd\n', 'b)', 0],
		['beyond', 'f(‹a›);\nd\n', 'a);\n  d', 2],
		['differs', 'a = ‹b + c;›\nd\n', 'b - c;', 0],
		['differs', 'f(‹a, b›);\nd\n', 'a', 2],
		['differs', '  ‹if (a) {\n    b();\n  }›\n', 'if (a) {\n\tb();\n  }', 0],
		['differs', 'a {‹\r\n  b\r\n›}\r\n', '\n  b\n', 0],
	])('%s: %j with %j over %i', (verdict, text, edit, replace) => {
		expect(verdictOf(drawn(text), { text: edit, replace })).toBe(verdict);
	});

	test('nothing, where there is no edit', () => {
		expect(verdictOf(drawn('a = ‹b›\n'), undefined)).toBe('nothing');
	});

	test('what is covered of a line is no harm to the lines after it', () => {
		expect(verdictOf(drawn('f(‹a›)\ng()\n'), { text: 'a)', replace: 1 })).toBe('exact');
		expect(verdictOf(drawn('f(‹a›)\ng()\n'), { text: 'a)', replace: 2 })).not.toBe('exact');
	});
});

describe('blame', () => {
	const missing = 'a(b);';
	const stages = (...texts: string[]) => texts.map((text, i) => ({ name: `stage ${i}`, text }));

	test('is the first stage that left less than what is missing', () => {
		expect(blame('torn', missing, stages('a(b);\nc', 'a(b);', 'a(', 'a'))).toBe('stage 2');
	});

	test('of another text is the first stage that changed it', () => {
		expect(blame('differs', missing, stages('a(b);', 'a(b)', 'x'))).toBe('stage 2');
	});

	test('is the edit where all stages were right', () => {
		expect(blame('torn', missing, stages('a(b);\nc', 'a(b);'))).toBe('edit');
		expect(blame('beyond', missing, stages('a(b);'))).toBe('edit');
	});

	test('is nobody in particular where nothing was cut', () => {
		expect(blame('beyond', missing, stages('a(b);\nc'))).toBe('not cut');
	});

	test('is the stop rule that ended the generation, or the tokens', () => {
		expect(blame('lines', missing, [{ name: 'model', text: 'a(' }])).toBe('no more tokens');
		expect(
			blame('lines', missing, [
				{ name: 'model', text: 'a(' },
				{ name: 'stop rule: one line', text: 'a' },
			]),
		).toBe('stop rule: one line');
	});
});
