// Jinja2's filters (`filters.py`), without `random` and `urlize`, which no prompt can need.
import { type Budget, TemplateError } from './budget';
import { bind, optionalIndex, type Runtime, toIndex } from './calls';
import { printf } from './format';
import { toJson } from './json';
import { centered } from './methods';
import { parseFloatText, parseInteger, roundFloat } from './numbers';
import { binary } from './operators';
import { capitalize, capitalizeEach, escapeHtml, lower, replace, splitLines, splitWords, strip, upper } from './text';
import {
	codePoints,
	compare,
	Dict,
	equals,
	Group,
	isInteger,
	isNumber,
	isTrue,
	itemsOf,
	iterate,
	type Keywords,
	Lazy,
	lengthOf,
	numeric,
	orElse,
	represent,
	Tuple,
	toArray,
	toText,
	typeName,
	Undefined,
	type Value,
} from './values';

export type Filter = (runtime: Runtime, value: Value, args: Value[], keywords: Keywords) => Value;

type Given = (Value | undefined)[];

/** Makes a filter. Its parameters are bound by Python's rules. */
function filter(
	name: string,
	parameters: readonly string[],
	apply: (value: Value, args: Given, runtime: Runtime) => Value,
	required = 0,
): [string, Filter] {
	return [
		name,
		(runtime, value, args, keywords) => apply(value, bind(name, parameters, args, keywords, required), runtime),
	];
}

/** Makes a filter that turns its value into text first. */
function textFilter(
	name: string,
	parameters: readonly string[],
	apply: (text: string, args: Given, budget: Budget) => Value,
	required = 0,
): [string, Filter] {
	return filter(name, parameters, (value, args, { budget }) => apply(toText(value, budget), args, budget), required);
}

/** Makes the function that reads the value of an item for a filter's argument `attribute`, such as `a.b.0`. */
function getter(attribute: Value, runtime: Runtime, fallback?: Value): (item: Value) => Value {
	const parts: Value[] =
		typeof attribute === 'string'
			? attribute.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part))
			: isInteger(attribute)
				? [attribute]
				: [];
	return (item) => {
		let value = item;
		for (const part of parts) {
			runtime.budget.charge(5);
			value = runtime.item(value, part);
			if (value instanceof Undefined && fallback !== undefined && fallback !== null) value = fallback;
		}
		return value;
	};
}

/**
 * Makes the function that gives the key by which an item is sorted and compared. Texts are compared without regard to
 * case, unless `caseSensitive` is true.
 */
function sortKey(
	attribute: Value | undefined,
	caseSensitive: Value | undefined,
	runtime: Runtime,
): (item: Value) => Value {
	const fold = (value: Value): Value => {
		if (isTrue(caseSensitive ?? false) || typeof value !== 'string') return value;
		return runtime.budget.read(value).toLowerCase();
	};
	if ((attribute ?? null) === null) return fold;
	const names = typeof attribute === 'string' ? attribute.split(',') : [attribute!];
	const getters = names.map((name) => getter(name, runtime));
	if (getters.length === 1) return (item) => fold(getters[0]!(item));
	return (item) => getters.map((get) => fold(get(item)));
}

function sorted(items: Value[], key: (item: Value) => Value, reverse: boolean, budget: Budget): Value[] {
	const keyed = items.map((item) => ({ item, key: key(item) }));
	keyed.sort((a, b) => (reverse ? compare(b.key, a.key, '<', budget) : compare(a.key, b.key, '<', budget)) || 0);
	return keyed.map(({ item }) => item);
}

function extreme(largest: boolean) {
	return (value: Value, [caseSensitive, attribute]: Given, runtime: Runtime): Value => {
		const key = sortKey(attribute, caseSensitive, runtime);
		let best: { item: Value; key: Value } | undefined;
		for (const item of iterate(value, runtime.budget)) {
			const own = key(item);
			const order = best ? compare(own, best.key, largest ? '>' : '<', runtime.budget) : 1;
			if (!best || (largest ? order > 0 : order < 0)) best = { item, key: own };
		}
		return best ? best.item : new Undefined('No aggregated item, sequence was empty.');
	};
}

