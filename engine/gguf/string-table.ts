// Builds string tables, which hold many byte strings in one array.
import type { StringTable } from '../../native/index';

const textEncoder = new TextEncoder();

export class StringTableBuilder {
	#bytes = new Uint8Array(1 << 16);
	#offsets = new Uint32Array(1 << 12);
	#count = 0;
	#end = 0;

	/** Appends a string, which is given as text or as bytes. */
	add(value: string | Uint8Array): void {
		const bytes = typeof value === 'string' ? textEncoder.encode(value) : value;
		if (this.#end + bytes.length > this.#bytes.length) {
			const grown = new Uint8Array(2 * (this.#end + bytes.length));
			grown.set(this.#bytes);
			this.#bytes = grown;
		}
		if (this.#count + 2 > this.#offsets.length) {
			const grown = new Uint32Array(2 * this.#offsets.length);
			grown.set(this.#offsets);
			this.#offsets = grown;
		}
		this.#bytes.set(bytes, this.#end);
		this.#end += bytes.length;
		this.#offsets[++this.#count] = this.#end;
	}

	build(): StringTable {
		return { bytes: this.#bytes.slice(0, this.#end), offsets: this.#offsets.slice(0, this.#count + 1) };
	}
}

/** A table of these strings. */
export function stringTable(values: Iterable<string | Uint8Array>): StringTable {
	const builder = new StringTableBuilder();
	for (const value of values) builder.add(value);
	return builder.build();
}
