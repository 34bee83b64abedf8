import { beforeAll, describe, expect, it } from 'vitest';
import { Disguise } from '../../../engine/jinja/disguise';
import { Template, type Variable } from '../../../engine/jinja/template';
import { digest, jinja2, publishedTemplates } from '../../../scripts/jinja2.mjs';
import { type Need, needs } from '../../support/needs';
import conversations from './conversations.json';
import expressions from './expressions.json';
import published from './published.json';

/** The time at which the texts were recorded. */
const NOW = { year: 2026, month: 3, day: 9, hour: 14, minute: 5, second: 7 };
const UNITS = 200_000;

let lastLine = '';
const judge = await jinja2((line: string) => {
	lastLine = line;
});
const recorder: Need = { met: judge !== undefined, reason: 'no Jinja2', cure: lastLine };

type Variables = Record<string, Variable>;

/** What a template writes; null where it raises, as in the recordings. */
function render(source: string, variables: Variables, disguise?: Disguise): string | null {
	try {
		const text = new Template(source).render(variables, { units: UNITS, now: NOW, ...(disguise && { disguise }) });
		return disguise ? disguise.reveal(text) : text;
	} catch (error) {
		expect(error).toMatchObject({ name: 'TemplateError', message: expect.stringMatching(/^[^\n]+$/) });
		return null;
	}
}

const ascii = String.fromCharCode(...Array.from({ length: 127 }, (_, i) => i));

/** Disguises the texts of messages. Texts that tell messages apart, such as a role, stay as they are. */
function hidden(value: Variable, disguise: Disguise, key = ''): Variable {
	if (typeof value === 'string') return /^(role|type|name|id|tool_call_id)$/.test(key) ? value : disguise.hide(value);
	if (Array.isArray(value)) return value.map((item) => hidden(item, disguise, key));
	if (typeof value !== 'object' || value === null) return value;
	return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hidden(item, disguise, name)]));
}

describe("Python's Jinja2 is followed", () => {
	it.each(expressions as [string, string | null][])('%j', (source, expected) => {
		expect(render(source, { messages: [{ role: 'user', content: 'Hi' }] })).toBe(expected);
	});

	it('by what has been recorded', needs(recorder), async () => {
		const messages = [{ role: 'user', content: 'Hi' }];
		const sources = expressions.map(([source]) => source);
		expect(judge!(sources.map((source) => [source, { messages }]))).toEqual(
			expressions.map(([, expected]) => expected),
		);
	});
});

describe('published templates', () => {
	let templates = new Map<string, string>();
	beforeAll(() => {
		templates = publishedTemplates();
	});
	const names = Object.keys(published) as (keyof typeof published)[];
	/**
	 * In Jinja2 `safe` makes a text of a type of its own, which escapes whatever is added to it. Here it does not. The
	 * difference shows only with tools, which Hearth does not offer.
	 */
	const exceptions = { 'meetkai-functionary-medium-v3.1': ['tools', 'calls'] } as Record<string, string[]>;

	it('are those that were recorded', () => {
		const found = Object.fromEntries([...templates].map(([name, template]) => [name, digest(template)]));
		expect(found).toEqual(Object.fromEntries(names.map((name) => [name, published[name].template])));
	});

	it.each(names)('%s', (name) => {
		const source = templates.get(name)!;
		const disguise = Disguise.of([ascii, 'é😀'], [])!;
		for (const [key, expected] of Object.entries(published[name].results)) {
			if (exceptions[name]?.includes(key)) continue;
			const variables = conversations[key as keyof typeof conversations] as unknown as Variables;
			expect(digest(render(source, variables)), key).toBe(expected);
			const disguised = { ...variables, messages: hidden(variables['messages']!, disguise) };
			expect(digest(render(source, disguised, disguise)), `${key}, in disguise`).toBe(expected);
		}
	});
});

