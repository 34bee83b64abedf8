// Python's two ways to put values into a text: `'%5.2f' % x` and `'{:>5}'.format(x)`.
import { type Budget, TemplateError } from './budget';
import { fixed, floatText, withExponentSign } from './numbers';
import {
	codePoints,
	Dict,
	isNumber,
	isPlain,
	type Keywords,
	numeric,
	Range,
	represent,
	Tuple,
	toText,
	typeName,
	Undefined,
	type Value,
} from './values';

/** The most digits behind the point that are computed: the limit of JavaScript's `toFixed`. Python has none. */
const MAX_PRECISION = 100;

/**
 * Fills a text up to a width in characters, as `str.format` does.
 * @param align `<`: the text is left, `>`: it is right, `^`: it is in the middle.
 */
export function pad(text: string, width: number, align: string, fill: string, budget: Budget): string {
	budget.text(text.length);
	const missing = width - (isPlain(text, budget) ? text.length : codePoints(text, budget).length);
	if (!(missing > 0)) return text;
	budget.text(missing * fill.length);
	const left = align === '<' ? 0 : align === '>' ? missing : Math.floor(missing / 2);
	return fill.repeat(left) + text + fill.repeat(missing - left);
}

/** The first `length` characters of a text. */
function cut(text: string, length: number | undefined, budget: Budget): string {
	if (length === undefined || length >= text.length) return text;
	return isPlain(text, budget) ? text.slice(0, length) : codePoints(text, budget).slice(0, length).join('');
}

