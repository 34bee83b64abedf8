// Typed reads of a GGUF header's metadata. The file is untrusted, so a missing key or a wrong type is an error that
// names the key.
import type { GgufHeader, MetadataValue, StringTable } from '../../native/index';

function typeName(value: MetadataValue | undefined): string {
	if (value === undefined) return 'missing';
	if (isStringTable(value)) return 'an array of strings';
	if (typeof value === 'bigint') return 'a number';
	return typeof value === 'object' ? 'an array' : `a ${typeof value}`;
}

/** An error about a header. It names the header's file, if there is one. */
export function headerFault({ path }: GgufHeader, message: string): Error {
	return new Error(path === undefined || message.startsWith(path) ? message : `${path}: ${message}`);
}

function mismatch(header: GgufHeader, key: string, wanted: string, value: MetadataValue | undefined): Error {
	return headerFault(header, `metadata ${key} should be ${wanted} but is ${typeName(value)}`);
}

function isStringTable(value: MetadataValue | undefined): value is StringTable {
	return typeof value === 'object' && 'offsets' in value;
}

/** The number of strings in a value, or 0 if it is not an array of strings. */
export function tableLength(value: MetadataValue | undefined): number {
	if (isStringTable(value)) return value.offsets.length - 1;
	return typeof value === 'object' && 'omitted' in value ? value.omitted : 0;
}

/**
 * The text at `key`, or undefined if the key is missing.
 * @throws an error if the value is no string.
 */
export function optionalString(header: GgufHeader, key: string): string | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || typeof value === 'string') return value;
	throw mismatch(header, key, 'a string', value);
}

/**
 * The text at `key`.
 * @throws an error if the key is missing or the value is no string.
 */
export function requireString(header: GgufHeader, key: string): string {
	const value = optionalString(header, key);
	if (value === undefined) throw mismatch(header, key, 'a string', value);
	return value;
}

/**
 * The number at `key`, or undefined if the key is missing.
 * @throws an error if the value is no number, or an integer beyond 2^53.
 */
export function optionalNumber(header: GgufHeader, key: string): number | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || typeof value === 'number') return value;
	if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) return Number(value);
	throw mismatch(header, key, 'a number', value);
}

/**
 * The boolean at `key`, or undefined if the key is missing.
 * @throws an error if the value has another type.
 */
export function optionalFlag(header: GgufHeader, key: string): boolean | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || typeof value === 'boolean') return value;
	throw mismatch(header, key, 'a boolean', value);
}

/**
 * The string array at `key`.
 * @throws an error if the key is missing or the value has another type.
 */
export function requireStrings(header: GgufHeader, key: string): StringTable {
	const value = header.metadata.get(key);
	if (isStringTable(value)) return value;
	throw mismatch(header, key, 'an array of strings', value);
}

/**
 * The integer array at `key`, or undefined if the key is missing.
 * @throws an error if the value has another type.
 */
export function optionalIntegers(header: GgufHeader, key: string): Int32Array | undefined {
	const value = header.metadata.get(key);
	if (value === undefined || value instanceof Int32Array) return value;
	if (value instanceof Float64Array) return Int32Array.from(value);
	throw mismatch(header, key, 'an array of integers', value);
}
