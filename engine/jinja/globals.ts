// The functions that every template can call.
import { type Budget, TemplateError } from './budget';
import { toIndex } from './calls';
import { joined } from './operators';
import { type LocalTime, strftime } from './strftime';
import {
	Callable,
	Dict,
	type Keywords,
	Namespace,
	PyObject,
	Range,
	toArray,
	toText,
	typeName,
	type Value,
} from './values';

/** The limit of Jinja2's sandbox (`MAX_RANGE`). */
const MAX_RANGE = 100_000;

/** @param now the time that `strftime_now` formats. */
export function makeGlobals(now: LocalTime, budget: Budget): [string, Value][] {
	const global = (name: string, type: string, call: (args: Value[], keywords: Keywords) => Value): [string, Value] => [
		name,
		new Callable(type, name, call),
	];
	return [
		global('range', 'class', (args) => range(args)),
		global('dict', 'class', (args, keywords) => makeDict(args, keywords, budget)),
		[
			'namespace',
			new Callable('class', "'jinja2.utils.Namespace'", (args, keywords) => namespace(args, keywords, budget)),
		],
		global('cycler', 'class', (args) => new Cycler(args)),
		global('joiner', 'class', (args, keywords) => joiner(args[0] ?? keywords.get('sep') ?? ', ')),
		global('raise_exception', 'function', ([message]) => {
			throw new TemplateError(toText(message ?? '', budget));
		}),
		global('strftime_now', 'function', ([format]) => {
			if (typeof format !== 'string') throw new TemplateError('strftime_now() wants a str');
			budget.charge(20 + 30 * format.length);
			const text = strftime(format, now);
			return joined([text], budget);
		}),
	];
}

function range(args: readonly Value[]): Range {
	if (args.length < 1 || args.length > 3)
		throw new TemplateError(`range expected 1 to 3 arguments, got ${args.length}`);
	const numbers = args.map((arg) => toIndex(arg));
	const [start, stop] = numbers.length === 1 ? [0, numbers[0]!] : [numbers[0]!, numbers[1]!];
	const step = numbers[2] ?? 1;
	if (step === 0) throw new TemplateError('range() arg 3 must not be zero');
	const made = new Range(start, stop, step);
	if (!(made.length <= MAX_RANGE)) throw new TemplateError(`range of ${made.length} numbers`);
	return made;
}

function makeDict([source, ...more]: readonly Value[], keywords: Keywords, budget: Budget): Dict {
	if (more.length > 0) throw new TemplateError(`dict expected at most 1 argument, got ${more.length + 1}`);
	const entries = source === undefined ? [] : pairs(source, budget);
	return Dict.of([...entries, ...keywords], budget);
}

function pairs(source: Value, budget: Budget): [Value, Value][] {
	if (source instanceof Dict) return [...source.entries()];
	return toArray(source, budget).map((pair) => {
		const items = toArray(pair, budget);
		if (items.length !== 2) throw new TemplateError(`a pair of a dict has ${items.length} items`);
		return [items[0]!, items[1]!];
	});
}

function namespace([source]: readonly Value[], keywords: Keywords, budget: Budget): Namespace {
	const values: Keywords = new Map();
	for (const [key, value] of source === undefined ? [] : pairs(source, budget)) values.set(toText(key, budget), value);
	for (const [key, value] of keywords) values.set(key, value);
	return new Namespace(values);
}

class Cycler extends PyObject {
	readonly typeName = 'Cycler';
	readonly #items: readonly Value[];
	#at = 0;

	constructor(items: readonly Value[]) {
		super();
		this.#items = items;
		if (items.length === 0) throw new TemplateError('at least one item has to be provided');
	}

	override attribute(name: string): Value | undefined {
		if (name === 'current') return this.#items[this.#at]!;
		if (name === 'next') return new Callable('method', name, () => this.#next());
		if (name !== 'reset') return undefined;
		return new Callable('method', name, () => {
			this.#at = 0;
			return null;
		});
	}

	#next(): Value {
		const item = this.#items[this.#at]!;
		this.#at = (this.#at + 1) % this.#items.length;
		return item;
	}
}

function joiner(separator: Value): Callable {
	let used = false;
	return new Callable('Joiner', typeName(separator), () => {
		if (used) return separator;
		used = true;
		return '';
	});
}
