// The methods of Python's types that a template may call. Methods that change a list or a dict are refused, as they are
// in the sandbox in which transformers renders.
import { type Budget, TemplateError } from './budget';
import { bind, optionalIndex, type Runtime, requireText, toIndex } from './calls';
import { formatText, pad } from './format';
import {
	capitalize,
	capitalizeEach,
	lower,
	replace,
	splitBy,
	splitByFromEnd,
	splitLines,
	splitWords,
	strip,
	upper,
} from './text';
import {
	Callable,
	codePoints,
	Dict,
	DictView,
	equals,
	isPlain,
	type Keywords,
	lengthOf,
	orElse,
	Range,
	Tuple,
	toArray,
	typeName,
	Undefined,
	type Value,
} from './values';

interface Method<T> {
	parameters: readonly string[];
	required?: number;
	call(self: T, args: (Value | undefined)[], runtime: Runtime): Value;
}

function method<T>(
	parameters: readonly string[],
	call: (self: T, args: (Value | undefined)[], runtime: Runtime) => Value,
	required = 0,
): Method<T> {
	return { parameters, required, call };
}

/** A method of a value; undefined where the value's type has no method of that name. */
export function methodOf(self: Value, name: string, runtime: Runtime): Value | undefined {
	if (typeof self === 'string') {
		if (name === 'format') {
			return bound(self, name, (args, keywords) => formatText(self, args, keywords, runtime, runtime.budget));
		}
		return made(self, name, STRING, runtime);
	}
	if (Array.isArray(self)) {
		return LIST_CHANGES.has(name) ? unsafe(self, name) : made<readonly Value[]>(self, name, SEQUENCE, runtime, self);
	}
	if (self instanceof Dict) return DICT_CHANGES.has(name) ? unsafe(self, name) : made(self, name, DICT, runtime);
	if (self instanceof Tuple && name !== 'copy')
		return made<readonly Value[]>(self.items, name, SEQUENCE, runtime, self);
	if (self instanceof Range && name in RANGE) return made(self, name, RANGE, runtime);
	if (typeof self === 'number' && name === 'is_integer') return bound(self, name, () => Number.isInteger(self));
	return undefined;
}

function bound(self: Value, name: string, call: (args: Value[], keywords: Keywords) => Value): Callable {
	return new Callable('builtin_function_or_method', `${name} of ${typeName(self)} object`, call);
}

function made<T>(
	self: T,
	name: string,
	methods: Record<string, Method<T>>,
	runtime: Runtime,
	shown: Value = self as Value,
): Callable | undefined {
	if (!Object.hasOwn(methods, name)) return undefined;
	const { parameters, required, call } = methods[name]!;
	return bound(shown, name, (args, keywords) => call(self, bind(name, parameters, args, keywords, required), runtime));
}

function unsafe(self: Value, name: string): Undefined {
	return new Undefined(`access to attribute '${name}' of '${typeName(self)}' object is unsafe.`);
}

const LIST_CHANGES = new Set(['append', 'clear', 'pop', 'reverse', 'insert', 'sort', 'extend', 'remove']);
const DICT_CHANGES = new Set(['clear', 'pop', 'popitem', 'setdefault', 'update']);

const SEQUENCE: Record<string, Method<readonly Value[]>> = {
	count: method(
		['value'],
		(items, [value], { budget }) => BigInt(items.filter((item) => equals(item, value!, budget)).length),
		1,
	),
	index: method(
		['value', 'start', 'stop'],
		(items, [value, start, stop], { budget }) => {
			const from = optionalIndex(start, 0);
			const part = items.slice(from, stop === undefined ? undefined : toIndex(stop));
			const at = part.findIndex((item) => equals(item, value!, budget));
			if (at < 0) throw new TemplateError('the value is not in the list');
			return BigInt(at + (from < 0 ? Math.max(0, from + items.length) : from));
		},
		1,
	),
	copy: method([], (items, _, { budget }) => {
		budget.items(items.length);
		return [...items];
	}),
};

