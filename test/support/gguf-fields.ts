// Finds where each field of a GGUF header lies. It is a second, plain reader of the format, for tests that damage one
// field at a time.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

export interface Field {
	/** What an error about this field should name: a metadata key, a tensor, or a part of the fixed header. */
	owner: string;
	/** The kind of field: magic, version, count, key length, value type, string length, dimension 0… */
	role: string;
	offset: number;
	bytes: number;
}

const SCALAR_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const STRING = 8;
const ARRAY = 9;

/** All fields of the header in file order. An array contributes only its first, middle and last elements. */
export function headerFields(file: Buffer): Field[] {
	const fields: Field[] = [];
	let at = 0;
	const take = (owner: string, role: string, bytes: number): number => {
		const offset = at;
		fields.push({ owner, role, offset, bytes });
		at += bytes;
		return offset;
	};
	const u32 = (owner: string, role: string) => file.readUInt32LE(take(owner, role, 4));
	const u64 = (owner: string, role: string) => Number(file.readBigUInt64LE(take(owner, role, 8)));
	const text = (bytes: number) => file.toString('utf8', at, at + bytes);
	const string = (owner: string, role: string) => {
		const length = u64(owner, `${role} length`);
		if (length > 0) take(owner, role, length);
	};
	const named = (role: string): string => {
		const length = file.readUInt32LE(at);
		at += 8;
		const owner = text(length);
		at -= 8;
		take(owner, `${role} length`, 8);
		take(owner, role, length);
		return owner;
	};

	take('header', 'magic', 4);
	u32('header', 'version');
	const tensors = u64('header', 'tensor count');
	const entries = u64('header', 'metadata count');
	for (let i = 0; i < entries; i++) {
		const key = named('key');
		const type = u32(key, 'value type');
		if (type === STRING) string(key, 'string');
		else if (type === ARRAY) {
			const element = u32(key, 'element type');
			const count = u64(key, 'element count');
			for (let e = 0; e < count; e++) {
				const length = fields.length;
				if (element === STRING) string(key, 'element');
				else take(key, 'element', SCALAR_BYTES[element]!);
				if (e !== 0 && e !== count >> 1 && e !== count - 1) fields.length = length;
			}
		} else take(key, 'value', SCALAR_BYTES[type]!);
	}
	for (let i = 0; i < tensors; i++) {
		const tensor = named('name');
		const dimensions = u32(tensor, 'dimension count');
		for (let d = 0; d < dimensions; d++) u64(tensor, `dimension ${d}`);
		u32(tensor, 'type');
		u64(tensor, 'offset');
	}
	return fields;
}
