// Schemas of values of unknown origin. A schema checks a value and says in words what is wrong with it. A schema has
// the type that it stands for, so that the compiler compares it with the interfaces of the protocol.

export interface Check {
	/**
	 * What is wrong with a value, e.g. "messages[0].content must be text, not a list"; undefined: nothing is.
	 * @param at the value's name, e.g. `maxTokens`
	 */
	problem(value: unknown, at: string): string | undefined;
}

export interface Schema<T> extends Check {
	/** Never set. It makes the compiler refuse a schema of a wider or narrower type. */
	readonly type?: (value: T) => T;
}

/**
 * `unknown` where two types have the same fields, else `never`. The compiler alone would not notice where one type
 * lacks an optional field.
 */
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

/** The type of an object that has these fields. */
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

/** The path of a file or folder. It is shorter than the longest path of any system and has no zero character. */
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
			// This loop visits the holes of a list, too. `map` and `forEach` would skip them.
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

/**
 * An object. Fields that `fields` does not name may be anything. The name '' stands for the parameters of a message.
 */
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

/**
 * For the optional fields of LSP. Some editors write null where a field is absent, so the code that reads the field
 * must accept null.
 */
export function optionalOrNull<T>(schema: Schema<T>): Optional<T> {
	return { optional: nullable(schema) as unknown as Schema<T> };
}

/** Adds a rule to a schema. The rule's message may name fields. */
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

/** How a message describes a value. It shows a number but only the kind of a text, which may be long or private. */
function describe(value: unknown): string {
	if (typeof value === 'string') return value === '' ? 'empty text' : 'text';
	if (Array.isArray(value)) return 'a list';
	return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