const RANGE: Record<string, Method<Range>> = {
	count: method(
		['value'],
		(range, [value], { budget }) =>
			BigInt(toArray(range, budget).filter((item) => equals(item, value!, budget)).length),
		1,
	),
	index: method(
		['value'],
		(range, [value], { budget }) => {
			const at = toArray(range, budget).findIndex((item) => equals(item, value!, budget));
			if (at < 0) throw new TemplateError('the value is not in range');
			return BigInt(at);
		},
		1,
	),
};

const DICT: Record<string, Method<Dict>> = {
	get: method(
		['key', 'default'],
		(dict, [key, otherwise], { budget }) => orElse(dict.get(key!, budget), () => orElse(otherwise, () => null)),
		1,
	),
	keys: method([], (dict) => new DictView('dict_keys', dict)),
	values: method([], (dict) => new DictView('dict_values', dict)),
	items: method([], (dict) => new DictView('dict_items', dict)),
	copy: method([], (dict, _, { budget }) => Dict.of(dict.entries(), budget)),
};

/**
 * The part of a text that a search looks at. `start` and `end` count characters, as Python does, and `from` is the
 * part's place in characters.
 */
function searched(
	text: string,
	start: Value | undefined,
	end: Value | undefined,
	{ budget }: Runtime,
): { part: string; from: number } | undefined {
	if ((start ?? null) === null && (end ?? null) === null) return { part: text, from: 0 };
	const units = isPlain(text, budget) ? text : codePoints(text, budget);
	const { length } = units;
	const place = (value: number) => Math.min(Math.max(value < 0 ? value + length : value, 0), length);
	const given = optionalIndex(start, 0);
	if (given > length) return undefined;
	const from = place(given);
	const to = place(optionalIndex(end, length));
	if (from > to) return undefined;
	return { part: typeof units === 'string' ? units.slice(from, to) : units.slice(from, to).join(''), from };
}

function found(fromEnd: boolean, raises: boolean) {
	return method<string>(
		['sub', 'start', 'end'],
		(text, [sub, start, end], runtime) => {
			const { budget } = runtime;
			const wanted = budget.read(requireText(sub, 'argument 1'));
			const area = searched(text, start, end, runtime);
			const seen = area && budget.read(area.part);
			const at = seen === undefined ? -1 : fromEnd ? seen.lastIndexOf(wanted) : seen.indexOf(wanted);
			if (at < 0 && raises) throw new TemplateError('substring not found');
			return BigInt(at < 0 ? -1 : area!.from + lengthOf(seen!.slice(0, at), budget));
		},
		1,
	);
}

function affix(at: 'start' | 'end') {
	return method<string>(
		['prefix', 'start', 'end'],
		(text, [affixes, start, end], runtime) => {
			const area = searched(text, start, end, runtime);
			const wanted = affixes instanceof Tuple ? affixes.items : [affixes!];
			return wanted.some((one) => {
				if (typeof one !== 'string') {
					const which = at === 'start' ? 'startswith' : 'endswith';
					throw new TemplateError(`${which} first arg must be str or a tuple of str, not ${typeName(one)}`);
				}
				if (!area) return false;
				const [seen, wantedText] = [runtime.budget.read(area.part), runtime.budget.read(one)];
				return at === 'start' ? seen.startsWith(wantedText) : seen.endsWith(wantedText);
			});
		},
		1,
	);
}

function stripped(ends: 'both' | 'start' | 'end') {
	return method<string>(['chars'], (text, [chars], { budget }) => {
		const set = (chars ?? null) === null ? undefined : requireText(chars, 'strip arg');
		return strip(text, set, ends, budget);
	});
}

