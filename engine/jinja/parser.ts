// Parses a template as Jinja2's `parser.py` does, with the tags that transformers knows: Jinja2's own, `break`,
// `continue` and `generation`. A model file holds a single template, so tags that load another template are refused.
import type {
	Arguments,
	BinaryOperator,
	BlockFilter,
	CompareOperator,
	Expression,
	MacroUses,
	Signature,
	Slice,
	Statement,
	Target,
} from './ast';
import { Budget, TemplateError } from './budget';
import { type Token, type TokenType, tokenize } from './lexer';

const COMPARE = new Set(['==', '!=', '<', '<=', '>', '>=']);
const NO_ARGUMENTS: Arguments = { positional: [], keywords: [], spread: undefined, keywordSpread: undefined };
const CONSTANTS: Record<string, boolean | null> = {
	true: true,
	True: true,
	false: false,
	False: false,
	none: null,
	None: null,
};
/**
 * Python's limit for the digits of a literal. Converting a literal takes time that grows with the square of its length.
 */
const MAX_DIGITS = 4300;

/** @throws TemplateError that says what is wrong and in which line. */
export function parseTemplate(source: string): Statement[] {
	return new Parser(tokenize(source)).template();
}

class Parser {
	readonly #tokens: Token[];
	#at = 0;
	/**
	 * Limits only how deep a template nests. It does not limit units, since parsing takes time in proportion to the
	 * source.
	 */
	readonly #depth = new Budget(Number.POSITIVE_INFINITY);
	/** For each macro whose body is being parsed: the names that the body has read so far. */
	readonly #macros: Set<string>[] = [];
	#loops = 0;

	constructor(tokens: Token[]) {
		this.#tokens = tokens;
	}

	template(): Statement[] {
		const body = this.#statements([]);
		if (this.#here.type !== 'end') this.#unexpected('the end of the template');
		return body;
	}

	get #here(): Token {
		return this.#tokens[this.#at]!;
	}

