// Typed reads of the JSON files of a Hugging Face folder. The files are untrusted: a missing key or a wrong type is an
// error that names the file and the key.

/** One JSON object and the file that it comes from. */
export class JsonObject {
	readonly file: string;
	readonly values: Readonly<Record<string, unknown>>;
	readonly #prefix: string;

	constructor(file: string, values: Readonly<Record<string, unknown>>, prefix = '') {
		this.file = file;
		this.values = values;
		this.#prefix = prefix;
	}

	has(key: string): boolean {
		return this.get(key) !== undefined;
	}

	/** The keys in the file's order. A key whose value is null counts as absent. */
	keys(): string[] {
		return Object.keys(this.values).filter((key) => this.has(key));
	}

	/** Whether a key asks for nothing: it is absent, or its value is false, empty or 0. */
	isNeutral(key: string): boolean {
		const value = this.get(key);
		if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
		return value === undefined || value === false || value === '' || value === 0;
	}

	/** The value of a key. null counts as absent. */
	get(key: string): unknown {
		return Object.hasOwn(this.values, key) ? (this.values[key] ?? undefined) : undefined;
	}

	/** The value of the first of these keys that the object has. */
	first(...keys: string[]): unknown {
		for (const key of keys) if (this.has(key)) return this.get(key);
		return undefined;
	}

	fail(key: string, wanted: string): Error {
		const value = this.get(key);
		const found = value === undefined ? 'missing' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
		return new Error(`${this.file}: ${this.#prefix}${key} should be ${wanted} but is ${found}`);
	}

	/** An integer from `low` to `high`; `absent` where the object lacks the key. */
	integer(key: string, low: number, high: number, absent?: number): number {
		const value = this.get(key) ?? absent;
		if (typeof value !== 'number' || !Number.isInteger(value)) throw this.fail(key, 'an integer');
		if (value < low || value > high) {
			throw new Error(`${this.file}: ${this.#prefix}${key} is ${value}, which is outside ${low}..${high}`);
		}
		return value;
	}

	number(key: string, absent?: number): number {
		const value = this.get(key) ?? absent;
		if (typeof value !== 'number' || !Number.isFinite(value)) throw this.fail(key, 'a number');
		return value;
	}

	boolean(key: string, absent: boolean): boolean {
		const value = this.get(key) ?? absent;
		if (typeof value !== 'boolean') throw this.fail(key, 'true or false');
		return value;
	}

	string(key: string, absent?: string): string {
		const value = this.get(key) ?? absent;
		if (typeof value !== 'string') throw this.fail(key, 'a string');
		return value;
	}

	array(key: string): unknown[] {
		const value = this.get(key);
		if (!Array.isArray(value)) throw this.fail(key, 'an array');
		return value;
	}

	/** An array whose items are all objects. */
	objects(key: string): JsonObject[] {
		return this.array(key).map((value, i) => {
			if (isObject(value)) return new JsonObject(this.file, value, `${this.#prefix}${key}[${i}].`);
			throw new Error(`${this.file}: ${this.#prefix}${key}[${i}] should be an object`);
		});
	}

	/** The error for a key whose value is not supported. */
	unsupported(key: string): Error {
		const value = JSON.stringify(this.get(key)) ?? 'nothing';
		const short = value.length > 60 ? `${value.slice(0, 60)}…` : value;
		return new Error(`${this.file}: ${this.#prefix}${key} is ${short}, which is not supported`);
	}

	object(key: string): JsonObject {
		const value = this.optionalObject(key);
		if (!value) throw this.fail(key, 'an object');
		return value;
	}

	optionalObject(key: string): JsonObject | undefined {
		const value = this.get(key);
		if (value === undefined) return undefined;
		if (!isObject(value)) throw this.fail(key, 'an object');
		return new JsonObject(this.file, value, `${this.#prefix}${key}.`);
	}
}

export function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
