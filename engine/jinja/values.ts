// The values of templates, and how Python names, compares, prints and iterates over them. Integers are `bigint`, floats
// `number`, strings `string` and lists arrays. All other values are classes of this file, so that a template reaches no
// JavaScript object.
import { type Budget, TemplateError } from './budget';
import { floatText } from './numbers';

export type Value = string | bigint | number | boolean | null | Value[] | PyObject;

/** The keyword arguments of a call. */
export type Keywords = Map<string, Value>;

export abstract class PyObject {
	abstract readonly typeName: string;

	/** As Python's `repr`. */
	represent(_budget: Budget): string {
		return `<${this.typeName} object>`;
	}

	/** An attribute that is not an item; undefined where the object has no attribute of that name. */
	attribute(_name: string): Value | undefined {
		return undefined;
	}

	/** The items of a loop over this object; undefined where Python cannot iterate over it. */
	iterate(_budget: Budget): Iterable<Value> | undefined {
		return undefined;
	}

	/** As `len`; undefined where the object has no length. */
	get length(): number | undefined {
		return undefined;
	}
}

/**
 * The value of a name, attribute or item that does not exist. It prints as nothing and has no items. Most other uses of
 * it raise.
 */
export class Undefined extends PyObject {
	readonly typeName = 'Undefined';
	readonly reason: string;

	/** @param reason why there is no value, e.g. "'x' is undefined". */
	constructor(reason: string) {
		super();
		this.reason = reason;
	}

	override represent(): string {
		return 'Undefined';
	}

	override iterate(): Iterable<Value> {
		return [];
	}

	override get length(): number {
		return 0;
	}

	raise(): never {
		throw new TemplateError(this.reason);
	}
}

export class Tuple extends PyObject {
	readonly typeName = 'tuple';
	readonly items: readonly Value[];

	constructor(items: readonly Value[]) {
		super();
		this.items = items;
	}

	override represent(budget: Budget): string {
		const inner = this.items.map((item) => represent(item, budget)).join(', ');
		return this.items.length === 1 ? `(${inner},)` : `(${inner})`;
	}

	override iterate(): Iterable<Value> {
		return this.items;
	}

	override get length(): number {
		return this.items.length;
	}
}

/** A group of the filter `groupby`: a tuple whose two items have names. */
export class Group extends Tuple {
	override attribute(name: string): Value | undefined {
		return name === 'grouper' ? this.items[0] : name === 'list' ? this.items[1] : undefined;
	}
}

export class Dict extends PyObject {
	readonly typeName = 'dict';
	/** Entries by the `hashKey` of their key, in the order of insertion. */
	readonly #entries = new Map<unknown, [Value, Value]>();

	static of(entries: Iterable<readonly [Value, Value]>, budget: Budget): Dict {
		const dict = new Dict();
		for (const [key, value] of entries) dict.set(key, value, budget);
		return dict;
	}

	set(key: Value, value: Value, budget: Budget): void {
		budget.charge(10);
		const hash = hashKey(key, budget);
		const entry = this.#entries.get(hash);
		if (entry) entry[1] = value;
		else this.#entries.set(hash, [key, value]);
	}

	/** @throws TemplateError where the key cannot be the key of a dict, as a list cannot. */
	get(key: Value, budget: Budget): Value | undefined {
		return this.#entries.get(hashKey(key, budget))?.[1];
	}

	entries(): Iterable<[Value, Value]> {
		return this.#entries.values();
	}

	override represent(budget: Budget): string {
		return `{${[...this.entries()].map(([key, value]) => `${represent(key, budget)}: ${represent(value, budget)}`).join(', ')}}`;
	}

	override *iterate(): Iterable<Value> {
		for (const [key] of this.#entries.values()) yield key;
	}

	override get length(): number {
		return this.#entries.size;
	}
}

/** The result of a dict's `keys()`, `values()` or `items()`. */
export class DictView extends PyObject {
	readonly typeName: 'dict_keys' | 'dict_values' | 'dict_items';
	readonly dict: Dict;

	constructor(typeName: DictView['typeName'], dict: Dict) {
		super();
		this.typeName = typeName;
		this.dict = dict;
	}

	override represent(budget: Budget): string {
		return `${this.typeName}(${represent([...this.iterate()], budget)})`;
	}