/**
 * Makes `select`, `reject`, `selectattr` or `rejectattr`. The result is lazy: no item is tested before the result is
 * iterated over.
 */
function selecting(keep: boolean, byAttribute: boolean): Filter {
	return (runtime, value, args, keywords) => {
		const selected = function* (): Iterable<Value> {
			if (!isTrue(value)) return;
			const rest = [...args];
			const attribute = byAttribute ? rest.shift() : undefined;
			if (byAttribute && attribute === undefined) throw new TemplateError('Missing parameter for attribute name');
			const get = attribute === undefined ? (item: Value) => item : getter(attribute, runtime);
			const test = rest.shift();
			for (const item of iterate(value, runtime.budget)) {
				runtime.budget.charge(10);
				const own = get(item);
				const passes = test === undefined ? isTrue(own) : runtime.test(nameOf(test), own, rest, keywords);
				if (passes === keep) yield item;
			}
		};
		return new Lazy(selected());
	};
}

function nameOf(value: Value): string {
	if (typeof value === 'string') return value;
	throw new TemplateError(`a filter or test is named by a str, not ${typeName(value)}`);
}

const map: Filter = (runtime, value, args, keywords) => {
	const mapped = function* (): Iterable<Value> {
		if (!isTrue(value)) return;
		let apply: (item: Value) => Value;
		const attribute = keywords.get('attribute');
		if (args.length === 0 && attribute !== undefined) {
			for (const key of keywords.keys()) {
				if (key !== 'attribute' && key !== 'default') throw new TemplateError(`Unexpected keyword argument '${key}'`);
			}
			apply = getter(attribute, runtime, keywords.get('default'));
		} else {
			const [name, ...rest] = args;
			if (name === undefined) throw new TemplateError('map requires a filter argument');
			apply = (item) => runtime.filter(nameOf(name), item, rest, keywords);
		}
		for (const item of iterate(value, runtime.budget)) {
			runtime.budget.charge(10);
			yield apply(item);
		}
	};
	return new Lazy(mapped());
};

function batches(value: Value, [count, fill]: Given, { budget }: Runtime): Value {
	const size = toIndex(count!);
	const lists = function* (): Iterable<Value> {
		let batch: Value[] = [];
		for (const item of iterate(value, budget)) {
			budget.items(1);
			if (batch.length === size) {
				yield batch;
				batch = [];
			}
			batch.push(item);
		}
		if (batch.length === 0) return;
		if ((fill ?? null) !== null && batch.length < size) {
			budget.items(size - batch.length);
			while (batch.length < size) batch.push(fill!);
		}
		yield batch;
	};
	return new Lazy(lists());
}

function slices(value: Value, [count, fill]: Given, { budget }: Runtime): Value {
	const slots = toIndex(count!);
	const lists = function* (): Iterable<Value> {
		const items = toArray(value, budget);
		if (slots === 0) throw new TemplateError('integer division or modulo by zero');
		const size = Math.floor(items.length / slots);
		const longer = items.length % slots;
		let from = 0;
		for (let i = 0; i < slots; i++) {
			const to = from + size + (i < longer ? 1 : 0);
			budget.items(to - from + 1);
			const slice = items.slice(from, to);
			if ((fill ?? null) !== null && i >= longer) slice.push(fill!);
			from = to;
			yield slice;
		}
	};
	return new Lazy(lists());
}

function groupBy(value: Value, [attribute, fallback, caseSensitive]: Given, runtime: Runtime): Value {
	const { budget } = runtime;
	const get = getter(attribute!, runtime, fallback);
	const fold = sortKey(undefined, caseSensitive, runtime);
	const groups: { key: Value; items: Value[] }[] = [];
	for (const item of sorted(toArray(value, budget), (one) => fold(get(one)), false, budget)) {
		const key = fold(get(item));
		const last = groups.at(-1);
		if (last && equals(last.key, key, budget)) last.items.push(item);
		else groups.push({ key, items: [item] });
	}
	return groups.map(({ items }) => new Group([get(items[0]!), items]));
}

function* unique(value: Value, [caseSensitive, attribute]: Given, runtime: Runtime): Iterable<Value> {
	const key = sortKey(attribute, caseSensitive, runtime);
	const seen = new Dict();
	for (const item of iterate(value, runtime.budget)) {
		const own = key(item);
		if (seen.get(own, runtime.budget) !== undefined) continue;
		seen.set(own, true, runtime.budget);
		yield item;
	}
}

