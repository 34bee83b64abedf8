// Replaces metadata of a GGUF by values of any type, even by values that our writer would never write.
import { headerFields } from './gguf-fields';

/** GGUF's value types and their numbers. The elements of an `array` have one of the other types. */
export const scalarTypes = {
	...{ u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8 },
	...{ u64: 10, i64: 11, f64: 12 },
} as const;
export type ScalarType = keyof typeof scalarTypes;
const ARRAY = 9;
const ALIGNMENT = 32;

/** A metadata value as it lies in a file: the number of its type, then its bytes. */
export type RawValue = Buffer;

function bytesOf(type: ScalarType, value: number | string): Buffer {
	if (type === 'string') {
		const text = Buffer.from(String(value));
		return Buffer.concat([bytesOf('u64', text.length), text]);
	}
	const bytes = Buffer.alloc({ u8: 1, i8: 1, bool: 1, u16: 2, i16: 2, u64: 8, i64: 8, f64: 8 }[type as 'u8'] ?? 4);
	if (type === 'f32') bytes.writeFloatLE(Number(value));
	else if (type === 'f64') bytes.writeDoubleLE(Number(value));
	else {
		const whole = BigInt(Math.trunc(Number(value) || 0));
		const wrapped = Buffer.alloc(8);
		wrapped.writeBigUInt64LE(BigInt.asUintN(64, whole));
		wrapped.copy(bytes);
	}
	return bytes;
}

function u32(value: number): Buffer {
	return bytesOf('u32', value);
}

export function scalar(type: ScalarType, value: number | string): RawValue {
	return Buffer.concat([u32(scalarTypes[type]), bytesOf(type, value)]);
}

export function arrayOf(type: ScalarType, values: readonly (number | string)[]): RawValue {
	const elements = values.map((value) => bytesOf(type, value));
	return Buffer.concat([u32(ARRAY), u32(scalarTypes[type]), bytesOf('u64', values.length), ...elements]);
}

/** Returns the file with these metadata values replaced or added. `null` removes a key. */
export function withMetadata(file: Buffer, changes: Readonly<Record<string, RawValue | null>>): Buffer {
	const fields = headerFields(file);
	const last = fields.at(-1)!;
	const end = last.offset + last.bytes;
	const begins = fields.filter(({ role }) => role === 'key length' || role === 'name length');
	const keys = begins.filter(({ role }) => role === 'key length');
	const tensors = begins[keys.length]?.offset ?? end;
	const entries = new Map<string, Buffer>(
		keys.map(({ owner, offset }, i) => [owner, file.subarray(offset, keys[i + 1]?.offset ?? tensors)]),
	);
	for (const [key, value] of Object.entries(changes)) {
		if (value) entries.set(key, Buffer.concat([bytesOf('string', key), value]));
		else entries.delete(key);
	}
	const counts = Buffer.concat([file.subarray(0, 16), bytesOf('u64', entries.size)]);
	const header = Buffer.concat([counts, ...entries.values(), file.subarray(tensors, end)]);
	const padding = Buffer.alloc((ALIGNMENT - (header.length % ALIGNMENT)) % ALIGNMENT);
	return Buffer.concat([header, padding, file.subarray(Math.ceil(end / ALIGNMENT) * ALIGNMENT)]);
}
