// What a value of unknown origin must be, said once: a schema checks one and says in words what is wrong with it. Schemas
// carry the type they stand for, so that the compiler holds them against the interfaces of the protocol.

export interface Check {
	/**
	 * What is wrong with a value, e.g. "messages[0].content must be text, not a list"; undefined: nothing.
	 * @param at what it is called, e.g. `maxTokens`
	 */
	problem(value: unknown, at: string): string | undefined;
}

export interface Schema<T> extends Check {
	/** For the compiler alone: neither a wider nor a narrower type passes for this one. */
	readonly type?: (value: T) => T;
}

/** `unknown` where two types have the same fields, the optional ones included, which the compiler lets be absent; else `never`. */
export type SameFields<A, B> = Whole<A> extends Whole<B> ? (Whole<B> extends Whole<A> ? unknown : never) : never;
type Whole<T> = T extends readonly (infer Item)[]
	? Whole<Item>[]
	: T extends object
		? { [K in keyof T]-?: Whole<Exclude<T[K], undefined>> }
		: T;

/** A field that may be absent. */
export interface Optional<T> {
	readonly optional: Schema<T>;
}

type Field = Check | { readonly optional: Check };
type TypeOf<F> = F extends Schema<infer T> ? T : never;

/** The type of an object with these fields. */
type Shape<F> = {
	[K in keyof F as F[K] extends { optional: unknown } ? never : K]: TypeOf<F[K]>;
} & {
	[K in keyof F as F[K] extends { optional: unknown } ? K : never]?: F[K] extends Optional<infer T> ? T : never;
};
type Flat<T> = { [K in keyof T]: T[K] };

export const flag: Schema<boolean> = must('true or false', (value) => typeof value === 'boolean');

export function text({ min = 0, max = Number.POSITIVE_INFINITY } = {}): Schema<string> {
	const length = max < Number.POSITIVE_INFINITY ? ` of ${min > 0 ? `${min} to` : 'at most'} ${max} characters` : '';
	return must(
		`text${length}`,
		(value) => typeof value === 'string' && value.length >= min && value.length <= max,
		(value) => (typeof value === 'string' ? `${value.length} of them` : describe(value)),
	);
}

/** A file or folder as the system takes them: no more characters than any system's paths have, and no zero. */
export const filePath: Schema<string> = must(
	'the path of a file or folder',
	(value) => typeof value === 'string' && value !== '' && value.length < 2 ** 15 && !value.includes('\0'),
);

export function wholeNumber(min: number, max: number): Schema<number> {
	return must(
		`a whole number from ${min} to ${max}`,
		(value) => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max,
	);
}

export function realNumber(min: number, max: number): Schema<number> {
	return must(`a number from ${min} to ${max}`, (value) => typeof value === 'number' && value >= min && value <= max);
}

export function oneOf<const T extends string | number>(choices: readonly T[]): Schema<T> {
	const words = choices.map(String);
	return must(
		words.length === 1 ? words[0]! : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`,
		(value) => choices.some((choice) => choice === value),
		(value) => (typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : describe(value)),
	);
}

export function list<T>(items: Schema<T>, { min = 0, max = Number.POSITIVE_INFINITY } = {}): Schema<T[]> {
	return {
		problem(value, at) {
			if (!Array.isArray(value)) return `${at} must be a list, not ${describe(value)}`;
			if (value.length < min) return `${at} must not be empty`;
			if (value.length > max) return `${at} must be a list of at most ${max}, not ${value.length}`;
			// Not `findIndex`, which a list with holes would lead past them.
			for (let i = 0; i < value.length; i++) {
				const problem = items.problem(value[i], `${at}[${i}]`);
				if (problem !== undefined) return problem;
			}
			return undefined;
		},
	};
}

export function listOrOne<S, T>(one: Schema<S>, many: Schema<T[]>): Schema<S | T[]> {
	return { problem: (value, at) => (Array.isArray(value) ? many : one).problem(value, at) };
}

export function nullable<T>(schema: Schema<T>): Schema<T | null> {
	return { problem: (value, at) => (value === null ? undefined : schema.problem(value, at)) };
}

/** An object; fields that are not named may be anything. Named '', it is a message's parameters. */
export function object<F extends Readonly<Record<string, Field>>>(fields: F): Schema<Flat<Shape<F>>> {
	const checks = Object.entries<Field>(fields);
	return {
		problem(value, at) {
			if (typeof value !== 'object' || value === null || Array.isArray(value)) {
				return value === undefined && at === ''
					? 'the parameters are missing'
					: `${at || 'the parameters'} must be an object, not ${describe(value)}`;
			}
			for (const [name, field] of checks) {
				const path = at === '' ? name : `${at}.${name}`;
				const given: unknown = (value as Record<string, unknown>)[name];
				const required = 'problem' in field;
				if (given === undefined && required) return `${path} is missing`;
				if (given === undefined) continue;
				const problem = (required ? field : field.optional).problem(given, path);
				if (problem !== undefined) return problem;
			}
			return undefined;
		},
	};
}

export function optional<T>(schema: Schema<T>): Optional<T> {
	return { optional: schema };
}

/** For LSP's own optional fields: some editors write null for what is absent. The code behind must take it as that. */
export function optionalOrNull<T>(schema: Schema<T>): Optional<T> {
	return { optional: nullable(schema) as unknown as Schema<T> };
}

/** A schema with one more rule, which may speak of the fields' names. */
export function restrict<T>(schema: Schema<T>, rule: (value: T) => string | undefined): Schema<T> {
	return { problem: (value, at) => schema.problem(value, at) ?? rule(value as T) };
}

function must<T>(
	what: string,
	holds: (value: unknown) => boolean,
	shown: (value: unknown) => string = describe,
): Schema<T> {
	return { problem: (value, at) => (holds(value) ? undefined : `${at} must be ${what}, not ${shown(value)}`) };
}

/** A value in a message: numbers as they are, texts, which may be long or private, by their kind. */
function describe(value: unknown): string {
	if (typeof value === 'string') return value === '' ? 'empty text' : 'text';
	if (Array.isArray(value)) return 'a list';
	return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