describe('a disguise', () => {
	const disguise = Disguise.of(
		['<|im_end|>', 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz 0123456789.,;"\'\\\n\t'],
		[],
	)!;
	const TEXT = ' It\'s "A", <|im_end|>\n\ta-b; 12 \\ é😀 ';

	/** What templates do with texts. `t` is the text of a message, in every place where it may stand. */
	const uses = [
		...['t', 't ~ t', 't + "x"', 't * 2', 't|trim', 't.strip()', 't.lstrip(" I")', 't.rstrip()', 't|upper', 't|lower'],
		...['t.upper()', 't.lower()', 't.title()', 't|title', 't|capitalize', 't.swapcase()', 't.casefold()', 't|length'],
		...['t[0]', 't[-1]', 't[1:5]', 't[::-1]', 't[-3:]', 't|reverse', 't|list', 't|first', 't|last', 't|string', 't|e'],
		...[
			't|tojson',
			't|tojson(ensure_ascii=true)',
			'[t]',
			'(t,)',
			'{t: t}',
			'{"a": t}|tojson(indent=2)',
			'[t]|join("-")',
		],
		...[
			't.split()',
			't.split(" ")',
			't.split("|im_")',
			't.rsplit(" ", 1)',
			't.split("<|im_end|>")[-1]',
			't.splitlines()',
		],
		...['t.partition(",")', 't.rpartition(";")', 't.replace("A", "B")', 't|replace(" ", "")', 't.replace("", "-")'],
		...[
			'"A" in t',
			'"im_end" in t',
			'"zz" in t',
			't in [t]',
			't == " x"',
			't != t',
			't < "a"',
			't > "A"',
			't is string',
		],
		...[
			't.startswith(" It")',
			't.endswith(("x", " "))',
			't.find("A")',
			't.rfind("😀")',
			't.index("é")',
			't.count(" ")',
		],
		...[
			't.count("")',
			't|indent(2)',
			't|indent(2, true)',
			't|truncate(9)',
			't|truncate(9, true)',
			't|wordcount',
			't|urlencode',
		],
		...[
			't|striptags',
			't|wordwrap(4)',
			't|indent("> ", true, true)',
			't.center(50, "*")',
			't.zfill(50)',
			't.ljust(50) ~ "|"',
			'"%s|%5s" % (t, "a")',
			'"{}|{:>50}".format(t, t)',
		],
		...['t is lower', 't is upper', 't.isalpha()', 't.isascii()', 't.isspace()', 't.strip().isprintable()', 't|int(7)'],
		...[
			'" 42 "|int',
			'(t ~ "1")|float(2)',
			'{t: 1}[t]',
			'{"x": t}.x',
			'[t, "b", "C"]|sort',
			'[t, "b"]|max',
			'[t, t]|unique|list',
		],
		...[
			'[{"a": t}]|map(attribute="a")|list',
			'[{"a": t}]|selectattr("a", "equalto", t)|list|length',
			'[{"g": t}]|groupby("g")',
		],
		...[
			't.removeprefix(" I")',
			't.removesuffix(" ")',
			't.expandtabs(4)',
			't|batch(3)|list|length',
			't if t else "e"',
			't|default("d")',
		],
	];

	it.each(uses)('changes nothing: {{ %s }}', (expression) => {
		for (const text of [TEXT, '', 'plain', '  ', '12', 'ABC', '\n<|im_end|>']) {
			const source = `{{ ${expression} }}`;
			expect(render(source, { t: disguise.hide(text) }, disguise), JSON.stringify(text)).toBe(
				render(source, { t: text }),
			);
		}
	});

	it('is kept by what becomes of a text', () => {
		const texts = ['<|im_end|>', '<|IM_END|>', '>|dne_mi|<', '<|im_ end|>', ' <|im_end|> ', 'x<|im_end|>y'];
		for (const expression of uses) {
			for (const text of texts) {
				let shown = '';
				try {
					const options = { units: UNITS, now: NOW, disguise };
					shown = new Template(`{{ ${expression} }}`).render({ t: disguise.hide(text) }, options);
				} catch {
					continue;
				}
				expect(shown, expression).not.toContain('<|im_end|>');
			}
		}
	});

	it('takes characters that no text has, and is none where there is no room', () => {
		const own = Disguise.of(['<|a|>'], ['\ue000\ue005'])!;
		expect(own.reveal(own.hide('\ue000\ue005<|a|>'))).toBe('\ue000\ue005<|a|>');
		expect(own.hide('<|a|>')).toMatch(/^[\ue001-\ue004]+$/);
		const all = String.fromCharCode(...Array.from({ length: 6400 }, (_, i) => 0xe000 + i));
		expect(Disguise.of(['<|a|>'], [all])).toBeUndefined();
		expect(Disguise.of([all], [])).toBeUndefined();
		expect(own.hide('\ud800é\udc00')).toBe('\ud800é\udc00');
	});
});
