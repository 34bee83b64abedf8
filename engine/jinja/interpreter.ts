// Renders a parsed template by the rules of Jinja2's runtime, within a budget.
import type { Arguments, BlockFilter, Expression, MacroUses, Signature, Slice, Statement, Target } from './ast';
import { type Budget, TemplateError } from './budget';
import type { Runtime } from './calls';
import { FILTERS } from './filters';
import { LoopContext } from './loop';
import { methodOf } from './methods';
import { binary, itemOf, joined, missing, signed, sliceOf } from './operators';
import { makeTests, named } from './tests';
import {
	Callable,
	compare,
	contains,
	Dict,
	equals,
	isTrue,
	type Keywords,
	Namespace,
	orElse,
	PyObject,
	Tuple,
	toArray,
	toText,
	typeName,
	Undefined,
	type Value,
} from './values';

const TESTS = makeTests(FILTERS);

/** The names of one part of a template. A name that is not here is looked up in the part around it. */
class Scope {
	readonly #parent: Scope | undefined;
	readonly #names = new Map<string, Value>();

	constructor(parent: Scope | undefined) {
		this.#parent = parent;
	}

	find(name: string): Value | undefined {
		for (let scope: Scope | undefined = this; scope; scope = scope.#parent) {
			const value = scope.#names.get(name);
			if (value !== undefined) return value;
		}
		return undefined;
	}

	set(name: string, value: Value): void {
		this.#names.set(name, value);
	}
}

type Jump = 'break' | 'continue' | undefined;

/** Work that can be interrupted at each `yield`. */
export type Steps<T> = Generator<void, T, void>;

/** Does all steps of the work without a pause. */
export function finish<T>(steps: Steps<T>): T {
	let step = steps.next();
	while (!step.done) step = steps.next();
	return step.value;
}

export class Interpreter implements Runtime {
	readonly budget: Budget;
	#scope = new Scope(undefined);
	#output: string[] = [];
	/** How many texts are being captured. A step ends only where none is. */
	#captures = 0;

	/** @param globals the names that a template finds beside its own. */
	constructor(globals: Iterable<readonly [string, Value]>, budget: Budget) {
		this.budget = budget;
		for (const [name, value] of globals) this.#scope.set(name, value);
		this.#scope = new Scope(this.#scope);
	}

	/**
	 * Renders the template in steps. Other work may run at each `yield`. No step ends within an expression, or within text
	 * that is captured, as that of a macro or a `set` block is.
	 * @throws TemplateError where Jinja2 raises, or where the budget is spent.
	 */
	*render(template: readonly Statement[]): Steps<string> {
		yield* this.#run(template);
		return this.#written();
	}

	// Runtime: what functions, methods and filters may ask for

	attribute(object: Value, name: string, items = true): Value {
		this.budget.charge(2);
		if (object instanceof Undefined) object.raise();
		let found = object instanceof PyObject ? object.attribute(name) : undefined;
		if (found === undefined) found = methodOf(object, name, this);
		if (found === undefined && items && object instanceof Dict) found = object.get(name, this.budget);
		return orElse(found, () => missing(object, name, this.budget));
	}

	item(object: Value, key: Value): Value {
		this.budget.charge(2);
		if (object instanceof Undefined) object.raise();
		const found = itemOf(object, key, this.budget);
		if (found !== undefined) return found;
		return typeof key === 'string' ? this.attribute(object, key) : missing(object, key, this.budget);
	}

	filter(name: string, value: Value, args: Value[], keywords: Keywords): Value {
		return named(FILTERS, 'filter', name)(this, value, args, keywords);
	}

	test(name: string, value: Value, args: Value[], keywords: Keywords): boolean {
		return named(TESTS, 'test', name)(this, value, args, keywords);
	}

	// Statements

