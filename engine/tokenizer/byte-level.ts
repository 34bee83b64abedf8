// GPT-2's byte-level alphabet, in which vocabularies write each byte as one printable character (`bytes_to_unicode` in
// openai/gpt-2 `encoder.py`). Printable Latin-1 characters stand for themselves. The other 68 bytes are written as
// U+0100 and on.

/** byte → code point (all below U+0144, so one or two bytes of UTF-8). */
export const byteToCodePoint = new Uint16Array(256);
/** code point → byte; −1 outside the alphabet. */
export const codePointToByte = new Int16Array(0x144).fill(-1);

const printable = (byte: number) =>
	(byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

let next = 0x100;
for (let byte = 0; byte < 256; byte++) {
	const codePoint = printable(byte) ? byte : next++;
	byteToCodePoint[byte] = codePoint;
	codePointToByte[codePoint] = byte;
}

/**
 * Decodes `source[from, to)`, UTF-8 text in the alphabet, to raw bytes at `target[at]`.
 * @returns the end of the written bytes, or −1 if a character is outside the alphabet.
 */
export function decodeByteLevel(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): number {
	let i = from;
	let end = at;
	while (i < to) {
		let codePoint = source[i++]!;
		if (codePoint >= 0x80) {
			if (codePoint < 0xc0 || codePoint >= 0xe0 || i >= to) return -1;
			codePoint = ((codePoint & 0x1f) << 6) | (source[i++]! & 0x3f);
		}
		const byte = codePointToByte[codePoint] ?? -1;
		if (byte < 0) return -1;
		target[end++] = byte;
	}
	return end;
}

/**
 * Writes raw bytes in the alphabet, as UTF-8. `target` needs room for two bytes a raw byte.
 * @returns the end of the written bytes.
 */
export function encodeByteLevel(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): number {
	let end = at;
	for (let i = from; i < to; i++) {
		const codePoint = byteToCodePoint[source[i]!]!;
		if (codePoint < 0x80) {
			target[end++] = codePoint;
		} else {
			target[end++] = 0xc0 | (codePoint >> 6);
			target[end++] = 0x80 | (codePoint & 0x3f);
		}
	}
	return end;
}
