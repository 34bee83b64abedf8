// Typed reads of the JSON files of a Hugging Face folder. They are untrusted: a missing key or a wrong type is an error that
// names the file and the key.
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** tokenizer.json of gpt-oss has 28 MB; nothing real is much larger. */
const MAX_BYTES = 256 * 2 ** 20;

/** One JSON object and where it came from. */
export class JsonObject {
	constructor(
		readonly file: string,
		readonly values: Readonly<Record<string, unknown>>,
		private readonly prefix = '',
	) {}

	has(key: string): boolean {
		return this.get(key) !== undefined;
	}

	/** null counts as absent. */
	get(key: string): unknown {
		return Object.hasOwn(this.values, key) ? (this.values[key] ?? undefined) : undefined;
	}

	/** The value of the first of these keys that is there. */
	first(...keys: string[]): unknown {
		for (const key of keys) if (this.has(key)) return this.get(key);
		return undefined;
	}

	fail(key: string, wanted: string): Error {
		const value = this.get(key);
		const found = value === undefined ? 'missing' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
		return new Error(`${this.file}: ${this.prefix}${key} should be ${wanted} but is ${found}`);
	}

	/** An integer from `low` to `high`; `absent` where there is none. */
	integer(key: string, low: number, high: number, absent?: number): number {
		const value = this.get(key) ?? absent;
		if (typeof value !== 'number' || !Number.isInteger(value)) throw this.fail(key, 'an integer');
		if (value < low || value > high) {
			throw new Error(`${this.file}: ${this.prefix}${key} is ${value}, which is outside ${low}..${high}`);
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

	object(key: string): JsonObject {
		const value = this.optionalObject(key);
		if (!value) throw this.fail(key, 'an object');
		return value;
	}

	optionalObject(key: string): JsonObject | undefined {
		const value = this.get(key);
		if (value === undefined) return undefined;
		if (typeof value !== 'object' || Array.isArray(value)) throw this.fail(key, 'an object');
		return new JsonObject(this.file, value as Record<string, unknown>, `${this.prefix}${key}.`);
	}
}

/**
 * Reads a JSON object of a folder; undefined where there is no such file.
 * @throws where it cannot be read, is far too large, or is no JSON object.
 */
export async function readJson(folder: string, name: string): Promise<JsonObject | undefined> {
	const file = path.join(folder, name);
	const text = await readText(file);
	if (text === undefined) return undefined;
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (error) {
		throw new Error(`${file} is no valid JSON: ${(error as Error).message}`);
	}
	if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${file} is no JSON object`);
	return new JsonObject(file, value as Record<string, unknown>);
}

/** A text file's contents; undefined where there is none. */
export async function readText(file: string): Promise<string | undefined> {
	try {
		const { size } = await stat(file);
		if (size > MAX_BYTES) throw new Error(`${file} has ${size} bytes, more than such a file can need`);
		return await readFile(file, 'utf8');
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
		throw error;
	}
}
