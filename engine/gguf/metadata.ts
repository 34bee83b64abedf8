// Typed reads of a GGUF header's metadata. The file is untrusted: a missing key or a wrong type is an error naming the key.
import type { GgufHeader, MetadataValue, StringTable } from '../../native/index';

function typeName(value: MetadataValue | undefined): string {
	if (value === undefined) return 'missing';
	if (isStringTable(value)) return 'an array of strings';
	if (typeof value === 'bigint') return 'a number';
	return typeof value === 'object' ? 'an array' : `a ${typeof value}`;
}

/** An error about a header that names its file, where it came from one. */
export function headerFault({ path }: GgufHeader, message: string): Error {
	return new Error(path === undefined || message.startsWith(path) ? message : `${path}: ${message}`);
}

function mismatch(header: GgufHeader, key: string, wanted: string, value: MetadataValue | undefined): Error {
	return headerFault(header, `metadata ${key} should be ${wanted} but is ${typeName(value)}`);
}

function isStringTable(value: MetadataValue | undefined): value is StringTable {
	return typeof value === 'object' && 'offsets' in value;
}

/** How many strings a value has; 0 for what is no array of them. */
export function tableLength(value: MetadataValue | undefined): number {
	if (isStringTable(value)) return value.offsets.length - 1;
	return typeof value === 'object' && 'omitted' in value ? value.omitted : 0;
}

/** The text at `key`, or undefined where there is none. Throws if it is no string. */
export function optionalString(header: GgufHeader, key: string): string | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || typeof value === 'string') return value;
	throw mismatch(header, key, 'a string', value);
}

/** The text at `key`. Throws if it is missing or no string. */
export function requireString(header: GgufHeader, key: string): string {
	const value = optionalString(header, key);
	if (value === undefined) throw mismatch(header, key, 'a string', value);
	return value;
}

/** The number at `key`, or undefined where there is none. Throws if it is no number, or an integer beyond 2^53. */
export function optionalNumber(header: GgufHeader, key: string): number | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || typeof value === 'number') return value;
	if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) return Number(value);
	throw mismatch(header, key, 'a number', value);
}

/** The boolean at `key`, or undefined where there is none. Throws if it is another type. */
export function optionalFlag(header: GgufHeader, key: string): boolean | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || typeof value === 'boolean') return value;
	throw mismatch(header, key, 'a boolean', value);
}

/** The string array at `key`. Throws if it is missing or another type. */
export function requireStrings(header: GgufHeader, key: string): StringTable {
	const value = header.metadata.get(key);
	if (isStringTable(value)) return value;
	throw mismatch(header, key, 'an array of strings', value);
}

/** The integer array at `key`, or undefined where there is none. Throws if it is another type. */
export function optionalIntegers(header: GgufHeader, key: string): Int32Array | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || value instanceof Int32Array) return value;
	if (value instanceof Float64Array) return Int32Array.from(value);
	throw mismatch(header, key, 'an array of integers', value);
}