	#next(): Token {
		const token = this.#here;
		if (token.type !== 'end') this.#at++;
		return token;
	}

	#is(type: TokenType, value?: string): boolean {
		const { type: actual, value: text } = this.#here;
		return actual === type && (value === undefined || text === value);
	}

	#operator(value: string): boolean {
		return this.#is('operator', value);
	}

	#skip(type: TokenType, value: string): boolean {
		if (!this.#is(type, value)) return false;
		this.#at++;
		return true;
	}

	#expect(type: TokenType, value?: string): Token {
		if (!this.#is(type, value)) this.#unexpected(value === undefined ? type : `'${value}'`);
		return this.#next();
	}

	#unexpected(expected: string): never {
		const { type, value, line } = this.#here;
		const found = value === '' || type === 'data' ? type.replace('-', ' ') : `'${value}'`;
		throw new TemplateError(`Unexpected token in line ${line}: ${found}, expected ${expected}`);
	}

	#fail(message: string): never {
		throw new TemplateError(`line ${this.#here.line}: ${message}`);
	}

	// Statements

	/** Parses statements up to a tag with one of these names. That name is then the next token. */
	#statements(ends: readonly string[]): Statement[] {
		return this.#depth.nested(() => {
			const body: Statement[] = [];
			while (!this.#is('end')) {
				const { type, value } = this.#next();
				if (type === 'data') body.push({ type: 'data', text: value });
				else if (type === 'variable-begin') {
					body.push({ type: 'output', value: this.#tuple() });
					this.#expect('variable-end');
				} else {
					if (this.#is('name') && ends.includes(this.#here.value)) return body;
					body.push(...this.#statement());
				}
			}
			if (ends.length > 0) this.#unexpected(ends.map((end) => `'${end}'`).join(' or '));
			return body;
		});
	}

	/** Parses the end of a tag, then a body, up to the name of the tag that ends the body. */
	#body(end: string): Statement[] {
		this.#expect('block-end');
		const body = this.#statements([end]);
		this.#next();
		return body;
	}

	#statement(): Statement[] {
		const tag = this.#expect('name').value;
		const statements = this.#tag(tag);
		this.#expect('block-end');
		return statements;
	}

	#tag(tag: string): Statement[] {
		switch (tag) {
			case 'if':
				return [this.#if()];
			case 'for':
				return [this.#for()];
			case 'set':
				return [this.#set()];
			case 'macro':
				return [this.#macro()];
			case 'call':
				return [this.#callBlock()];
			case 'filter': {
				const filters = [this.#blockFilter(), ...this.#blockFilters()];
				return [{ type: 'filter-block', filters, body: this.#body('endfilter') }];
			}
			case 'with':
				return [this.#with()];
			case 'print':
				return this.#print();
			case 'block':
				return [this.#block()];
			case 'autoescape':
				this.#expression();
				return [{ type: 'scope', body: this.#body('endautoescape') }];
			case 'generation':
				return [{ type: 'group', body: this.#body('endgeneration') }];
			case 'break':
			case 'continue':
				if (this.#loops === 0) this.#fail(`'${tag}' outside of a loop`);
				return [{ type: tag }];
			case 'include':
			case 'import':
			case 'from':
			case 'extends':
				return this.#fail(`'${tag}' needs another template, and a model file has only one`);
			default:
				return this.#fail(`Encountered unknown tag '${tag}'`);
		}
	}

	#if(): Statement {
		const branches: { test: Expression; body: Statement[] }[] = [];
		let otherwise: Statement[] = [];
		for (let more = true; more; ) {
			const test = this.#tuple({ conditions: false });
			this.#expect('block-end');
			const body = this.#statements(['elif', 'else', 'endif']);
			branches.push({ test, body });
			const end = this.#next().value;
			if (end === 'else') otherwise = this.#body('endif');
			more = end === 'elif';
		}
		return { type: 'if', branches, otherwise };
	}

	#for(): Statement {
		const target = this.#target(['in']);
		this.#expect('name', 'in');
		const iterable = this.#tuple({ conditions: false, ends: ['recursive'] });
		const test = this.#skip('name', 'if') ? this.#expression() : undefined;
		const recursive = this.#skip('name', 'recursive');
		this.#expect('block-end');
		this.#loops++;
		const body = this.#statements(['endfor', 'else']);
		this.#loops--;
		const otherwise = this.#next().value === 'else' ? this.#body('endfor') : [];
		return { type: 'for', target, iterable, test, recursive, body, otherwise };
	}

	#set(): Statement {
		const target = this.#target([], true);
		if (this.#skip('operator', '=')) return { type: 'set', target, value: this.#tuple() };
		const filters = this.#blockFilters();
		return { type: 'set-block', target, filters, body: this.#body('endset') };
	}

	#macro(): Statement {
		const name = this.#name();
		return { type: 'macro', name, ...this.#macroRest('endmacro') };
	}

	#macroRest(end: string): { signature: Signature; uses: MacroUses; body: Statement[] } {
		const signature = this.#signature();
		return { signature, ...this.#macroBody(end) };
	}

	/** Parses the body of a macro. A `break` or `continue` in the body does not reach a loop around the macro. */
	#macroBody(end: string): { uses: MacroUses; body: Statement[] } {
		const loops = this.#loops;
		this.#loops = 0;
		const names = new Set<string>();
		this.#macros.push(names);
		const body = this.#body(end);
		this.#macros.pop();
		this.#loops = loops;
		const uses = { varargs: names.has('varargs'), kwargs: names.has('kwargs'), caller: names.has('caller') };
		return { uses, body };
	}

	#callBlock(): Statement {
		const signature = this.#operator('(') ? this.#signature() : { parameters: [], defaults: [] };
		const call = this.#expression();
		if (call.type !== 'call') this.#fail('expected a call');
		return { type: 'call-block', signature, call, ...this.#macroBody('endcall') };
	}

	#signature(): Signature {
		const parameters: string[] = [];
		const defaults: Expression[] = [];
		this.#expect('operator', '(');
		while (!this.#operator(')')) {
			if (parameters.length > 0) this.#expect('operator', ',');
			parameters.push(this.#name());
			if (this.#skip('operator', '=')) defaults.push(this.#expression());
			else if (defaults.length > 0) this.#fail('non-default argument follows default argument');
		}
		this.#next();
		return { parameters, defaults };
	}

	#with(): Statement {
		const targets: Target[] = [];
		const values: Expression[] = [];
		while (!this.#is('block-end')) {
			if (targets.length > 0) this.#expect('operator', ',');
			targets.push(this.#target());
			this.#expect('operator', '=');
			values.push(this.#expression());
		}
		return { type: 'with', targets, values, body: this.#body('endwith') };
	}

	#print(): Statement[] {
		const outputs: Statement[] = [];
		while (!this.#is('block-end')) {
			if (outputs.length > 0) this.#expect('operator', ',');
			outputs.push({ type: 'output', value: this.#expression() });
		}
		return outputs;
	}

	#block(): Statement {
		const name = this.#expect('name').value;
		while (this.#skip('name', 'scoped') || this.#skip('name', 'required'));
		const body = this.#body('endblock');
		this.#skip('name', name);
		return { type: 'scope', body };
	}

	#blockFilters(): BlockFilter[] {
		const filters: BlockFilter[] = [];
		while (this.#skip('operator', '|')) filters.push(this.#blockFilter());
		return filters;
	}

	#blockFilter(): BlockFilter {
		const name = this.#dottedName();
		return { name, args: this.#operator('(') ? this.#arguments() : NO_ARGUMENTS };
	}

	// Targets

	#name(): string {
		const { value } = this.#expect('name');
		if (value in CONSTANTS) this.#fail(`can't assign to '${value}'`);
		return value;
	}

	#target(ends: readonly string[] = [], attributes = false): Target {
		const items: Target[] = [];
		let tuple = false;
		do {
			if (this.#tupleEnds(ends)) break;
			items.push(this.#targetItem(attributes));
			if (this.#operator(',')) tuple = true;
		} while (this.#skip('operator', ','));
		if (items.length === 0) this.#unexpected('a name');
		return tuple ? { type: 'tuple', items } : items[0]!;
	}

	#targetItem(attributes: boolean): Target {
		if (this.#skip('operator', '(')) {
			const inner = this.#depth.nested(() => this.#target([], attributes));
			this.#expect('operator', ')');
			return inner;
		}
		const name = this.#name();
		if (attributes && this.#skip('operator', '.')) {
			return { type: 'namespace', name, attribute: this.#expect('name').value };
		}
		return { type: 'name', name };
	}

	#tupleEnds(ends: readonly string[] = []): boolean {
		const { type, value } = this.#here;
		if (type === 'variable-end' || type === 'block-end') return true;
		return (type === 'operator' && value === ')') || (type === 'name' && ends.includes(value));
	}

	// Expressions, from the loosest binding to the tightest

	#tuple({ conditions = true, ends = [] as readonly string[], parenthesised = false } = {}): Expression {
		const items: Expression[] = [];
		let tuple = false;
		do {
			if (this.#tupleEnds(ends)) break;
			items.push(this.#expression(conditions));
			if (this.#operator(',')) tuple = true;
		} while (this.#skip('operator', ','));
		if (!tuple && items.length > 0) return items[0]!;
		if (!tuple && !parenthesised) this.#unexpected('an expression');
		return { type: 'tuple', items };
	}

	#expression(conditions = true): Expression {
		return this.#depth.nested(() => (conditions ? this.#condition() : this.#or()));
	}

	#condition(): Expression {
		let expression = this.#or();
		while (this.#skip('name', 'if')) {
			const test = this.#or();
			const otherwise = this.#skip('name', 'else') ? this.#expression() : undefined;
			expression = { type: 'condition', test, value: expression, otherwise };
		}
		return expression;
	}

	#or(): Expression {
		let left = this.#and();
		while (this.#skip('name', 'or')) left = { type: 'or', left, right: this.#and() };
		return left;
	}

	#and(): Expression {
		let left = this.#not();
		while (this.#skip('name', 'and')) left = { type: 'and', left, right: this.#not() };
		return left;
	}

	#not(): Expression {
		if (!this.#skip('name', 'not')) return this.#compare();
		return this.#depth.nested(() => ({ type: 'not', value: this.#not() }));
	}

	#compare(): Expression {
		const first = this.#sum();
		const rest: { operator: CompareOperator; value: Expression }[] = [];
		for (;;) {
			const { type, value } = this.#here;
			let operator: CompareOperator;
			if (type === 'operator' && COMPARE.has(value)) operator = this.#next().value as CompareOperator;
			else if (this.#skip('name', 'in')) operator = 'in';
			else if (this.#is('name', 'not') && this.#tokens[this.#at + 1]?.value === 'in') {
				this.#at += 2;
				operator = 'not in';
			} else break;
			rest.push({ operator, value: this.#sum() });
		}
		return rest.length === 0 ? first : { type: 'compare', first, rest };
	}

	#sum(): Expression {
		return this.#binary(['+', '-'], () => this.#concat());
	}

	#concat(): Expression {
		const items = [this.#product()];
		while (this.#skip('operator', '~')) items.push(this.#product());
		return items.length === 1 ? items[0]! : { type: 'concat', items };
	}

	#product(): Expression {
		return this.#binary(['*', '/', '//', '%'], () => this.#power());
	}

	#power(): Expression {
		return this.#binary(['**'], () => this.#unary());
	}

	#binary(operators: readonly string[], operand: () => Expression): Expression {
		let left = operand();
		while (this.#is('operator') && operators.includes(this.#here.value)) {
			const operator = this.#next().value as BinaryOperator;
			left = { type: 'binary', operator, left, right: operand() };
		}
		return left;
	}

	#unary(filters = true): Expression {
		let expression: Expression;
		if (this.#skip('operator', '-')) {
			expression = { type: 'negative', value: this.#depth.nested(() => this.#unary(false)) };
		} else if (this.#skip('operator', '+')) {
			expression = { type: 'positive', value: this.#depth.nested(() => this.#unary(false)) };
		} else expression = this.#primary();
		expression = this.#postfix(expression);
		return filters ? this.#filters(expression) : expression;
	}

	#primary(): Expression {
		const { type, value } = this.#here;
		if (type === 'name') {
			this.#next();
			const constant = CONSTANTS[value];
			if (constant !== undefined) return { type: 'constant', value: constant };
			for (const names of this.#macros) names.add(value);
			return { type: 'name', name: value };
		}
		if (type === 'string') {
			let text = '';
			while (this.#is('string')) text += this.#next().value;
			return { type: 'constant', value: text };
		}
		if (type === 'integer') {
			const digits = this.#next().value.replaceAll('_', '');
			if (digits.length > MAX_DIGITS) this.#fail(`a number of ${digits.length} digits`);
			return { type: 'constant', value: BigInt(digits) };
		}
		if (type === 'float') return { type: 'constant', value: Number(this.#next().value.replaceAll('_', '')) };
		if (this.#skip('operator', '(')) {
			const inner = this.#depth.nested(() => this.#tuple({ parenthesised: true }));
			this.#expect('operator', ')');
			return inner;
		}
		if (this.#skip('operator', '[')) return { type: 'list', items: this.#until(']', () => this.#expression()) };
		if (this.#skip('operator', '{')) return { type: 'dict', entries: this.#until('}', () => this.#entry()) };
		return this.#unexpected('an expression');
	}

	#until<T>(end: string, item: () => T): T[] {
		const items: T[] = [];
		while (!this.#operator(end)) {
			if (items.length > 0) this.#expect('operator', ',');
			if (this.#operator(end)) break;
			items.push(item());
		}
		this.#next();
		return items;
	}

	#entry(): [Expression, Expression] {
		const key = this.#expression();
		this.#expect('operator', ':');
		return [key, this.#expression()];
	}

	#postfix(start: Expression): Expression {
		let expression = start;
		for (;;) {
			if (this.#operator('.') || this.#operator('[')) expression = this.#subscript(expression);
			else if (this.#operator('(')) expression = this.#call(expression);
			else return expression;
		}
	}

	#filters(start: Expression): Expression {
		let expression = start;
		for (;;) {
			if (this.#skip('operator', '|')) {
				expression = { type: 'filter', value: expression, ...this.#blockFilter() };
			} else if (this.#skip('name', 'is')) expression = this.#test(expression);
			else if (this.#operator('(')) expression = this.#call(expression);
			else return expression;
		}
	}

	#call(callee: Expression): Expression {
		return { type: 'call', callee, args: this.#arguments() };
	}

	#dottedName(): string {
		let name = this.#expect('name').value;
		while (this.#skip('operator', '.')) name += `.${this.#expect('name').value}`;
		return name;
	}

	#test(value: Expression): Expression {
		const negated = this.#skip('name', 'not');
		const name = this.#dottedName();
		let args = NO_ARGUMENTS;
		const { type, value: text } = this.#here;
		if (this.#operator('(')) args = this.#arguments();
		else if (
			(type === 'name' && !['else', 'or', 'and'].includes(text)) ||
			['string', 'integer', 'float'].includes(type) ||
			(type === 'operator' && (text === '[' || text === '{'))
		) {
			if (this.#is('name', 'is')) this.#fail('You cannot chain multiple tests with is');
			args = { ...NO_ARGUMENTS, positional: [this.#postfix(this.#primary())] };
		}
		const test: Expression = { type: 'test', name, value, args };
		return negated ? { type: 'not', value: test } : test;
	}

	#subscript(object: Expression): Expression {
		if (this.#next().value === '.') {
			if (this.#is('integer')) {
				return {
					type: 'item',
					object,
					key: { type: 'constant', value: BigInt(this.#next().value.replaceAll('_', '')) },
				};
			}
			return { type: 'attribute', object, name: this.#expect('name').value };
		}
		const keys: (Expression | Slice)[] = [];
		while (!this.#operator(']')) {
			if (keys.length > 0) this.#expect('operator', ',');
			keys.push(this.#subscripted());
		}
		this.#next();
		if (keys.length === 1) return { type: 'item', object, key: keys[0]! };
		const items = keys.map((key) => (key.type === 'slice' ? this.#fail('a slice among several keys') : key));
		return { type: 'item', object, key: { type: 'tuple', items } };
	}

	#subscripted(): Expression | Slice {
		const start = this.#operator(':') ? undefined : this.#expression();
		if (!this.#skip('operator', ':')) return start!;
		const ends = () => this.#operator(']') || this.#operator(',');
		const stop = this.#operator(':') || ends() ? undefined : this.#expression();
		const step = this.#skip('operator', ':') && !ends() ? this.#expression() : undefined;
		return { type: 'slice', start, stop, step };
	}

	#arguments(): Arguments {
		const args: Arguments = { positional: [], keywords: [], spread: undefined, keywordSpread: undefined };
		const ensure = (valid: boolean) => {
			if (!valid) this.#fail('invalid syntax for function call expression');
		};
		this.#expect('operator', '(');
		for (let first = true; !this.#operator(')'); first = false) {
			if (!first) {
				this.#expect('operator', ',');
				if (this.#operator(')')) break;
			}
			if (this.#skip('operator', '*')) {
				ensure(args.spread === undefined && args.keywordSpread === undefined);
				args.spread = this.#expression();
			} else if (this.#skip('operator', '**')) {
				ensure(args.keywordSpread === undefined);
				args.keywordSpread = this.#expression();
			} else if (
				this.#is('name') &&
				this.#tokens[this.#at + 1]?.type === 'operator' &&
				this.#tokens[this.#at + 1]?.value === '='
			) {
				ensure(args.keywordSpread === undefined);
				const name = this.#next().value;
				this.#next();
				if (args.keywords.some(([other]) => other === name)) this.#fail(`keyword argument repeated: ${name}`);
				args.keywords.push([name, this.#expression()]);
			} else {
				ensure(args.spread === undefined && args.keywordSpread === undefined && args.keywords.length === 0);
				args.positional.push(this.#expression());
			}
		}
		this.#next();
		return args;
	}
}