	override *iterate(): Iterable<Value> {
		for (const entry of this.dict.entries()) {
			yield this.typeName === 'dict_keys' ? entry[0] : this.typeName === 'dict_values' ? entry[1] : new Tuple(entry);
		}
	}

	override get length(): number {
		return this.dict.length;
	}
}

export class Range extends PyObject {
	readonly typeName = 'range';
	readonly start: number;
	readonly stop: number;
	readonly step: number;

	constructor(start: number, stop: number, step: number) {
		super();
		this.start = start;
		this.stop = stop;
		this.step = step;
	}

	override get length(): number {
		return Math.max(0, Math.ceil((this.stop - this.start) / this.step));
	}

	at(index: number): bigint {
		return BigInt(this.start + index * this.step);
	}

	override represent(): string {
		const { start, stop, step } = this;
		return step === 1 ? `range(${start}, ${stop})` : `range(${start}, ${stop}, ${step})`;
	}

	override *iterate(): Iterable<Value> {
		for (let i = 0; i < this.length; i++) yield this.at(i);
	}
}

/** A generator of Python: it can be iterated over once, and computes each item when it is asked for. */
export class Lazy extends PyObject {
	readonly typeName = 'generator';
	readonly #iterator: Iterator<Value>;

	constructor(items: Iterable<Value>) {
		super();
		this.#iterator = items[Symbol.iterator]();
	}

	/** The next item; undefined behind the last one. */
	next(): Value | undefined {
		const { done, value } = this.#iterator.next();
		return done ? undefined : value;
	}

	override *iterate(): Iterable<Value> {
		for (let item = this.next(); item !== undefined; item = this.next()) yield item;
	}
}

export class Namespace extends PyObject {
	readonly typeName = 'Namespace';
	readonly values: Map<string, Value>;

	constructor(values: Keywords) {
		super();
		this.values = values;
	}

	override represent(budget: Budget): string {
		const values = [...this.values].map(([name, value]) => `${represent(name, budget)}: ${represent(value, budget)}`);
		return `<Namespace {${values.join(', ')}}>`;
	}

	override attribute(name: string): Value | undefined {
		return this.values.get(name);
	}
}

/** A function, method, macro or class. */
export class Callable extends PyObject {
	readonly typeName: string;
	readonly name: string;
	readonly call: (args: Value[], keywords: Keywords) => Value;
	readonly attributes: Keywords;

	constructor(typeName: string, name: string, call: Callable['call'], attributes: Keywords = new Map()) {
		super();
		this.typeName = typeName;
		this.name = name;
		this.call = call;
		this.attributes = attributes;
	}

	override represent(budget: Budget): string {
		return this.typeName === 'Macro' ? `<Macro ${represent(this.name, budget)}>` : `<${this.typeName} ${this.name}>`;
	}

