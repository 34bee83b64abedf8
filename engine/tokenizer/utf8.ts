// Text ↔ UTF-8. A byte order mark is kept as text, since vocabularies have tokens that begin with it.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The text as UTF-8. Lone surrogates become U+FFFD. */
export function toUtf8(text: string): Uint8Array {
	return encoder.encode(text);
}

/** The text of `bytes[from, to)`. Bytes that are no UTF-8 become U+FFFD. */
export function fromUtf8(bytes: Uint8Array, from = 0, to = bytes.length): string {
	return decoder.decode(bytes.subarray(from, to));
}
