// The kinds of settings. Each function makes one setting out of its default, its allowed values, and what users read of
// it. This file knows no setting by name. The engine, the extension and scripts/settings.mjs share it, so it imports no
// module but schema.ts.
import {
	type Check,
	flag as flagSchema,
	list,
	nullable,
	oneOf,
	realNumber,
	type Schema,
	text as textSchema,
	wholeNumber,
} from './schema';

/** What users read of a setting, and how the editor shows it. */
export interface Presentation {
	/** The full text in VS Code's Markdown. The settings editor shows it. */
	readonly description: string;
	/** The same in half a sentence of Markdown, for the tables of README.md and docs/language-server.md. */
	readonly summary: string;
	/** The settings editor sorts a section by this number, and by names where it is the same. */
	readonly order: number;
	/** `machine`: a workspace cannot set it, and VS Code does not carry it over to the user's other machines. */
	readonly scope?: 'machine';
	/** Needed only for measuring or finding faults. The settings editor tags it. */
	readonly advanced?: true;
	/** A workspace that the user does not trust cannot set it. */
	readonly restricted?: true;
}

/** A setting whose type does not matter: for lists of all settings. */
export interface AnySetting extends Check, Presentation {
	readonly default: unknown;
	/** The setting's type and range in package.json, as a JSON schema. */
	readonly json: Readonly<Record<string, unknown>>;
	/** The values that the engine takes, in Markdown, e.g. "0 to 1024". */
	readonly values: string;
	/** Whether the text is the path of a file or folder. */
	readonly isPath: boolean;
	/**
	 * The allowed value that is nearest to a given one; the default where no value is near. People edit settings files by
	 * hand, so a given value may be anything.
	 */
	nearest(value: unknown): unknown;
}

/** A setting. As a schema it says which values the engine takes from any client. */
export interface Setting<T> extends AnySetting, Schema<T> {
	readonly default: T;
	nearest(value: unknown): T;
}

export interface NumberSetting<T> extends Setting<T> {
	/** Smallest and largest number that the engine takes. */
	readonly accepts: Range;
}

export interface ChoiceSetting<T> extends Setting<T> {
	readonly choices: readonly T[];
}

/** The values of settings, in the same groups as the settings. */
export type Values<S> = { -readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : Values<S[K]> };

type Range = readonly [min: number, max: number];

interface NumberOptions extends Presentation {
	/** Smallest and largest number that the settings editor allows. */
	range: Range;
	/** The same for the command line and for clients other than our extension, where they need a wider range. */
	accepts?: Range;
}

export function flag(options: Presentation & { default: boolean }): Setting<boolean> {
	return {
		...setting(options, { type: 'boolean' }, '`true`, `false`'),
		...flagSchema,
		nearest: (value) => (typeof value === 'boolean' ? value : options.default),
	};
}

/** A text; spaces around it do not count. */
export function text(options: Presentation & { default: string; multiline?: true }): Setting<string> {
	const { multiline, ...own } = options;
	return {
		...setting(own, { type: 'string', ...(multiline && { editPresentation: 'multilineText' }) }, 'text'),
		...textSchema(),
		nearest: (value) => (typeof value === 'string' ? value.trim() : options.default),
	};
}

/** The path of a file or folder. */
export function filePath(options: Presentation & { default: string }): Setting<string> {
	return { ...text(options), values: 'a path', isPath: true };
}

export function integer(options: NumberOptions & { default: number }): NumberSetting<number> {
	const { range, accepts = range, ...own } = options;
	return {
		...setting(own, { type: 'integer', ...limits(range) }, spoken(accepts)),
		...wholeNumber(...accepts),
		accepts,
		nearest: (value) => Math.round(clamped(value, range) ?? options.default),
	};
}

export function number(options: NumberOptions & { default: number }): NumberSetting<number> {
	const { range, accepts = range, ...own } = options;
	return {
		...setting(own, { type: 'number', ...limits(range) }, spoken(accepts)),
		...realNumber(...accepts),
		accepts,
		nearest: (value) => clamped(value, range) ?? options.default,
	};
}

/** A number or, by default, `null`, which leaves the choice to somebody else. */
export function numberOrNull(options: NumberOptions): NumberSetting<number | null> {
	const { range, accepts = range, ...own } = options;
	return {
		...setting(
			{ ...own, default: null },
			{ type: ['number', 'null'], ...limits(range) },
			`${spoken(accepts)}; \`null\``,
		),
		...nullable(realNumber(...accepts)),
		accepts,
		nearest: (value) => clamped(value, range) ?? null,
	};
}

/** One of a few words. */
export function choice<const T extends string>(
	options: Presentation & {
		default: NoInfer<T>;
		choices: readonly T[];
		/** What each word means, in the same order, where the words do not say it themselves. */
		meanings?: readonly string[];
	},
): ChoiceSetting<T> {
	const { choices, meanings, ...own } = options;
	const json = { type: 'string', enum: choices, ...(meanings && { enumDescriptions: meanings }) };
	return {
		...setting(own, json, choices.map((word) => `\`${word}\``).join(', ')),
		...oneOf(choices),
		choices,
		nearest: (value) => choices.find((word) => word === value) ?? options.default,
	};
}

/** A list of paths; empty ones do not count. */
export function filePaths(options: Presentation): Setting<string[]> {
	return {
		...setting<string[]>({ ...options, default: [] }, { type: 'array', items: { type: 'string' } }, 'a list of paths'),
		...list(textSchema()),
		isPath: true,
		nearest: (value) => {
			const texts = Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
			return texts.map((item) => item.trim()).filter((item) => item !== '');
		},
	};
}

/** A list of short texts; empty ones do not count. */
export function texts(
	options: Presentation & {
		default: string[];
		/** Most texts, and most characters of each. */
		limits: { readonly items: number; readonly characters: number };
	},
): Setting<string[]> {
	const { limits: most, ...own } = options;
	const schema = textSchema({ min: 1, max: most.characters });
	const items = { type: 'string', minLength: 1, maxLength: most.characters };
	return {
		...setting<string[]>(own, { type: 'array', items, maxItems: most.items }, `a list of at most ${most.items} texts`),
		...list(schema, { max: most.items }),
		nearest: (value) => {
			if (!Array.isArray(value)) return options.default;
			const trimmed = value.map((item) => (typeof item === 'string' ? item.trim() : item));
			return trimmed.filter((item) => schema.problem(item, '') === undefined).slice(0, most.items);
		},
	};
}

/** Names that are each on or off. */
export function flags(
	options: Presentation & { default: Readonly<Record<string, boolean>> },
): Setting<Readonly<Record<string, boolean>>> {
	const json = { type: 'object', additionalProperties: { type: 'boolean' } };
	return {
		...setting(options, json, 'an object of `true` and `false`'),
		problem: (value, at) => (isObject(value) ? undefined : `${at} must be an object`),
		nearest: (value) => {
			if (!isObject(value)) return options.default;
			return Object.fromEntries(
				Object.entries(value).filter((entry): entry is [string, boolean] => typeof entry[1] === 'boolean'),
			);
		},
	};
}

function setting<T>(options: Presentation & { default: T }, json: Record<string, unknown>, values: string) {
	return { ...options, json, values, isPath: false };
}

function limits([minimum, maximum]: Range) {
	return { minimum, maximum };
}

function spoken([min, max]: Range): string {
	return `${min} to ${max}`;
}

function clamped(value: unknown, [min, max]: Range): number | undefined {
	if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
	return Math.min(max, Math.max(min, value));
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