const CONVERSION = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?([\s\S]?)/g;
const HAS_PRECISION = /%(?:\([^()]*\))?[-+ #0]*(?:\*|\d+)?\./y;

/** As Python's `text % values`. */
export function printf(text: string, values: Value, budget: Budget): string {
	budget.text(text.length);
	const positional = values instanceof Tuple ? values.items : [values];
	let next = 0;
	let named = false;
	const take = (): Value => {
		if (next >= positional.length) throw new TemplateError('not enough arguments for format string');
		return positional[next++]!;
	};
	const count = (given: string | undefined): number | undefined => {
		if (given === undefined) return undefined;
		if (given !== '*') return Number(given);
		const value = take();
		if (typeof value !== 'bigint') throw new TemplateError('* wants int');
		return Number(value);
	};
	let result = '';
	let end = 0;
	for (const match of text.matchAll(CONVERSION)) {
		const [whole, name, flags, width, precision, kind] = match as unknown as [
			string,
			string?,
			string?,
			string?,
			string?,
			string?,
		];
		budget.charge(10);
		result += text.slice(end, match.index);
		end = match.index + whole.length;
		if (whole === '%%') {
			result += '%';
			continue;
		}
		let value: Value | undefined;
		if (name !== undefined) {
			if (!(values instanceof Dict)) throw new TemplateError('format requires a mapping');
			value = values.get(name, budget);
			if (value === undefined) throw new TemplateError(`KeyError: ${represent(name, budget)}`);
			named = true;
		}
		HAS_PRECISION.lastIndex = match.index;
		const dot = HAS_PRECISION.test(text);
		let columns = count(width);
		let given = flags ?? '';
		if (columns !== undefined && columns < 0) {
			columns = -columns;
			given += '-';
		}
		const digits = count(precision) ?? (dot ? 0 : undefined);
		const one = printfOne(kind ?? '', value ?? (kind === '%' ? '' : take()), given, digits, budget);
		const left = given.includes('-');
		if (one.number && given.includes('0') && !left) {
			const sign = /^[+\- ]?(?:0[xo])?/i.exec(one.text)![0];
			const body = one.text.slice(sign.length);
			result += sign + pad(body, (columns ?? 0) - sign.length, '>', '0', budget);
		} else result += pad(one.text, columns ?? 0, left ? '<' : '>', ' ', budget);
		budget.text(one.text.length);
	}
	if (!named && next < positional.length && !mayStayUnused(values)) {
		throw new TemplateError('not all arguments converted during string formatting');
	}
	return result + text.slice(end);
}

/**
 * Whether Python takes the value for a mapping. Python does so with all values that have items, and need not use any
 * item of a mapping.
 */
function mayStayUnused(values: Value): boolean {
	return values instanceof Dict || values instanceof Undefined || values instanceof Range || Array.isArray(values);
}

function printfOne(
	kind: string,
	value: Value,
	flags: string,
	precision: number | undefined,
	budget: Budget,
): { text: string; number: boolean } {
	switch (kind) {
		case 's':
			return { text: cut(toText(value, budget), precision, budget), number: false };
		case 'r':
		case 'a':
			return { text: cut(represent(value, budget), precision, budget), number: false };
		case 'c': {
			if (typeof value === 'string' && [...value].length === 1) return { text: value, number: false };
			const code = isNumber(value) && typeof value !== 'number' ? Number(value) : -1;
			if (!(code >= 0 && code <= 0x10ffff)) throw new TemplateError('%c requires int or char');
			return { text: String.fromCodePoint(code), number: false };
		}
		case '%':
			return { text: '%', number: false };
		case '':
			throw new TemplateError('incomplete format');
	}
	if (!'diuxXofFeEgG'.includes(kind)) throw new TemplateError(`unsupported format character '${kind}'`);
	if (!isNumber(value)) {
		if (value instanceof Undefined) value.raise();
		const wants = 'diu'.includes(kind) ? 'a real number is required' : 'must be real number';
		throw new TemplateError(`%${kind} format: ${wants}, not ${typeName(value)}`);
	}
	const number = numeric(value);
	let text: string;
	if ('diuxXo'.includes(kind)) {
		if (typeof number === 'number' && !'diu'.includes(kind)) {
			throw new TemplateError(`%${kind} format: an integer is required, not float`);
		}
		if (typeof number === 'number' && !Number.isFinite(number)) {
			throw new TemplateError(`cannot convert float ${Number.isNaN(number) ? 'NaN' : 'infinity'} to integer`);
		}
		const whole = typeof number === 'bigint' ? number : BigInt(Math.trunc(number));
		text = integerText(whole, 'diu'.includes(kind) ? 'd' : kind, flags.includes('#'));
		budget.text(text.length);
		if (precision !== undefined) {
			const sign = text.startsWith('-') ? '-' : '';
			text = sign + pad(text.slice(sign.length), precision, '>', '0', budget);
		}
	} else text = floatAs(Number(number), kind, precision ?? 6, flags.includes('#'));
	if (!text.startsWith('-')) text = (flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '') + text;
	return { text, number: true };
}

function integerText(value: bigint, kind: string, prefixed: boolean): string {
	const radix = { d: 10, x: 16, X: 16, o: 8, b: 2 }[kind as 'd'];
	const digits = (value < 0n ? -value : value).toString(radix);
	const prefix = prefixed && kind !== 'd' ? `0${kind}` : '';
	return (value < 0n ? '-' : '') + prefix + (kind === 'X' ? digits.toUpperCase() : digits);
}

/** A float as the conversions `e`, `f`, `g`, `%` and their capitals write it. */
function floatAs(value: number, kind: string, precision: number, alternate = false): string {
	if (!Number.isFinite(value)) {
		const text = Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
		return kind === kind.toUpperCase() && kind !== '%' ? text.toUpperCase() : text + (kind === '%' ? '%' : '');
	}
	const digits = Math.min(precision, MAX_PRECISION);
	const lower = kind.toLowerCase();
	let text: string;
	if (kind === '%') text = `${fixed(value * 100, digits)}%`;
	else if (lower === 'f') text = fixed(value, digits);
	else if (lower === 'e') text = exponential(value, digits);
	else {
		const significant = Math.max(1, digits);
		const power = value === 0 ? 0 : Number(value.toExponential(significant - 1).split('e')[1]);
		if (power < -4 || power >= significant) {
			const [mantissa, exponent] = exponential(value, significant - 1).split('e') as [string, string];
			text = `${alternate ? mantissa : withoutZeros(mantissa)}e${exponent}`;
		} else {
			const plain = fixed(value, Math.min(MAX_PRECISION, significant - 1 - power));
			text = alternate ? plain : withoutZeros(plain);
		}
	}
	if (Object.is(value, -0) && !text.startsWith('-')) text = `-${text}`;
	return kind === 'E' || kind === 'G' ? text.toUpperCase() : text;
}

function exponential(value: number, digits: number): string {
	const [mantissa, exponent] = value.toExponential(digits).split('e') as [string, string];
	return `${mantissa}e${withExponentSign(Number(exponent))}`;
}

function withoutZeros(text: string): string {
	return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

const SPECIFICATION = /^(?:([\s\S])?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/u;

/** As Python's `format(value, specification)`. */
export function formatValue(value: Value, specification: string, budget: Budget): string {
	if (specification === '') return toText(value, budget);
	const match = SPECIFICATION.exec(specification);
	if (!match) throw new TemplateError(`Invalid format specifier '${specification}'`);
	const [, fillGiven, alignGiven, sign, , alternate, zero, width, grouping, precision, kind] = match;
	const columns = Number(width ?? 0);
	if (!isNumber(value)) {
		if (typeof value !== 'string') {
			throw new TemplateError(`unsupported format string passed to ${typeName(value)}.__format__`);
		}
		if (kind !== undefined && kind !== 's') {
			throw new TemplateError(`Unknown format code '${kind}' for object of type '${typeName(value)}'`);
		}
		if (sign !== undefined) throw new TemplateError('Sign not allowed in string format specifier');
		if (alignGiven === '=') throw new TemplateError("'=' alignment not allowed in string format specifier");
		const text = cut(toText(value, budget), precision === undefined ? undefined : Number(precision), budget);
		return pad(text, columns, alignGiven ?? '<', fillGiven ?? (zero ? '0' : ' '), budget);
	}
	const numberValue = numeric(value);
	let text = numberText(numberValue, kind, precision, alternate !== undefined, budget);
	const negative = text.startsWith('-');
	if (negative) text = text.slice(1);
	if (grouping !== undefined) text = grouped(text, grouping, kind === undefined || 'dnfFeEgG%'.includes(kind) ? 3 : 4);
	const signText = negative ? '-' : sign === '+' ? '+' : sign === ' ' ? ' ' : '';
	const align = alignGiven ?? (zero ? '=' : '>');
	const fill = fillGiven ?? (zero ? '0' : ' ');
	if (align !== '=') return pad(signText + text, columns, align, fill, budget);
	return signText + pad(text, columns - signText.length, '>', fill, budget);
}

function numberText(
	value: bigint | number,
	kind: string | undefined,
	precision: string | undefined,
	alternate: boolean,
	budget: Budget,
): string {
	budget.charge(20);
	const digits = precision === undefined ? undefined : Number(precision);
	if (typeof value === 'bigint' && (kind === undefined || 'dnbox XcX'.includes(kind))) {
		if (digits !== undefined) throw new TemplateError('Precision not allowed in integer format specifier');
		if (kind === 'c') return String.fromCodePoint(Number(value));
		return integerText(value, kind === undefined || kind === 'n' ? 'd' : kind, alternate);
	}
	if (kind === undefined) {
		if (digits === undefined) return floatText(Number(value));
		const text = floatAs(Number(value), 'g', digits);
		return /^-?\d+$/.test(text) ? `${text}.0` : text;
	}
	if (!'eEfFgGn%'.includes(kind)) {
		throw new TemplateError(`Unknown format code '${kind}' for object of type '${typeName(value)}'`);
	}
	return floatAs(Number(value), kind === 'n' ? 'g' : kind, digits ?? 6, alternate);
}

function grouped(text: string, separator: string, size: number): string {
	const [, whole, rest] = /^([\da-fA-F]*)([\s\S]*)$/.exec(text)!;
	let result = '';
	for (let end = whole!.length; end > 0; end -= size) {
		result = whole!.slice(Math.max(0, end - size), end) + (result === '' ? '' : separator + result);
	}
	return result + rest;
}

/** How a field such as `{0.a[b]}` reads a value, by the rules of the sandbox. */
export interface FieldAccess {
	attribute(object: Value, name: string): Value;
	item(object: Value, key: Value): Value;
}

/** As Python's `text.format(*args, **keywords)`. */
export function formatText(
	text: string,
	args: readonly Value[],
	keywords: Keywords,
	access: FieldAccess,
	budget: Budget,
): string {
	let automatic = 0;
	const field = (name: string): Value => {
		const [, first, rest] = /^([^.[]*)([\s\S]*)$/.exec(name)!;
		const key = first === '' ? String(automatic++) : first!;
		let value = /^\d+$/.test(key) ? args[Number(key)] : keywords.get(key);
		if (value === undefined) {
			throw new TemplateError(
				/^\d+$/.test(key) ? `Replacement index ${key} out of range for positional args tuple` : `KeyError: '${key}'`,
			);
		}
		for (const [, attribute, item] of rest!.matchAll(/\.([^.[]+)|\[([^\][]*)\]/g)) {
			budget.charge(10);
			value =
				attribute !== undefined
					? access.attribute(value, attribute)
					: access.item(value, /^\d+$/.test(item!) ? BigInt(item!) : item!);
		}
		return value;
	};
	const expand = (source: string, depth: number): string => {
		if (depth > 2) throw new TemplateError('Max string recursion exceeded');
		budget.text(source.length);
		let result = '';
		for (let at = 0; at < source.length; ) {
			const char = source[at]!;
			if (char === '{' || char === '}') {
				if (source[at + 1] === char) {
					result += char;
					at += 2;
					continue;
				}
				if (char === '}') throw new TemplateError("Single '}' encountered in format string");
				let end = at + 1;
				for (let open = 1; end < source.length; end++) {
					if (source[end] === '{') open++;
					else if (source[end] === '}' && --open === 0) break;
				}
				if (end >= source.length) throw new TemplateError("expected '}' before end of string");
				const [, name, conversion, specification] = /^([^!:]*)(?:!([\s\S]))?(?::([\s\S]*))?$/.exec(
					source.slice(at + 1, end),
				) ?? [undefined, '', undefined, undefined];
				let value = field(name!);
				if (conversion === 's') value = toText(value, budget);
				else if (conversion === 'r' || conversion === 'a') value = represent(value, budget);
				else if (conversion !== undefined) throw new TemplateError(`Unknown conversion specifier '${conversion}'`);
				const formatted = formatValue(
					value,
					specification === undefined ? '' : expand(specification, depth + 1),
					budget,
				);
				budget.text(formatted.length);
				result += formatted;
				at = end + 1;
				continue;
			}
			let end = at;
			while (end < source.length && source[end] !== '{' && source[end] !== '}') end++;
			result += source.slice(at, end);
			at = end;
		}
		return result;
	};
	return expand(text, 1);
}
