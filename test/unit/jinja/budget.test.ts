import { describe, expect, it } from 'vitest';
import { Template } from '../../../engine/jinja/template';

const NOW = { year: 2026, month: 3, day: 9, hour: 0, minute: 0, second: 0 };

function render(source: string): string {
	return new Template(source).render({ messages: [{ role: 'user', content: 'x' }] }, { units: 200_000, now: NOW });
}

const times = (count: number, open: string, inner = '', close = '') => open.repeat(count) + inner + close.repeat(count);
const loop = (body: string, count = 90_000) => `{% for i in range(${count}) %}${body}{% endfor %}`;
/** A template that makes a value of 2 to the power of `n` items or characters. */
const doubled = (n: number, start: string, name = 's') =>
	`{% set ${name} = ${start} %}${`{% set ${name} = ${name} + ${name} %}`.repeat(n)}`;
const s = doubled(17, "'a'");
const list = '{% set l = range(20000)|list %}';
const dag = (open: string) =>
	`{% set l = ${open} %}{% set m = ${open} %}${'{% set l = [l, l] %}{% set m = [m, m] %}'.repeat(60)}`;

/** Each of these would take gigabytes, hours, or the whole stack. */
const attacks: Record<string, string> = {
	'a text doubled and replaced': `${doubled(28, "'a'")}{{ s|replace('a', 'bb') }}`,
	'a text doubled and split': `${doubled(28, "'a'")}{{ s.split('a') }}`,
	'a text doubled by ~': `{% set s = 'a' %}${'{% set s = s ~ s %}'.repeat(60)}`,
	'a text repeated': "{{ 'a' * 10**9 }}",
	'a text repeated beyond all numbers': "{{ 'a' * 10**400 }}",
	'a list doubled': doubled(60, '[1]'),
	'a list repeated': '{{ [0] * 10**9 }}',
	'a list of a long range': '{% for i in range(1000) %}{% set x = range(99999)|list %}{% endfor %}',
	'a width of printf': "{{ '%1000000000d' % 1 }}",
	'a width by an argument': "{{ '%*d' % (10**9, 1) }}",
	'a width of format': "{{ '{:>1000000000}'.format(1) }}",
	'a width of center': "{{ 'a'.center(10**12) }}",
	'a width of zfill': "{{ 'a'.zfill(10**9) }}",
	'a width of a date': "{{ strftime_now('%1000000000d') }}",
	'an indent of JSON': '{{ [1]|tojson(indent=10**9) }}',
	'an indent of text': "{{ 'a\nb'|indent(10**9, true) }}",
	tabs: "{% set s = '\t' * 1000 %}{{ s.expandtabs(10**9) }}",
	'a batch to fill': '{{ [1]|batch(10**9, 0)|list }}',
	'slices of nothing': '{{ [1]|slice(10**9)|list }}',
	'a power': '{{ 9 ** (9 ** 9) }}',
	squares: `{% set n = 3 %}${'{% set n = n * n %}'.repeat(60)}`,
	'loops in loops': loop(loop(loop(loop('')))),
	'loops that write': loop(loop('{{ 1.5 }}')),
	'a macro without end': '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}',
	'macros that call each other':
		'{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}',
	'a macro that calls itself twice':
		'{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}',
	'a recursive loop without end': '{% for i in [[1]] recursive %}{{ loop([i]) }}{% endfor %}',
	'a namespace of itself': '{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}',
	'a namespace of itself in a list': '{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a }}',
	'lists of the same twice': `${dag('[1]')}{{ l }}`,
	'lists of the same twice, as JSON': `${dag('[1]')}{{ l|tojson }}`,
	'lists of the same twice, compared': `${dag('[1]')}{{ l == m }}`,
	'lists of the same twice, in order': `${dag('[1]')}{{ l < m }}`,
	'tuples of the same twice, as key': `{% set l = (1,) %}${'{% set l = (l, l) %}'.repeat(60)}{{ {l: 1} }}`,
	'a list in lists': `{% set l = [] %}${'{% set l = [l] %}'.repeat(5000)}{{ l }}`,
	parentheses: `{{ ${times(25_000, '(', '1', ')')} }}`,
	brackets: `{{ ${times(25_000, '[', '', ']')} }}`,
	braces: `{{ ${times(9000, '{1:', '1', '}')} }}`,
	'not not': `{{ ${'not '.repeat(25_000)}1 }}`,
	'minus minus': `{{ ${'-'.repeat(25_000)}1 }}`,
	'a long sum': `{{ 1${'+1'.repeat(14_000)} }}`,
	'a long path': `{{ x${'.a'.repeat(14_000)} }}`,
	'a row of calls': `{{ x${'()'.repeat(14_000)} }}`,
	'a row of filters': `{{ 'a'${'|upper'.repeat(14_000)} }}`,
	'a row of conditions': `{{ ${'1 if 0 else '.repeat(7000)}1 }}`,
	'if in if': times(4000, '{% if 1 %}', 'x', '{% endif %}'),
	'for in for': times(4000, '{% for i in [1] %}', 'x', '{% endfor %}'),
	'macro in macro': times(4000, '{% macro m() %}', 'x', '{% endmacro %}'),
	'targets in targets': `{% set ${times(14_000, '(', 'a', ')')} = 1 %}`,
	'tags without end': '{{'.repeat(90_000),
	'blocks without end': '{%'.repeat(90_000),
	'raw without end': '{% raw %}'.repeat(20_000),
	'white space in tags': `{{${' '.repeat(190_000)}`,
	'a number of many digits': `{{ ${'1'.repeat(190_000)} }}`,
	'a string without end': `{{ '${'\\'.repeat(190_000)}`,
	'a template of ten megabytes': 'x'.repeat(10_000_000),
	'fields in fields': "{% set s = '{0' ~ '['*100000 %}{{ s.format(1) }}",
	words: `${doubled(17, "'a '")}${loop('{% set x = s|wordcount %}')}`,
	entities: `${doubled(17, "'<'")}${loop('{% set x = s|e %}')}`,
	lines: `${doubled(17, "'\n'")}${loop('{% set x = s.splitlines() %}')}`,
	'a text that grows': `{% set ns = namespace(s='') %}${loop("{% set ns.s = ns.s ~ 'xxxxxxxxxx' %}{% if 'y' in ns.s %}{% endif %}")}`,
	'a list that grows': `{% set ns = namespace(l=[]) %}${loop('{% set ns.l = ns.l + [1] %}')}`,
	'a dict that grows': `{% set ns = namespace(d={}) %}${loop("{% set ns.d = dict(ns.d, **{'k' ~ i: i}) %}")}`,
	'the same written often': `${s}${loop('{{ s }}')}`,
	'the same set often': `${s}${loop('{% set x %}{{ s }}{% endset %}')}`,
	...Object.fromEntries(
		[
			...[
				's.upper()',
				's|title',
				's|tojson',
				's|length',
				"'b' in s",
				"s == s ~ ''",
				's[i]',
				's[::-1]',
				's|list',
				's|trim',
			],
			...[
				"s.find('b')",
				"s.count('a')",
				's|urlencode',
				's|striptags',
				's|wordwrap(9)',
				's.islower()',
				'[s]|string',
				'{s: 1}',
			],
			...[
				"s.replace('', 'b')",
				's|truncate(9)',
				's|indent(9)',
				"s.split('b')",
				"'%s' % s",
				"'{}'.format(s)",
				's|int',
				's|float',
			],
		].map((use) => [`{{ ${use} }} of a long text, often`, s + loop(`{% set x = ${use} %}`)]),
	),
	...Object.fromEntries(
		[
			...[
				'l|sort',
				'l|min',
				'l|sum',
				'l|last',
				'l|reverse|list',
				'-1 in l',
				"l|select('odd')|list",
				"l|map('string')|join",
			],
			...[
				'l|unique|list',
				'l[1:]',
				'l[::-1]',
				'l == l + [1]',
				'l|tojson',
				'l|string',
				'l|batch(2)|list',
				'dict(a=l)|string',
			],
		].map((use) => [`{{ ${use} }} of a long list, often`, list + loop(`{% set x = ${use} %}`)]),
	),
};

