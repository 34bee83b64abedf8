// How functions, methods and filters get their arguments, and what they may ask of the rendering they run in.
import { type Budget, TemplateError } from './budget';
import type { FieldAccess } from './format';
import { isInteger, type Keywords, typeName, Undefined, type Value } from './values';

/** The rendering that a function runs in. */
export interface Runtime extends FieldAccess {
	readonly budget: Budget;
	/** @param items whether an item of that name counts, too. */
	attribute(object: Value, name: string, items?: boolean): Value;
	filter(name: string, value: Value, args: Value[], keywords: Keywords): Value;
	test(name: string, value: Value, args: Value[], keywords: Keywords): boolean;
}

/**
 * Arguments in the order of a function's parameters; undefined where one is not given.
 * @param required how many of the first have to be there.
 * @throws TemplateError as Python does where they do not fit.
 */
export function bind(
	name: string,
	parameters: readonly string[],
	args: readonly Value[],
	keywords: Keywords,
	required = 0,
): (Value | undefined)[] {
	if (args.length > parameters.length) {
		throw new TemplateError(`${name}() takes at most ${parameters.length} arguments (${args.length} given)`);
	}
	const bound: (Value | undefined)[] = parameters.map((_, i) => args[i]);
	for (const [key, value] of keywords) {
		const index = parameters.indexOf(key);
		if (index < 0) throw new TemplateError(`${name}() got an unexpected keyword argument '${key}'`);
		if (bound[index] !== undefined) throw new TemplateError(`${name}() got multiple values for argument '${key}'`);
		bound[index] = value;
	}
	for (let i = 0; i < required; i++) {
		if (bound[i] === undefined) throw new TemplateError(`${name}() missing required argument: '${parameters[i]}'`);
	}
	return bound;
}

/** @throws TemplateError where the value is no whole number. */
export function toIndex(value: Value): number {
	if (value instanceof Undefined) value.raise();
	if (!isInteger(value)) throw new TemplateError(`'${typeName(value)}' object cannot be interpreted as an integer`);
	return Number(value);
}

/** A whole number, or what stands for one that is not given. */
export function optionalIndex(value: Value | undefined, otherwise: number): number {
	return value === undefined || value === null ? otherwise : toIndex(value);
}

/** @throws TemplateError where the value is no text. */
export function requireText(value: Value | undefined, what: string): string {
	if (typeof value === 'string') return value;
	throw new TemplateError(`${what} must be str, not ${value === undefined ? 'NoneType' : typeName(value)}`);
}
