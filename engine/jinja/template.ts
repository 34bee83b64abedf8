// A Jinja template as transformers renders those of chat models: Jinja2's language in its immutable sandbox, with `trim_blocks` and
// `lstrip_blocks`, `break` and `continue`, `generation` without effect, and functions for errors and the date. The template is
// untrusted: this interpreter has nothing of JavaScript in reach, and charges each operation to a budget before it is done.
import type { Statement } from './ast';
import { Budget, TemplateError } from './budget';
import type { Disguise } from './disguise';
import { makeGlobals } from './globals';
import { finish, Interpreter, type Steps } from './interpreter';
import { parseTemplate } from './parser';
import type { LocalTime } from './strftime';
import { Dict, type Value } from './values';

/** The longest published templates have some 20,000 characters. */
const MAX_TEMPLATE = 200_000;

/** What templates get: JSON-like data. */
export type Variable = string | number | boolean | null | readonly Variable[] | { readonly [name: string]: Variable };

export interface RenderOptions {
	/** What the rendering may cost, some 30 ns a unit. */
	units: number;
	/** What each of its steps may take of that beside a fixed part, for texts of any length. */
	unitsOfTexts?: number;
	/** What `strftime_now` tells. */
	now: LocalTime;
	/** What texts among the variables wear; what comes of them in the result wears it, too. */
	disguise?: Disguise;
}

export class Template {
	readonly #statements: readonly Statement[];

	/** @throws TemplateError, of one line, where it does not parse. */
	constructor(source: string) {
		if (source.length > MAX_TEMPLATE) throw new TemplateError(`the template has ${source.length} characters`);
		this.#statements = guarded(() => parseTemplate(source));
	}

	/** @throws TemplateError, of one line, where the template raises or takes too much. */
	render(variables: { readonly [name: string]: Variable }, options: RenderOptions): string {
		return finish(this.renderInSteps(variables, options));
	}

	/** `render` in steps of some milliseconds, between which others may have their turn. */
	*renderInSteps(variables: { readonly [name: string]: Variable }, options: RenderOptions): Steps<string> {
		const { units, unitsOfTexts, now, disguise } = options;
		const steps = guarded(() => {
			const budget = new Budget(units, disguise, unitsOfTexts);
			const given = Object.entries(variables).map(([name, value]): [string, Value] => [name, fromJson(value, budget)]);
			return new Interpreter([...makeGlobals(now, budget), ...given], budget).render(this.#statements);
		}, disguise);
		for (;;) {
			const step = guarded(() => steps.next(), disguise);
			if (step.done) return step.value;
			yield;
		}
	}
}

function fromJson(value: Variable, budget: Budget): Value {
	if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
	if (value === null || typeof value !== 'object') return value;
	if (Array.isArray(value)) return (value as readonly Variable[]).map((item) => fromJson(item, budget));
	return Dict.of(
		Object.entries(value).map(([key, item]) => [key, fromJson(item, budget)] as const),
		budget,
	);
}

/** Whatever goes wrong in here is the template's fault, and no more than an error. */
function guarded<T>(work: () => T, disguise?: Disguise): T {
	try {
		return work();
	} catch (error) {
		// JavaScript's own are the end of the stack, and a text or number of more than it can hold.
		const message = error instanceof RangeError ? 'it nests too deeply' : (error as Error).message;
		throw new TemplateError(disguise ? disguise.reveal(message) : message);
	}
}