describe('a template cannot take more than its budget', () => {
	it.each(Object.entries(attacks))('%s', (_, source) => {
		expect(() => render(source)).toThrow(
			expect.objectContaining({ name: 'TemplateError', message: expect.stringMatching(/^[^\n]{1,300}$/) }),
		);
	});

	it('and costs the same each time', () => {
		const source = loop('{{ loop.index }}', 100);
		const costs = (units: number) => {
			try {
				new Template(source).render({}, { units, now: NOW });
				return 'less';
			} catch {
				return 'more';
			}
		};
		const few = Array.from({ length: 60 }, (_, i) => costs(100 * i));
		expect(few).toContain('less');
		expect(few).toContain('more');
		expect(Array.from({ length: 60 }, (_, i) => costs(100 * i))).toEqual(few);
	});

	it('nor of one step, where its budget is large', () => {
		const stepsOf = (source: string) => {
			const steps = new Template(source).renderInSteps({}, { units: 50_000_000, now: NOW });
			let count = 0;
			try {
				while (!steps.next().done) count++;
				return count;
			} catch (error) {
				expect(error).toMatchObject({ name: 'TemplateError', message: 'it takes too long' });
				return `${count}, too long`;
			}
		};
		expect(stepsOf(loop(loop('{{ i }}', 100), 500))).toBeGreaterThan(10);
		expect(
			stepsOf('{% if 1 %}{% with a = 1 %}'.concat(loop('{{ a }}', 90_000), '{% endwith %}{% endif %}')),
		).toBeGreaterThan(10);
		// Text that is captured cannot be interrupted, and neither can an expression.
		const inner = loop(loop('{{ i }}', 1000), 1000);
		expect(stepsOf(`{% macro m() %}${inner}{% endmacro %}{{ m() }}`)).toBe('0, too long');
		expect(stepsOf(`{% set x %}${inner}{% endset %}`)).toBe('0, too long');
		expect(stepsOf(`{% filter upper %}${inner}{% endfilter %}`)).toBe('0, too long');
		expect(stepsOf(`{{ ${times(40, "range(90000)|map('string')|join ~ ", "''")} }}`)).toBe('0, too long');
	});

	it("charges a sum's items", () => {
		expect(() => render(`{% set l = range(15000)|list %}${loop('{% set x = l|sum %}', 100)}`)).toThrow(
			'it takes too long',
		);
	});

	it('nor does one rendering leave anything to the next', () => {
		const template = new Template(
			"{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ x }}{% set x = 'y' %}",
		);
		for (let i = 0; i < 3; i++) expect(template.render({}, { units: 200_000, now: NOW })).toBe('1');
	});
});