function split(fromEnd: boolean) {
	return method<string>(['sep', 'maxsplit'], (text, [sep, maxsplit], { budget }) => {
		const limit = optionalIndex(maxsplit, -1);
		if ((sep ?? null) === null) return splitWords(text, limit, fromEnd, budget);
		const separator = requireText(sep, 'sep');
		if (separator === '') throw new TemplateError('empty separator');
		return fromEnd ? splitByFromEnd(text, separator, limit, budget) : splitBy(text, separator, limit, budget);
	});
}

function partition(fromEnd: boolean) {
	return method<string>(
		['sep'],
		(text, [sep], { budget }) => {
			const separator = requireText(sep, 'sep');
			if (separator === '') throw new TemplateError('empty separator');
			const [seen, wanted] = [budget.read(text), budget.read(separator)];
			const at = fromEnd ? seen.lastIndexOf(wanted) : seen.indexOf(wanted);
			if (at < 0) return new Tuple(fromEnd ? ['', '', text] : [text, '', '']);
			return new Tuple([text.slice(0, at), separator, text.slice(at + separator.length)]);
		},
		1,
	);
}

function padded(align: '<' | '>' | '^') {
	return method<string>(
		['width', 'fillchar'],
		(text, [width, fill], { budget }) => {
			const char = fill === undefined ? ' ' : requireText(fill, 'the fill character');
			if (lengthOf(char, budget) !== 1)
				throw new TemplateError('The fill character must be exactly one character long');
			const columns = toIndex(width!);
			return align === '^' ? centered(text, columns, char, budget) : pad(text, columns, align, char, budget);
		},
		1,
	);
}

/**
 * Centres a text as `str.center` does. Where the fill cannot be halved, its odd character goes left if the width is
 * odd, and right if it is even.
 */
export function centered(text: string, width: number, fill: string, budget: Budget): string {
	const missing = width - lengthOf(text, budget);
	if (!(missing > 0)) return text;
	const left = Math.floor(missing / 2) + (missing % 2 === 1 && width % 2 === 1 ? 1 : 0);
	return pad(pad(text, width - (missing - left), '>', fill, budget), width, '<', fill, budget);
}

function matches(pattern: RegExp, empty = false) {
	return tested((text) => (text === '' ? empty : pattern.test(text)));
}

function mapped(map: (text: string, budget: Budget) => string) {
	return method<string>([], (text, _, { budget }) => map(text, budget));
}

function tested(test: (text: string) => boolean) {
	return method<string>([], (text, _, { budget }) => {
		budget.text(2 * text.length);
		return test(budget.read(text));
	});
}

export function isLower(text: string): boolean {
	return /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);
}

export function isUpper(text: string): boolean {
	return /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
}

/** A run of letters. */
const LETTERS = /\p{L}+/gu;

/** Whether each run of letters begins with a capital, and has no other capitals. */
function isTitle(text: string): boolean {
	const words = text.match(LETTERS) ?? [];
	return words.length > 0 && words.every((word) => /^(?:[\p{Lu}\p{Lt}]|\p{Lo})[^\p{Lu}\p{Lt}]*$/u.test(word));
}