function reversed(value: Value, budget: Budget): Value {
	if (typeof value === 'string') return codePoints(value, budget).reverse().join('');
	return new Lazy(toArray(value, budget).reverse());
}

function toInteger(value: Value, otherwise: Value, base: number, budget: Budget): Value {
	if (value instanceof Undefined) value.raise();
	if (isInteger(value)) return numeric(value);
	const whole = (number: number) => (Number.isFinite(number) ? BigInt(Math.trunc(number)) : otherwise);
	if (typeof value === 'number') return whole(value);
	if (typeof value !== 'string') return otherwise;
	const text = budget.read(strip(value, undefined, 'both', budget));
	if (text.length > 10_000) return otherwise;
	budget.charge(base === 10 ? text.length : 8 * text.length);
	const float = parseFloatText(text);
	return parseInteger(text, base) ?? (float === undefined ? otherwise : whole(float));
}

function toFloat(value: Value, otherwise: Value, budget: Budget): Value {
	if (value instanceof Undefined) value.raise();
	if (isNumber(value)) return Number(value);
	if (typeof value !== 'string') return otherwise;
	return parseFloatText(budget.read(strip(value, undefined, 'both', budget))) ?? otherwise;
}

function round(value: Value, [precision, method]: Given): Value {
	const how = method ?? 'common';
	if (how !== 'common' && how !== 'ceil' && how !== 'floor')
		throw new TemplateError('method must be common, ceil or floor');
	if (value instanceof Undefined) value.raise();
	if (!isNumber(value)) throw new TemplateError(`type ${typeName(value)} doesn't define __round__ method`);
	const digits = optionalIndex(precision, 0);
	const number = numeric(value);
	if (how === 'common') {
		if (typeof number === 'number') return roundFloat(number, digits);
		return digits >= 0 ? number : BigInt(roundFloat(Number(number), digits));
	}
	const unit = 10 ** digits;
	return (how === 'ceil' ? Math.ceil(Number(number) * unit) : Math.floor(Number(number) * unit)) / unit;
}

function indent(text: string, [width, first, blank]: Given, budget: Budget): string {
	const by = typeof width === 'string' ? width : ' '.repeat(Math.min(2 ** 24, Math.max(0, optionalIndex(width, 4))));
	const lines = splitLines(`${text}\n`, false, budget);
	budget.text(text.length + lines.length * (by.length + 1));
	const inner = isTrue(blank ?? false)
		? lines.join(`\n${by}`)
		: lines.map((line, i) => (i > 0 && line !== '' ? by + line : line)).join('\n');
	return isTrue(first ?? false) ? by + inner : inner;
}

function truncate(text: string, [length, killWords, end, leeway]: Given, budget: Budget): string {
	const most = optionalIndex(length, 255);
	const mark = end === undefined ? '...' : toText(end, budget);
	const chars = codePoints(text, budget);
	if (chars.length <= most + optionalIndex(leeway, 5)) return text;
	const kept = chars.slice(0, Math.max(0, most - lengthOf(mark, budget))).join('');
	if (isTrue(killWords ?? false)) return kept + mark;
	const space = budget.read(kept).lastIndexOf(' ');
	return (space < 0 ? kept : kept.slice(0, space)) + mark;
}

function wordWrap(text: string, [width, breakLong, wrapString]: Given, budget: Budget): string {
	const columns = optionalIndex(width, 79);
	if (columns <= 0) throw new TemplateError(`invalid width ${columns} (must be > 0)`);
	const separator = wrapString === undefined || wrapString === null ? '\n' : toText(wrapString, budget);
	const wrapped = splitLines(text, false, budget).map((line) => {
		budget.text(4 * line.length);
		const lines: string[] = [];
		let current = '';
		for (const chunk of line.match(/\s+|[^\s-]*-+|[^\s-]+/g) ?? []) {
			let rest = chunk;
			if (current.length + rest.length <= columns) {
				if (current !== '' || rest.trim() !== '' || lines.length === 0) current += rest;
				continue;
			}
			while (rest.length > columns && isTrue(breakLong ?? true) && rest.trim() !== '') {
				const room = columns - current.length;
				lines.push(current + rest.slice(0, room));
				rest = rest.slice(room);
				current = '';
			}
			if (current.trimEnd() !== '') lines.push(current.trimEnd());
			current = rest.trim() === '' ? '' : rest;
			budget.items(2);
		}
		if (current.trimEnd() !== '') lines.push(current.trimEnd());
		return lines.join(separator);
	});
	return wrapped.join(separator);
}