	override attribute(name: string): Value | undefined {
		return this.attributes.get(name);
	}
}

/**
 * The value, `None` included, or the result of `otherwise` where the value is undefined. The operator `??` would treat
 * `None` as missing.
 */
export function orElse(value: Value | undefined, otherwise: () => Value): Value {
	return value === undefined ? otherwise() : value;
}

export function isInteger(value: Value): value is bigint | boolean {
	return typeof value === 'bigint' || typeof value === 'boolean';
}

export function isNumber(value: Value): value is bigint | boolean | number {
	return typeof value === 'number' || isInteger(value);
}

export function typeName(value: Value): string {
	if (value === null) return 'NoneType';
	if (Array.isArray(value)) return 'list';
	switch (typeof value) {
		case 'string':
			return 'str';
		case 'bigint':
			return 'int';
		case 'number':
			return 'float';
		case 'boolean':
			return 'bool';
		default:
			return value.typeName;
	}
}

export function isTrue(value: Value): boolean {
	if (typeof value !== 'object' || value === null) return Boolean(value);
	const length = Array.isArray(value) ? value.length : value.length;
	return length === undefined || length > 0;
}

/** As Python's `str`. */
export function toText(value: Value, budget: Budget): string {
	if (typeof value === 'string') return value;
	if (value instanceof Undefined) return '';
	return represent(value, budget);
}

/** Python's limit for the digits of an integer that becomes text. */
const MAX_DIGITS = 4300;

/** As Python's `repr`. */
export function represent(value: Value, budget: Budget): string {
	if (value === null) return 'None';
	switch (typeof value) {
		case 'boolean':
			budget.charge(1);
			return value ? 'True' : 'False';
		case 'number':
			budget.charge(10);
			return floatText(value);
		case 'bigint': {
			budget.charge(10);
			const text = value.toString();
			if (text.length > MAX_DIGITS) throw new TemplateError('a number has too many digits to print');
			return text;
		}
		case 'string':
			return representText(value, budget);
		default: {
			budget.items(1);
			const text = budget.nested(() =>
				Array.isArray(value) ? `[${value.map((item) => represent(item, budget)).join(', ')}]` : value.represent(budget),
			);
			budget.text(text.length);
			return text;
		}
	}
}

const NEEDS_ESCAPE = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

function representText(text: string, budget: Budget): string {
	const seen = budget.read(text);
	const quote = seen.includes("'") && !seen.includes('"') ? '"' : "'";
	if (!NEEDS_ESCAPE.test(seen) && !seen.includes(quote)) return quote + text + quote;
	budget.text(4 * text.length);
	return quote + budget.change(text, (char) => (char === quote ? `\\${char}` : escaped(char))) + quote;
}

const SHORT_ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escaped(char: string): string {
	if (!NEEDS_ESCAPE.test(char)) return char;
	const short = SHORT_ESCAPES[char];
	if (short !== undefined) return short;
	const digits = char.codePointAt(0)!.toString(16);
	if (digits.length <= 2) return `\\x${digits.padStart(2, '0')}`;
	return digits.length <= 4 ? `\\u${digits.padStart(4, '0')}` : `\\U${digits.padStart(8, '0')}`;
}

export function equals(a: Value, b: Value, budget: Budget): boolean {
	budget.charge(4);
	if (a === b) return !(typeof a === 'number' && Number.isNaN(a));
	if (isNumber(a) && isNumber(b)) return sameNumber(numeric(a), numeric(b));
	if (typeof a === 'string' || typeof b === 'string') {
		if (typeof a !== 'string' || typeof b !== 'string' || a.length !== b.length) return false;
		return budget.read(a) === budget.read(b);
	}
	const [x, y] = [itemsOf(a), itemsOf(b)];
	if (x && y) {
		if (Array.isArray(a) !== Array.isArray(b) || x.length !== y.length) return false;
		return budget.nested(() => x.every((item, i) => equals(item, y[i]!, budget)));
	}
	if (a instanceof Dict && b instanceof Dict) {
		if (a.length !== b.length) return false;
		return budget.nested(() => {
			for (const [key, value] of a.entries()) {
				const other = b.get(key, budget);
				if (other === undefined || !equals(value, other, budget)) return false;
			}
			return true;
		});
	}
	if (a instanceof Range && b instanceof Range) {
		return a.length === b.length && (a.length === 0 || (a.start === b.start && (a.length === 1 || a.step === b.step)));
	}
	return a instanceof Undefined && b instanceof Undefined;
}

/**
 * Compares an integer and a float by their exact values. `===` would call them different because their types differ.
 */
function sameNumber(a: bigint | number, b: bigint | number): boolean {
	return a <= b && a >= b;
}

/** The items of a list or tuple; undefined for other values. */
export function itemsOf(value: Value): readonly Value[] | undefined {
	return Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined;
}

/**
 * A number in a type that JavaScript's `<` compares. JavaScript compares a `bigint` and a `number` by their exact
 * values.
 */
export function numeric(value: bigint | boolean | number): bigint | number {
	return typeof value === 'boolean' ? BigInt(value) : value;
}

/**
 * Negative where `a` comes before `b`, positive where `a` comes behind `b`, 0 where they are equal, NaN where one of
 * them is the float NaN.
 * @throws TemplateError where Python does not order values of these types.
 */
export function compare(a: Value, b: Value, operator: string, budget: Budget): number {
	budget.charge(6);
	if (isNumber(a) && isNumber(b)) {
		const [x, y] = [numeric(a), numeric(b)];
		return x < y ? -1 : x > y ? 1 : sameNumber(x, y) ? 0 : Number.NaN;
	}
	if (typeof a === 'string' && typeof b === 'string') {
		return compareTexts(budget.read(a), budget.read(b));
	}
	const [x, y] = [itemsOf(a), itemsOf(b)];
	if (x && y && Array.isArray(a) === Array.isArray(b)) {
		return budget.nested(() => {
			for (let i = 0; i < Math.min(x.length, y.length); i++) {
				if (!equals(x[i]!, y[i]!, budget)) return compare(x[i]!, y[i]!, operator, budget);
			}
			return x.length - y.length;
		});
	}
	for (const value of [a, b]) if (value instanceof Undefined) value.raise();
	throw new TemplateError(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/**
 * Compares texts by code points, as Python does. JavaScript compares UTF-16 units, which gives another order for texts
 * with characters from U+E000 on.
 */
function compareTexts(a: string, b: string): number {
	if (a === b) return 0;
	let at = 0;
	while (at < a.length && at < b.length && a[at] === b[at]) at++;
	const rank = (text: string) => {
		const unit = text.charCodeAt(at);
		return Number.isNaN(unit) ? -1 : unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
	};
	return rank(a) - rank(b);
}

const TUPLE_KEY = '\u0000tuple ';

/**
 * The key of JavaScript's Map for a dict's key. Keys that are equal in Python have the same one: 1, 1.0 and true are
 * one key.
 */
function hashKey(key: Value, budget: Budget): unknown {
	if (key === null) return key;
	if (typeof key === 'string') return budget.read(key);
	if (isNumber(key)) {
		const number = numeric(key);
		return typeof number === 'bigint' && BigInt.asIntN(53, number) === number ? Number(number) : number;
	}
	if (key instanceof Tuple) {
		return budget.nested(() => {
			let text = TUPLE_KEY;
			for (const item of key.items) {
				const hash = hashKey(item, budget);
				const part = `${typeof hash}${String(typeof hash === 'object' ? null : hash)}`;
				text += `${part.length}:${part}`;
				budget.text(part.length);
			}
			return text;
		});
	}
	if (Array.isArray(key) || key instanceof Dict) throw new TemplateError(`unhashable type: '${typeName(key)}'`);
	return key;
}

/** @throws TemplateError where Python cannot iterate over the value. */
export function iterate(value: Value, budget: Budget): Iterable<Value> {
	if (typeof value === 'string') return codePoints(value, budget);
	if (Array.isArray(value)) return value;
	const items = value instanceof PyObject ? value.iterate(budget) : undefined;
	if (!items) throw new TemplateError(`'${typeName(value)}' object is not iterable`);
	return items;
}

/** The items of a value in a new array. */
export function toArray(value: Value, budget: Budget): Value[] {
	const items: Value[] = [];
	for (const item of iterate(value, budget)) {
		budget.items(1);
		items.push(item);
	}
	return items;
}

const SURROGATE = /[\ud800-\udfff]/;

/** Whether each character of a text is one UTF-16 unit. */
export function isPlain(text: string, budget: Budget): boolean {
	return !SURROGATE.test(budget.read(text));
}

export function codePoints(text: string, budget: Budget): string[] {
	const seen = budget.read(text);
	budget.items(text.length);
	const chars = Array.from(seen);
	if (seen === text) return chars;
	let at = 0;
	return chars.map(({ length }) => {
		at += length;
		return text.slice(at - length, at);
	});
}

/** As `len`. @throws TemplateError where the value has none. */
export function lengthOf(value: Value, budget: Budget): number {
	if (typeof value === 'string') {
		return isPlain(value, budget) ? value.length : codePoints(value, budget).length;
	}
	const length = Array.isArray(value) ? value.length : value instanceof PyObject ? value.length : undefined;
	if (length === undefined) throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
	return length;
}

/** As Python's `item in container`. */
export function contains(container: Value, item: Value, budget: Budget): boolean {
	if (typeof container === 'string') {
		if (typeof item !== 'string') {
			throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
		}
		return budget.read(container).includes(budget.read(item));
	}
	if (container instanceof Dict) return container.get(item, budget) !== undefined;
	if (container instanceof DictView && container.typeName === 'dict_keys') {
		return container.dict.get(item, budget) !== undefined;
	}
	const items = Array.isArray(container) ? container : container instanceof PyObject && container.iterate(budget);
	if (!items) throw new TemplateError(`argument of type '${typeName(container)}' is not iterable`);
	for (const other of items) if (equals(item, other, budget)) return true;
	return false;
}
