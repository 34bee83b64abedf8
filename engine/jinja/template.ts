// A Jinja template, rendered as transformers renders the templates of chat models. The language is Jinja2's in its
// immutable sandbox, with `trim_blocks`, `lstrip_blocks`, `break`, `continue`, functions for errors and the date, and a
// `generation` that has no effect. The template is untrusted: this interpreter reaches no JavaScript object, and it
// charges each operation to a budget before the operation is done.
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

/** Data for a template: whatever JSON can hold. */
export type Variable = string | number | boolean | null | readonly Variable[] | { readonly [name: string]: Variable };

export interface RenderOptions {
	/** What the rendering may cost. A unit is about 30 ns. */
	units: number;
	/** The units that each step may take beyond a fixed number. They allow for texts of any length. */
	unitsOfTexts?: number;
	/** The time that `strftime_now` formats. */
	now: LocalTime;
	/**
	 * The disguise of the texts among the variables. Whatever comes from these texts has the same disguise in the result.
	 */
	disguise?: Disguise;
}

export class Template {
	readonly #statements: readonly Statement[];

	/** @throws TemplateError, of one line, where the source does not parse. */
	constructor(source: string) {
		if (source.length > MAX_TEMPLATE) throw new TemplateError(`the template has ${source.length} characters`);
		this.#statements = guarded(() => parseTemplate(source));
	}

	/** @throws TemplateError, of one line, where the template raises or takes too much time or memory. */
	render(variables: { readonly [name: string]: Variable }, options: RenderOptions): string {
		return finish(this.renderInSteps(variables, options));
	}

	/** As `render`, in steps of some milliseconds. Other work may run between two steps. */
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

/** Does the work. Every error in it is the template's fault and becomes a TemplateError. */
function guarded<T>(work: () => T, disguise?: Disguise): T {
	try {
		return work();
	} catch (error) {
		// JavaScript throws a RangeError at the end of the stack. It throws one, too, for a string or integer that is too
		// long.
		const message = error instanceof RangeError ? 'it nests too deeply' : (error as Error).message;
		throw new TemplateError(disguise ? disguise.reveal(message) : message);
	}
}
