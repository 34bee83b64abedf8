// How functions, methods and filters get their arguments, and what they may ask of the rendering that calls them.
import { type Budget, TemplateError } from './budget';
import type { FieldAccess } from './format';
import { isInteger, type Keywords, typeName, Undefined, type Value } from './values';

/** The rendering that calls a function. */
export interface Runtime extends FieldAccess {
	readonly budget: Budget;
	/** @param items whether an item of that name is found, too. */
	attribute(object: Value, name: string, items?: boolean): Value;
	filter(name: string, value: Value, args: Value[], keywords: Keywords): Value;
	test(name: string, value: Value, args: Value[], keywords: Keywords): boolean;
}

/**
 * Puts arguments into the order of a function's parameters. An argument that is not given is undefined.
 * @param required how many of the first parameters need an argument.
 * @throws TemplateError where Python raises because the arguments do not fit the parameters.
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

/** @throws TemplateError where the value is no integer. */
export function toIndex(value: Value): number {
	if (value instanceof Undefined) value.raise();
	if (!isInteger(value)) throw new TemplateError(`'${typeName(value)}' object cannot be interpreted as an integer`);
	return Number(value);
}

/** The value as an integer, or `otherwise` where the value is missing or `None`. */
export function optionalIndex(value: Value | undefined, otherwise: number): number {
	return value === undefined || value === null ? otherwise : toIndex(value);
}

/** @throws TemplateError where the value is no string. */
export function requireText(value: Value | undefined, what: string): string {
	if (typeof value === 'string') return value;
	throw new TemplateError(`${what} must be str, not ${value === undefined ? 'NoneType' : typeName(value)}`);
}
