// What Python's operators and subscripts do.
import type { BinaryOperator } from './ast';
import { type Budget, TemplateError } from './budget';
import { printf } from './format';
import { floatModulo, floorDivide, modulo } from './numbers';
import {
	codePoints,
	Dict,
	isInteger,
	isNumber,
	isPlain,
	numeric,
	Range,
	represent,
	Tuple,
	typeName,
	Undefined,
	type Value,
} from './values';

/** The most bits of an integer. Templates need far fewer, and arithmetic with this many is still quick. */
const MAX_BITS = 2 ** 16;

export function binary(operator: BinaryOperator, a: Value, b: Value, budget: Budget): Value {
	if (isNumber(a) && isNumber(b)) return arithmetic(operator, numeric(a), numeric(b), budget);
	if (operator === '%' && typeof a === 'string') return printf(a, b, budget);
	for (const value of [a, b]) if (value instanceof Undefined) value.raise();
	if (operator === '+') {
		if (typeof a === 'string') {
			if (typeof b === 'string') return joined([a, b], budget);
			throw new TemplateError(`can only concatenate str (not "${typeName(b)}") to str`);
		}
		if (Array.isArray(a) && Array.isArray(b)) {
			budget.items(a.length + b.length);
			return [...a, ...b];
		}
		if (a instanceof Tuple && b instanceof Tuple) {
			budget.items(a.length + b.length);
			return new Tuple([...a.items, ...b.items]);
		}
	}
	if (operator === '*') {
		if (isInteger(b)) return repeated(a, numeric(b) as bigint, budget) ?? unsupported(operator, a, b);
		if (isInteger(a)) return repeated(b, numeric(a) as bigint, budget) ?? unsupported(operator, a, b);
	}
	return unsupported(operator, a, b);
}

function unsupported(operator: string, a: Value, b: Value): never {
	const name = operator === '**' ? '** or pow()' : operator;
	throw new TemplateError(`unsupported operand type(s) for ${name}: '${typeName(a)}' and '${typeName(b)}'`);
}

/**
 * Joins texts. Each join is charged by the shorter of its two parts, since JavaScript copies neither part. A text is
 * charged in full where it is read.
 */
export function joined(texts: readonly string[], budget: Budget): string {
	let result = '';
	for (const text of texts) {
		budget.text(Math.min(result.length, text.length));
		if (result.length + text.length > 2 ** 24) budget.text(Number.POSITIVE_INFINITY);
		result += text;
	}
	return result;
}

function repeated(value: Value, count: bigint, budget: Budget): Value | undefined {
	const times = count > 0n ? Number(count) : 0;
	if (typeof value === 'string') {
		budget.text(value.length * times);
		return value.repeat(times);
	}
	const items = Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined;
	if (!items) return undefined;
	budget.items(items.length * times);
	const result = Array.from({ length: times }, () => items).flat() as Value[];
	return Array.isArray(value) ? result : new Tuple(result);
}

function arithmetic(operator: BinaryOperator, a: bigint | number, b: bigint | number, budget: Budget): Value {
	if (typeof a === 'bigint' && typeof b === 'bigint' && operator !== '/' && !(operator === '**' && b < 0n)) {
		return integers(operator, a, b, budget);
	}
	const [x, y] = [Number(a), Number(b)];
	switch (operator) {
		case '+':
			return x + y;
		case '-':
			return x - y;
		case '*':
			return x * y;
		case '/':
			if (y === 0)
				throw new TemplateError(
					typeof a === 'bigint' && typeof b === 'bigint' ? 'division by zero' : 'float division by zero',
				);
			return x / y;
		case '//':
			if (y === 0) throw new TemplateError('float floor division by zero');
			return Math.floor(x / y);
		case '%':
			return floatModulo(x, y);
		case '**':
			if (x === 0 && y < 0) throw new TemplateError('0.0 cannot be raised to a negative power');
			return x ** y;
	}
}