	*#run(statements: readonly Statement[]): Steps<Jump> {
		this.budget.enter();
		let jump: Jump;
		for (const statement of statements) {
			this.budget.charge(3);
			if (this.#captures === 0 && this.budget.stepEnds) {
				yield;
				this.budget.beginStep();
			}
			jump = yield* this.#statement(statement);
			if (jump) break;
		}
		this.budget.leave();
		return jump;
	}

	*#statement(statement: Statement): Steps<Jump> {
		switch (statement.type) {
			case 'data':
				this.#write(statement.text);
				return;
			case 'output':
				this.#write(toText(this.#evaluate(statement.value), this.budget));
				return;
			case 'if': {
				const branch = statement.branches.find(({ test }) => isTrue(this.#evaluate(test)));
				return yield* this.#run(branch?.body ?? statement.otherwise);
			}
			case 'for':
				yield* this.#for(statement, this.#evaluate(statement.iterable), 0);
				return;
			case 'set':
				this.#assign(statement.target, this.#evaluate(statement.value));
				return;
			case 'set-block': {
				const text = this.#captured(() => this.#inScope(() => this.#run(statement.body)));
				this.#assign(statement.target, this.#filtered(text, statement.filters));
				return;
			}
			case 'macro':
				this.#scope.set(
					statement.name,
					this.#macro(statement.name, statement.signature, statement.uses, statement.body),
				);
				return;
			case 'call-block': {
				const { callee, args } = statement.call;
				const caller = this.#macro('caller', statement.signature, statement.uses, statement.body);
				const { positional, keywords } = this.#arguments(args);
				keywords.set('caller', caller);
				this.#write(toText(this.#call(this.#evaluate(callee), positional, keywords), this.budget));
				return;
			}
			case 'filter-block': {
				const text = this.#captured(() => this.#inScope(() => this.#run(statement.body)));
				this.#write(toText(this.#filtered(text, statement.filters), this.budget));
				return;
			}
			case 'with': {
				const values = statement.values.map((value) => this.#evaluate(value));
				return yield* this.#inScope(() => {
					for (const [i, target] of statement.targets.entries()) this.#assign(target, values[i]!);
					return this.#run(statement.body);
				});
			}
			case 'scope':
				return yield* this.#inScope(() => this.#run(statement.body));
			case 'group':
				return yield* this.#run(statement.body);
			default:
				return statement.type;
		}
	}

	#write(text: string): void {
		this.budget.text(text.length);
		if (text !== '') this.#output.push(text);
	}

	/** The text that `work` writes. The work is done within one step. */
	#captured(work: () => Steps<unknown>): string {
		const outer = this.#output;
		this.#output = [];
		this.#captures++;
		finish(work());
		this.#captures--;
		const text = this.#written();
		this.#output = outer;
		return text;
	}

	#written(): string {
		this.budget.text(this.#output.reduce((length, part) => length + part.length, 0));
		return this.#output.join('');
	}

	*#inScope<T>(work: () => Steps<T>, parent = this.#scope): Steps<T> {
		const outer = this.#scope;
		this.#scope = new Scope(parent);
		const result = yield* work();
		this.#scope = outer;
		return result;
	}

	*#for(loop: Statement & { type: 'for' }, iterable: Value, depth: number): Steps<void> {
		let items = toArray(iterable, this.budget);
		const { test } = loop;
		if (test) {
			const outer = this.#scope;
			items = items.filter((item) => {
				this.budget.charge(10);
				this.#scope = new Scope(outer);
				this.#assign(loop.target, item);
				return isTrue(this.#evaluate(test));
			});
			this.#scope = outer;
		}
		if (items.length === 0) {
			yield* this.#inScope(() => this.#run(loop.otherwise));
			return;
		}
		const scope = this.#scope;
		const recurse = loop.recursive
			? (inner: Value) => this.#captured(() => this.#inScope(() => this.#for(loop, inner, depth + 1), scope))
			: undefined;
		const context = new LoopContext(items, depth, recurse, this.budget);
		for (; context.index0 < items.length; context.index0++) {
			this.budget.charge(10);
			const jump = yield* this.#inScope(() => {
				this.#scope.set('loop', context);
				this.#assign(loop.target, items[context.index0]!);
				return this.#run(loop.body);
			}, scope);
			if (jump === 'break') break;
		}
	}

	#assign(target: Target, value: Value): void {
		if (target.type === 'name') this.#scope.set(target.name, value);
		else if (target.type === 'namespace') {
			const namespace = this.#scope.find(target.name);
			if (!(namespace instanceof Namespace)) throw new TemplateError('cannot assign attribute on non-namespace object');
			this.budget.charge(10);
			namespace.values.set(target.attribute, value);
		} else {
			const values = toArray(value, this.budget);
			const { length } = target.items;
			if (values.length < length)
				throw new TemplateError(`not enough values to unpack (expected ${length}, got ${values.length})`);
			if (values.length > length) throw new TemplateError(`too many values to unpack (expected ${length})`);
			for (const [i, item] of target.items.entries()) this.#assign(item, values[i]!);
		}
	}

	#filtered(text: string, filters: readonly BlockFilter[]): Value {
		let value: Value = text;
		for (const { name, args } of filters) {
			const { positional, keywords } = this.#arguments(args);
			value = this.filter(name, value, positional, keywords);
		}
		return value;
	}

	#macro(name: string, { parameters, defaults }: Signature, uses: MacroUses, body: readonly Statement[]): Callable {
		const defined = this.#scope;
		const attributes: Keywords = new Map<string, Value>([
			['name', name],
			['arguments', new Tuple(parameters)],
			['catch_kwargs', uses.kwargs],
			['catch_varargs', uses.varargs],
			['caller', uses.caller],
		]);
		const call = (args: Value[], given: Keywords): Value => {
			const keywords = new Map(given);
			return this.#captured(() =>
				this.#inScope(() => {
					this.budget.charge(20);
					for (const [i, parameter] of parameters.entries()) {
						let value = args[i];
						if (value === undefined) {
							value = keywords.get(parameter);
							keywords.delete(parameter);
						}
						const fallback = defaults[i - (parameters.length - defaults.length)];
						if (value === undefined) {
							value = fallback ? this.#evaluate(fallback) : new Undefined(`parameter '${parameter}' was not provided`);
						}
						this.#scope.set(parameter, value);
					}
					if (uses.caller && !parameters.includes('caller')) {
						this.#scope.set(
							'caller',
							orElse(keywords.get('caller'), () => new Undefined('No caller defined')),
						);
						keywords.delete('caller');
					}
					if (uses.kwargs) this.#scope.set('kwargs', Dict.of(keywords, this.budget));
					else if (keywords.size > 0) {
						const [first] = keywords.keys();
						throw new TemplateError(`macro '${name}' takes no keyword argument '${first}'`);
					}
					if (uses.varargs) this.#scope.set('varargs', new Tuple(args.slice(parameters.length)));
					else if (args.length > parameters.length) {
						throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
					}
					return this.#run(body);
				}, defined),
			);
		};
		return new Callable('Macro', name, call, attributes);
	}

	// Expressions

	#evaluate(expression: Expression): Value {
		this.budget.charge(5);
		this.budget.enter();
		const value = this.#valueOf(expression);
		this.budget.leave();
		return value;
	}

	#valueOf(expression: Expression): Value {
		switch (expression.type) {
			case 'constant':
				return expression.value;
			case 'name':
				return orElse(this.#scope.find(expression.name), () => new Undefined(`'${expression.name}' is undefined`));
			case 'list':
				return this.#all(expression.items);
			case 'tuple':
				return new Tuple(this.#all(expression.items));
			case 'dict':
				return this.#dict(expression.entries);
			case 'attribute':
				return this.attribute(this.#evaluate(expression.object), expression.name);
			case 'item': {
				const object = this.#evaluate(expression.object);
				const { key } = expression;
				return key.type === 'slice' ? this.#slice(object, key) : this.item(object, this.#evaluate(key));
			}
			case 'call': {
				const callee = this.#evaluate(expression.callee);
				const { positional, keywords } = this.#arguments(expression.args);
				return this.#call(callee, positional, keywords);
			}
			case 'filter': {
				const apply = named(FILTERS, 'filter', expression.name);
				const value = this.#evaluate(expression.value);
				const { positional, keywords } = this.#arguments(expression.args);
				return apply(this, value, positional, keywords);
			}
			case 'test': {
				const value = this.#evaluate(expression.value);
				const { positional, keywords } = this.#arguments(expression.args);
				return this.test(expression.name, value, positional, keywords);
			}
			case 'not':
				return !isTrue(this.#evaluate(expression.value));
			case 'negative':
			case 'positive':
				return signed(this.#evaluate(expression.value), expression.type === 'negative');
			case 'and': {
				const left = this.#evaluate(expression.left);
				return isTrue(left) ? this.#evaluate(expression.right) : left;
			}
			case 'or': {
				const left = this.#evaluate(expression.left);
				return isTrue(left) ? left : this.#evaluate(expression.right);
			}
			case 'binary': {
				const left = this.#evaluate(expression.left);
				return binary(expression.operator, left, this.#evaluate(expression.right), this.budget);
			}
			case 'concat':
				return joined(
					this.#all(expression.items).map((item) => toText(item, this.budget)),
					this.budget,
				);
			case 'compare':
				return this.#compare(expression);
			case 'condition': {
				if (isTrue(this.#evaluate(expression.test))) return this.#evaluate(expression.value);
				if (expression.otherwise) return this.#evaluate(expression.otherwise);
				return new Undefined('the inline if-expression evaluated to false and no else section was defined.');
			}
		}
	}

	#all(expressions: readonly Expression[]): Value[] {
		return expressions.map((expression) => this.#evaluate(expression));
	}

	#dict(entries: readonly [Expression, Expression][]): Dict {
		const dict = new Dict();
		for (const [key, value] of entries) dict.set(this.#evaluate(key), this.#evaluate(value), this.budget);
		return dict;
	}

	#slice(object: Value, { start, stop, step }: Slice): Value {
		const bound = (expression: Expression | undefined) => (expression ? this.#evaluate(expression) : null);
		const bounds = [bound(start), bound(stop), bound(step)] as const;
		if (object instanceof Undefined) object.raise();
		const slice = sliceOf(object, bounds, this.budget);
		if (slice === undefined) throw new TemplateError(`'${typeName(object)}' object has no such slice`);
		return slice;
	}

	/** Evaluates `a < b < c`. Each side is evaluated once, and no side behind the first comparison that does not hold. */
	#compare({ first, rest }: Expression & { type: 'compare' }): boolean {
		let left = this.#evaluate(first);
		for (const { operator, value } of rest) {
			const right = this.#evaluate(value);
			if (!this.#holds(operator, left, right)) return false;
			left = right;
		}
		return true;
	}

	#holds(operator: (Expression & { type: 'compare' })['rest'][number]['operator'], left: Value, right: Value): boolean {
		const { budget } = this;
		switch (operator) {
			case '==':
				return equals(left, right, budget);
			case '!=':
				return !equals(left, right, budget);
			case 'in':
				return contains(right, left, budget);
			case 'not in':
				return !contains(right, left, budget);
			case '<':
				return compare(left, right, operator, budget) < 0;
			case '<=':
				return compare(left, right, operator, budget) <= 0;
			case '>':
				return compare(left, right, operator, budget) > 0;
			case '>=':
				return compare(left, right, operator, budget) >= 0;
		}
	}

	#arguments({ positional, keywords, spread, keywordSpread }: Arguments): { positional: Value[]; keywords: Keywords } {
		const args = this.#all(positional);
		if (spread) for (const value of toArray(this.#evaluate(spread), this.budget)) args.push(value);
		const given: Keywords = new Map();
		for (const [name, value] of keywords) given.set(name, this.#evaluate(value));
		if (keywordSpread) {
			const mapping = this.#evaluate(keywordSpread);
			if (!(mapping instanceof Dict))
				throw new TemplateError(`argument after ** must be a mapping, not ${typeName(mapping)}`);
			for (const [key, value] of mapping.entries()) {
				if (typeof key !== 'string') throw new TemplateError('keywords must be strings');
				if (given.has(key)) throw new TemplateError(`got multiple values for keyword argument '${key}'`);
				this.budget.charge(10);
				given.set(key, value);
			}
		}
		return { positional: args, keywords: given };
	}

	#call(callee: Value, args: Value[], keywords: Keywords): Value {
		this.budget.charge(10);
		if (callee instanceof Callable) return callee.call(args, keywords);
		if (callee instanceof LoopContext) return callee.recurse(args);
		if (callee instanceof Undefined) callee.raise();
		throw new TemplateError(`'${typeName(callee)}' object is not callable`);
	}
}