function stripTags(text: string, budget: Budget): string {
	budget.text(4 * text.length);
	let result = '';
	for (let at = 0; at < text.length; ) {
		const open = text.indexOf('<', at);
		const comment = open >= 0 && text.startsWith('<!--', open);
		const close = open < 0 ? -1 : comment ? text.indexOf('-->', open + 4) : text.indexOf('>', open);
		if (close < 0) {
			result += text.slice(at);
			break;
		}
		result += text.slice(at, open);
		at = close + (comment ? 3 : 1);
	}
	const words = splitWords(result, -1, false, budget).join(' ');
	return words.replaceAll(/&(?:amp|lt|gt|quot|#39|#34);/g, (name) => ENTITIES[name]!);
}

const ENTITIES: Record<string, string> = {
	...{ '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&#34;': '"' },
};

function quoteUrl(text: string, safe: string, budget: Budget): string {
	budget.text(12 * text.length);
	return budget.change(text, (char) => {
		if (/^[A-Za-z\d_.~-]$/.test(char) || safe.includes(char)) return char;
		if (char === ' ' && safe === '') return '+';
		const bytes = Array.from(new TextEncoder().encode(char));
		return bytes.map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
	});
}

function urlEncode(value: Value, budget: Budget): string {
	if (typeof value === 'string' || isNumber(value) || value === null || value instanceof Undefined) {
		return quoteUrl(toText(value, budget), '/', budget);
	}
	const pairs =
		value instanceof Dict ? [...value.entries()] : toArray(value, budget).map((pair) => toArray(pair, budget));
	const quoted = pairs.map((pair) => pair.map((part) => quoteUrl(toText(part, budget), '', budget)).join('='));
	return quoted.join('&');
}

function fileSize(value: Value, [binaryGiven]: Given, budget: Budget): string {
	const size = Number(toFloat(value, 0, budget));
	const binaryUnits = isTrue(binaryGiven ?? false);
	const base = binaryUnits ? 1024 : 1000;
	if (size === 1) return '1 Byte';
	if (size < base) return `${Math.trunc(size)} Bytes`;
	const prefixes = [...'kMGTPEZY'];
	let unit = base;
	let index = 0;
	while (index < prefixes.length - 1 && size >= unit * base) {
		unit *= base;
		index++;
	}
	const prefix = binaryUnits ? `${prefixes[index]!.toUpperCase()}iB` : `${prefixes[index]}B`;
	return `${(size / unit).toFixed(1)} ${prefix}`;
}

function xmlAttributes(value: Value, [spaced]: Given, budget: Budget): string {
	if (!(value instanceof Dict)) throw new TemplateError(`'${typeName(value)}' object has no attribute 'items'`);
	const parts: string[] = [];
	for (const [key, item] of value.entries()) {
		if (item === null || item instanceof Undefined) continue;
		const name = toText(key, budget);
		if (/[\s/>=]/.test(name))
			throw new TemplateError(`Invalid character in attribute name: ${represent(name, budget)}`);
		parts.push(`${escapeHtml(name, budget)}="${escapeHtml(toText(item, budget), budget)}"`);
	}
	return (isTrue(spaced ?? true) && parts.length > 0 ? ' ' : '') + parts.join(' ');
}

function dictSort(value: Value, [caseSensitive, by, reverse]: Given, runtime: Runtime): Value {
	if (value instanceof Undefined) value.raise();
	if (!(value instanceof Dict)) throw new TemplateError(`'${typeName(value)}' object has no attribute 'items'`);
	const side = by ?? 'key';
	if (side !== 'key' && side !== 'value') throw new TemplateError('You can only sort by either "key" or "value"');
	const key = sortKey(undefined, caseSensitive, runtime);
	const pairs = Array.from(value.entries(), (entry) => new Tuple([...entry]));
	runtime.budget.items(pairs.length);
	return sorted(
		pairs,
		(pair) => key(itemsOf(pair)![side === 'key' ? 0 : 1]!),
		isTrue(reverse ?? false),
		runtime.budget,
	);
}

function join(value: Value, [separator, attribute]: Given, runtime: Runtime): Value {
	const { budget } = runtime;
	const get = (attribute ?? null) === null ? (item: Value) => item : getter(attribute!, runtime);
	const between = separator === undefined ? '' : toText(separator, budget);
	const texts = Array.from(iterate(value, budget), (item) => {
		budget.items(1);
		return toText(get(item), budget);
	});
	budget.text(texts.reduce((sum, text) => sum + text.length + between.length, 0));
	return texts.join(between);
}

function json(value: Value, [ascii, indentGiven, separators, sortKeys]: Given, { budget }: Runtime): Value {
	const pair = separators === undefined || separators === null ? undefined : toArray(separators, budget);
	const width = indentGiven ?? null;
	if (typeof width === 'bigint') budget.text(Number(width));
	return toJson(
		value,
		{
			asciiOnly: isTrue(ascii ?? false),
			indent: width === null ? undefined : typeof width === 'string' ? width : ' '.repeat(Math.max(0, toIndex(width))),
			separators: pair && [toText(pair[0] ?? '', budget), toText(pair[1] ?? '', budget)],
			sortKeys: isTrue(sortKeys ?? false),
		},
		budget,
	);
}

const orDefault = (value: Value, [otherwise, falsy]: Given) =>
	value instanceof Undefined || (isTrue(falsy ?? false) && !isTrue(value)) ? orElse(otherwise, () => '') : value;

const length = (value: Value, _: Given, { budget }: Runtime) => BigInt(lengthOf(value, budget));

export const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
	filter('abs', [], (value) => {
		if (value instanceof Undefined) value.raise();
		if (!isNumber(value)) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
		const number = numeric(value);
		return number < 0 ? -number : number;
	}),
	filter('attr', ['name'], (value, [name], runtime) => runtime.attribute(value, nameOf(name!), false), 1),
	filter('batch', ['linecount', 'fill_with'], batches, 1),
	textFilter('capitalize', [], (text, _, budget) => capitalize(text, budget)),
	textFilter('center', ['width'], (text, [width], budget) => centered(text, optionalIndex(width, 80), ' ', budget)),
	filter('count', [], length),
	filter('d', ['default_value', 'boolean'], orDefault),
	filter('default', ['default_value', 'boolean'], orDefault),
	filter('dictsort', ['case_sensitive', 'by', 'reverse'], dictSort),
	textFilter('e', [], (text, _, budget) => escapeHtml(text, budget)),
	textFilter('escape', [], (text, _, budget) => escapeHtml(text, budget)),
	filter('filesizeformat', ['binary'], (value, args, { budget }) => fileSize(value, args, budget)),
	filter('first', [], (value, _, { budget }) => {
		for (const item of iterate(value, budget)) return item;
		return new Undefined('No first item, sequence was empty.');
	}),
	filter('float', ['default'], (value, [otherwise], { budget }) =>
		toFloat(
			value,
			orElse(otherwise, () => 0),
			budget,
		),
	),
	textFilter('forceescape', [], (text, _, budget) => escapeHtml(text, budget)),
	[
		'format',
		({ budget }, value, args, keywords) => {
			if (args.length > 0 && keywords.size > 0) {
				throw new TemplateError("can't handle positional and keyword arguments at the same time");
			}
			const values = keywords.size > 0 ? Dict.of(keywords, budget) : new Tuple(args);
			return printf(toText(value, budget), values, budget);
		},
	],
	filter('groupby', ['attribute', 'default', 'case_sensitive'], groupBy, 1),
	textFilter('indent', ['width', 'first', 'blank'], (text, args, budget) =>
		budget.rewrite(text, (seen) => indent(seen, args, budget)),
	),
	filter('int', ['default', 'base'], (value, [otherwise, base], { budget }) =>
		toInteger(
			value,
			orElse(otherwise, () => 0n),
			optionalIndex(base, 10),
			budget,
		),
	),
	filter('items', [], (value, _, { budget }) => {
		if (value instanceof Undefined) return new Lazy([]);
		if (!(value instanceof Dict)) throw new TemplateError('Can only get item pairs from a mapping.');
		budget.items(value.length);
		return new Lazy(Array.from(value.entries(), (entry) => new Tuple([...entry])));
	}),
	filter('join', ['d', 'attribute'], join),
	filter('last', [], (value, _, { budget }) => {
		if (value instanceof Lazy) throw new TemplateError("'generator' object is not reversible");
		return orElse(toArray(value, budget).at(-1), () => new Undefined('No last item, sequence was empty.'));
	}),
	filter('length', [], length),
	filter('list', [], (value, _, { budget }) => toArray(value, budget)),
	textFilter('lower', [], (text, _, budget) => lower(text, budget)),
	['map', map],
	filter('max', ['case_sensitive', 'attribute'], extreme(true)),
	filter('min', ['case_sensitive', 'attribute'], extreme(false)),
	filter('pprint', [], (value, _, { budget }) => represent(value, budget)),
	['reject', selecting(false, false)],
	['rejectattr', selecting(false, true)],
	textFilter(
		'replace',
		['old', 'new', 'count'],
		(text, [old, by, count], budget) =>
			replace(text, toText(old!, budget), toText(by!, budget), optionalIndex(count, -1), budget),
		2,
	),
	filter('reverse', [], (value, _, { budget }) => reversed(value, budget)),
	filter('round', ['precision', 'method'], round),
	textFilter('safe', [], (text) => text),
	['select', selecting(true, false)],
	['selectattr', selecting(true, true)],
	filter('slice', ['slices', 'fill_with'], slices, 1),
	filter('sort', ['reverse', 'case_sensitive', 'attribute'], (value, [reverse, caseSensitive, attribute], runtime) => {
		const key = sortKey(attribute, caseSensitive, runtime);
		// Jinja2 compares lists that hold the keys. In a list, equal keys are never ordered, so two undefined keys do not
		// raise.
		const listed = (item: Value) => [key(item)];
		return sorted(toArray(value, runtime.budget), listed, isTrue(reverse ?? false), runtime.budget);
	}),
	textFilter('string', [], (text) => text),
	textFilter('striptags', [], (text, _, budget) => budget.rewrite(text, (seen) => stripTags(seen, budget))),
	filter('sum', ['attribute', 'start'], (value, [attribute, start], runtime) => {
		const get = (attribute ?? null) === null ? (item: Value) => item : getter(attribute!, runtime);
		let sum: Value = start ?? 0n;
		for (const item of iterate(value, runtime.budget)) {
			runtime.budget.charge(10);
			sum = binary('+', sum, get(item), runtime.budget);
		}
		return sum;
	}),
	textFilter('title', [], (text, _, budget) => capitalizeEach(text, /[^-\s({[<]+/g, budget)),
	filter('tojson', ['ensure_ascii', 'indent', 'separators', 'sort_keys'], json),
	textFilter('trim', ['chars'], (text, [chars], budget) =>
		strip(text, (chars ?? null) === null ? undefined : toText(chars!, budget), 'both', budget),
	),
	textFilter('truncate', ['length', 'killwords', 'end', 'leeway'], truncate),
	filter('unique', ['case_sensitive', 'attribute'], (value, args, runtime) => new Lazy(unique(value, args, runtime))),
	textFilter('upper', [], (text, _, budget) => upper(text, budget)),
	filter('urlencode', [], (value, _, { budget }) => urlEncode(value, budget)),
	textFilter('wordcount', [], (text, _, budget) => {
		budget.text(4 * text.length);
		return BigInt(budget.read(text).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0);
	}),
	textFilter('wordwrap', ['width', 'break_long_words', 'wrapstring', 'break_on_hyphens'], (text, args, budget) =>
		budget.rewrite(text, (seen) => wordWrap(seen, args, budget)),
	),
	filter('xmlattr', ['autospace'], (value, args, { budget }) => xmlAttributes(value, args, budget)),
]);