function integers(operator: BinaryOperator, a: bigint, b: bigint, budget: Budget): bigint {
	switch (operator) {
		case '+':
			return a + b;
		case '-':
			return a - b;
		case '*':
			checkBits(bits(a) + bits(b), budget);
			return a * b;
		case '**':
			if (a !== 0n && a !== 1n && a !== -1n) checkBits(bits(a) * Number(b), budget);
			return a ** b;
		case '//':
			return floorDivide(a, b);
		default:
			return modulo(a, b);
	}
}

function bits(value: bigint): number {
	return 4 * value.toString(16).length;
}

function checkBits(count: number, budget: Budget): void {
	if (!(count <= MAX_BITS)) throw new TemplateError('a number is too large');
	budget.charge(count / 8);
}

/** `-value` or `+value`. */
export function signed(value: Value, negative: boolean): Value {
	if (value instanceof Undefined) value.raise();
	if (!isNumber(value))
		throw new TemplateError(`bad operand type for unary ${negative ? '-' : '+'}: '${typeName(value)}'`);
	const number = numeric(value);
	return negative ? -number : number;
}

/** The item that a subscript finds; undefined where Python raises a LookupError or TypeError. */
export function itemOf(object: Value, key: Value, budget: Budget): Value | undefined {
	if (object instanceof Dict) return Array.isArray(key) || key instanceof Dict ? undefined : object.get(key, budget);
	if (!isInteger(key)) return undefined;
	const index = Number(key);
	if (typeof object === 'string') {
		return isPlain(object, budget) ? at(object.length, index, (i) => object[i]!) : codePoints(object, budget).at(index);
	}
	if (Array.isArray(object)) return object.at(index);
	if (object instanceof Tuple) return object.items.at(index);
	if (object instanceof Range) return at(object.length, index, (i) => object.at(i));
	return undefined;
}

function at<T>(length: number, index: number, item: (index: number) => T): T | undefined {
	const place = index < 0 ? index + length : index;
	return place >= 0 && place < length ? item(place) : undefined;
}

/** `object[start:stop:step]`; undefined where the object has no slices, or where a bound is no integer. */
export function sliceOf(
	object: Value,
	[start, stop, step]: readonly [Value, Value, Value],
	budget: Budget,
): Value | undefined {
	const bounds = [start, stop, step].map((bound) =>
		bound === null ? null : isInteger(bound) ? Number(bound) : Number.NaN,
	);
	if (bounds.some((bound) => Number.isNaN(bound))) return undefined;
	const by = bounds[2] ?? 1;
	if (by === 0) throw new TemplateError('slice step cannot be zero');
	let items: string | readonly Value[];
	if (typeof object === 'string') {
		items = isPlain(object, budget) ? object : codePoints(object, budget);
	} else if (Array.isArray(object)) items = object;
	else if (object instanceof Tuple) items = object.items;
	else if (object instanceof Range) {
		budget.items(object.length);
		items = [...object.iterate()];
	} else return undefined;
	const { length } = items;
	const clamp = (bound: number | null | undefined, otherwise: number) => {
		if (bound === null || bound === undefined) return otherwise;
		const place = bound < 0 ? bound + length : bound;
		return by > 0 ? Math.min(Math.max(place, 0), length) : Math.min(Math.max(place, -1), length - 1);
	};
	const from = clamp(bounds[0], by > 0 ? 0 : length - 1);
	const to = clamp(bounds[1], by > 0 ? length : -1);
	if (by === 1) {
		if (typeof items === 'string') return items.slice(from, Math.max(from, to));
		budget.items(Math.max(0, to - from));
	} else budget.items(length);
	const picked: Value[] = [];
	for (let i = from; by > 0 ? i < to : i > to; i += by) picked.push(items[i]!);
	if (typeof object === 'string') return picked.join('');
	return object instanceof Tuple ? new Tuple(picked) : picked;
}

/** The undefined value for an attribute or item that does not exist, with Jinja2's message. */
export function missing(object: Value, key: Value, budget: Budget): Undefined {
	const type = object === null ? 'None' : `${typeName(object)} object`;
	if (typeof key === 'string') return new Undefined(`'${type}' has no attribute ${represent(key, budget)}`);
	return new Undefined(`${type} has no element ${represent(key, budget)}`);
}