const STRING: Record<string, Method<string>> = {
	capitalize: mapped(capitalize),
	casefold: mapped((text, budget) => budget.change(text, (char) => ('ßẞ'.includes(char) ? 'ss' : char.toLowerCase()))),
	center: padded('^'),
	count: method(
		['sub', 'start', 'end'],
		(text, [sub, start, end], runtime) => {
			const wanted = requireText(sub, 'argument 1');
			const area = searched(text, start, end, runtime);
			if (!area) return 0n;
			if (wanted === '') return BigInt(lengthOf(area.part, runtime.budget) + 1);
			return BigInt(splitBy(area.part, wanted, -1, runtime.budget).length - 1);
		},
		1,
	),
	endswith: affix('end'),
	expandtabs: method(['tabsize'], (text, [size], { budget }) => {
		const columns = Math.max(0, optionalIndex(size, 8));
		const lines = splitLines(text, true, budget).map((line) => {
			const [first, ...rest] = splitBy(line, '\t', -1, budget);
			return rest.reduce((result, part) => {
				const stop = columns === 0 ? 0 : columns - (lengthOf(result, budget) % columns);
				return pad(result, lengthOf(result, budget) + stop, '<', ' ', budget) + part;
			}, first!);
		});
		return lines.join('');
	}),
	find: found(false, false),
	format_map: method(
		['mapping'],
		(text, [mapping], runtime) => {
			if (!(mapping instanceof Dict)) throw new TemplateError('format_map() requires a mapping');
			const keywords: Keywords = new Map();
			for (const [key, value] of mapping.entries()) if (typeof key === 'string') keywords.set(key, value);
			return formatText(text, [], keywords, runtime, runtime.budget);
		},
		1,
	),
	index: found(false, true),
	isalnum: matches(/^[\p{L}\p{N}]+$/u),
	isalpha: matches(/^\p{L}+$/u),
	isascii: matches(/^[\0-\x7f]*$/, true),
	isdecimal: matches(/^\p{Nd}+$/u),
	isdigit: matches(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089]+$/u),
	isidentifier: matches(/^[\p{ID_Start}_]\p{ID_Continue}*$/u),
	islower: tested(isLower),
	isnumeric: matches(/^\p{N}+$/u),
	isprintable: matches(/^[^\p{C}\p{Zl}\p{Zp}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]*$/u, true),
	isspace: method([], (text, _, { budget }) => text !== '' && strip(text, undefined, 'both', budget) === ''),
	istitle: tested(isTitle),
	isupper: tested(isUpper),
	join: method(
		['iterable'],
		(separator, [iterable], { budget }) => {
			const items = toArray(iterable!, budget);
			let length = 0;
			for (const [i, item] of items.entries()) {
				if (typeof item !== 'string') {
					throw new TemplateError(`sequence item ${i}: expected str instance, ${typeName(item)} found`);
				}
				length += item.length + separator.length;
			}
			budget.text(length);
			return items.join(separator);
		},
		1,
	),
	ljust: padded('<'),
	lower: mapped(lower),
	lstrip: stripped('start'),
	partition: partition(false),
	removeprefix: method(
		['prefix'],
		(text, [prefix], { budget }) => {
			const start = budget.read(requireText(prefix, 'removeprefix() argument'));
			return budget.read(text).startsWith(start) ? text.slice(start.length) : text;
		},
		1,
	),
	removesuffix: method(
		['suffix'],
		(text, [suffix], { budget }) => {
			const end = budget.read(requireText(suffix, 'removesuffix() argument'));
			return budget.read(text).endsWith(end) ? text.slice(0, text.length - end.length) : text;
		},
		1,
	),
	replace: method(
		['old', 'new', 'count'],
		(text, [old, by, count], { budget }) =>
			replace(
				text,
				requireText(old, 'replace() argument 1'),
				requireText(by, 'replace() argument 2'),
				optionalIndex(count, -1),
				budget,
			),
		2,
	),
	rfind: found(true, false),
	rindex: found(true, true),
	rjust: padded('>'),
	rpartition: partition(true),
	rsplit: split(true),
	rstrip: stripped('end'),
	split: split(false),
	splitlines: method(['keepends'], (text, [keepends], { budget }) => splitLines(text, Boolean(keepends), budget)),
	startswith: affix('start'),
	strip: stripped('both'),
	swapcase: mapped((text, budget) =>
		budget.change(text, (char) => (isUpper(char) ? char.toLowerCase() : char.toUpperCase())),
	),
	title: mapped((text, budget) => capitalizeEach(text, LETTERS, budget)),
	upper: mapped(upper),
	zfill: method(
		['width'],
		(text, [width], { budget }) => {
			const signed = /^[+-]/.test(budget.read(text));
			const sign = signed ? text.slice(0, 1) : '';
			return sign + pad(text.slice(sign.length), toIndex(width!) - sign.length, '>', '0', budget);
		},
		1,
	),
};
