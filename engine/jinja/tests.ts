// Jinja2's tests (`tests.py`): the names that may follow `is`.
import { TemplateError } from './budget';
import { bind, type Runtime } from './calls';
import { isLower, isUpper } from './methods';
import { binary } from './operators';
import {
	Callable,
	compare,
	contains,
	Dict,
	equals,
	isNumber,
	type Keywords,
	PyObject,
	Range,
	Tuple,
	toText,
	Undefined,
	type Value,
} from './values';

export type Test = (runtime: Runtime, value: Value, args: Value[], keywords: Keywords) => boolean;

function plain(test: (value: Value, runtime: Runtime) => boolean): Test {
	return (runtime, value, args, keywords) => {
		bind('test', [], args, keywords);
		return test(value, runtime);
	};
}

function withOther(test: (value: Value, other: Value, runtime: Runtime) => boolean): Test {
	return (runtime, value, args, keywords) => test(value, bind('test', ['other'], args, keywords, 1)[0]!, runtime);
}

function ordered(operator: string, holds: (order: number) => boolean): Test {
	return withOther((value, other, { budget }) => holds(compare(value, other, operator, budget)));
}

function remainder(value: Value, by: Value, runtime: Runtime): Value {
	return binary('%', value, by, runtime.budget);
}

const equal = withOther((value, other, { budget }) => equals(value, other, budget));
const greater = ordered('>', (order) => order > 0);
const greaterEqual = ordered('>=', (order) => order >= 0);
const less = ordered('<', (order) => order < 0);
const lessEqual = ordered('<=', (order) => order <= 0);
const unequal = withOther((value, other, { budget }) => !equals(value, other, budget));

const isSequence = (value: Value) =>
	typeof value === 'string' ||
	Array.isArray(value) ||
	value instanceof Tuple ||
	value instanceof Dict ||
	value instanceof Range ||
	value instanceof Undefined;

/** @param filters the filters by name. The test `filter` looks there. */
export function makeTests(filters: { has(name: string): boolean }): ReadonlyMap<string, Test> {
	const tests: Map<string, Test> = new Map<string, Test>([
		['boolean', plain((value) => typeof value === 'boolean')],
		['callable', plain((value) => value instanceof Callable || value instanceof Undefined)],
		['defined', plain((value) => !(value instanceof Undefined))],
		['divisibleby', withOther((value, by, runtime) => equals(remainder(value, by, runtime), 0n, runtime.budget))],
		['escaped', plain(() => false)],
		['even', plain((value, runtime) => equals(remainder(value, 2n, runtime), 0n, runtime.budget))],
		['false', plain((value) => value === false)],
		['filter', plain((value) => typeof value === 'string' && filters.has(value))],
		['float', plain((value) => typeof value === 'number')],
		['in', withOther((value, container, { budget }) => contains(container, value, budget))],
		['integer', plain((value) => typeof value === 'bigint')],
		[
			'iterable',
			plain(
				(value, { budget }) =>
					typeof value === 'string' ||
					Array.isArray(value) ||
					(value instanceof PyObject && value.iterate(budget) !== undefined),
			),
		],
		['lower', plain((value, { budget }) => isLower(text(value, budget)))],
		['mapping', plain((value) => value instanceof Dict)],
		['none', plain((value) => value === null)],
		['number', plain(isNumber)],
		['odd', plain((value, runtime) => equals(remainder(value, 2n, runtime), 1n, runtime.budget))],
		['sameas', withOther((value, other) => value === other)],
		['sequence', plain(isSequence)],
		['string', plain((value) => typeof value === 'string')],
		['test', plain((value) => typeof value === 'string' && tests.has(value))],
		['true', plain((value) => value === true)],
		['undefined', plain((value) => value instanceof Undefined)],
		['upper', plain((value, { budget }) => isUpper(text(value, budget)))],
	]);
	const aliases: [Test, string[]][] = [
		[equal, ['eq', '==', 'equalto']],
		[unequal, ['ne', '!=']],
		[greater, ['gt', '>', 'greaterthan']],
		[greaterEqual, ['ge', '>=']],
		[less, ['lt', '<', 'lessthan']],
		[lessEqual, ['le', '<=']],
	];
	for (const [test, names] of aliases) for (const name of names) tests.set(name, test);
	return tests;
}

function text(value: Value, budget: Runtime['budget']): string {
	return budget.read(toText(value, budget));
}

/** @throws TemplateError where the table has no filter or test of that name. */
export function named<T>(table: ReadonlyMap<string, T>, kind: 'filter' | 'test', name: string): T {
	const entry = table.get(name);
	if (entry === undefined) throw new TemplateError(`No ${kind} named '${name}'.`);
	return entry;
}
