// The common base of the hand-written pre-tokenizers: the kinds of characters that their patterns tell apart, and
// reading UTF-8 by code point. They work on bytes, so no string is made for a piece.

/**
 * The kinds of code points that patterns tell apart. A mark counts as a caseless letter within an o200k word, and as a
 * symbol elsewhere.
 */
const UNKNOWN = 0;
export const SYMBOL = 1;
export const UPPER = 2; // Lu, Lt
export const LOWER = 3; // Ll
export const CASELESS = 4; // Lm, Lo
export const MARK = 5;
export const NUMBER = 6;
export const SPACE = 7;
export const NEWLINE = 8; // CR, LF

export const isLetter = (kind: number) => kind >= UPPER && kind <= CASELESS;
export const isUpperSet = (kind: number) => kind === UPPER || kind === CASELESS || kind === MARK;
export const isLowerSet = (kind: number) => kind >= LOWER && kind <= MARK;
export const isSymbolSet = (kind: number) => kind === SYMBOL || kind === MARK;
export const isSpace = (kind: number) => kind >= SPACE;

function classify(codePoint: number): number {
	if (codePoint === 0x0d || codePoint === 0x0a) return NEWLINE;
	const character = String.fromCodePoint(codePoint);
	if (/[\p{Lu}\p{Lt}]/u.test(character)) return UPPER;
	if (/\p{Ll}/u.test(character)) return LOWER;
	if (/[\p{Lm}\p{Lo}]/u.test(character)) return CASELESS;
	if (/\p{M}/u.test(character)) return MARK;
	if (/\p{N}/u.test(character)) return NUMBER;
	if (/\p{White_Space}/u.test(character)) return SPACE;
	return SYMBOL;
}

/**
 * The kind of each code point, filled in when it is first met. Classifying all of Unicode by regular expressions would
 * take 0.2 s.
 */
const kinds = new Uint8Array(0x110000);

/**
 * Cuts valid UTF-8 (`bytes[0, length)`) from the front into the pieces that byte-pair merges never cross, one piece a
 * call.
 */
export abstract class Scanner {
	readonly bytes: Uint8Array;
	readonly length: number;

	/** The end of the code point that `kindAt` read last. For subclasses, like all members but `pieceEnd`. */
	after = 0;

	constructor(bytes: Uint8Array, length: number) {
		this.bytes = bytes;
		this.length = length;
	}

	/** The end of the piece that starts at `start` < length. */
	abstract pieceEnd(start: number): number;

	/** The kind of the code point at `at` < length. It leaves the end of the code point in `after`. */
	kindAt(at: number): number {
		const bytes = this.bytes;
		const lead = bytes[at]!;
		let codePoint = lead;
		if (lead < 0x80) {
			this.after = at + 1;
		} else if (lead < 0xe0) {
			codePoint = ((lead & 0x1f) << 6) | (bytes[at + 1]! & 0x3f);
			this.after = at + 2;
		} else if (lead < 0xf0) {
			codePoint = ((lead & 0x0f) << 12) | ((bytes[at + 1]! & 0x3f) << 6) | (bytes[at + 2]! & 0x3f);
			this.after = at + 3;
		} else {
			codePoint =
				((lead & 0x07) << 18) |
				((bytes[at + 1]! & 0x3f) << 12) |
				((bytes[at + 2]! & 0x3f) << 6) |
				(bytes[at + 3]! & 0x3f);
			this.after = at + 4;
		}
		const kind = kinds[codePoint]!;
		if (kind !== UNKNOWN) return kind;
		const found = classify(codePoint);
		kinds[codePoint] = found;
		return found;
	}

	/** The end of the longest run from `at` of code points for whose kinds `belongs` is true. */
	runEnd(at: number, belongs: (kind: number) => boolean): number {
		let end = at;
		while (end < this.length && belongs(this.kindAt(end))) end = this.after;
		return end;
	}

	/**
	 * The end of an English contraction ('s, 't, 're, 've, 'm, 'll, 'd) at `at`, or `at` if there is none.
	 * @param anyCase whether contractions in capitals count.
	 */
	contractionEnd(at: number, anyCase = true): number {
		if (this.bytes[at] !== 0x27 || at + 1 >= this.length) return at;
		const fold = anyCase ? 0x20 : 0; // to lower case: no other character but the capital gets that value
		const one = this.bytes[at + 1]! | fold;
		if (one === 0x73 || one === 0x74 || one === 0x6d || one === 0x64) return at + 2; // s, t, m, d
		if (at + 2 >= this.length) return at;
		const two = this.bytes[at + 2]! | fold;
		const pair = (one === 0x72 || one === 0x76) && two === 0x65; // re, ve
		return pair || (one === 0x6c && two === 0x6c) ? at + 3 : at; // ll
	}

	/** The end of `\s+(?!\S)|\s+` from a white space at `start`. The last white space is left to a word behind it. */
	spaceEnd(start: number): number {
		let at = start;
		let last = start;
		while (at < this.length && isSpace(this.kindAt(at))) {
			last = at;
			at = this.after;
		}
		return at < this.length && last > start ? last : at;
	}

	/**
	 * The end of `\s*[\r\n]+|\s+(?!\S)|\s+` from a white space at `start`. It is behind the last line break, if there is
	 * one.
	 */
	lineSpaceEnd(start: number): number {
		let at = start;
		let last = start;
		let afterNewline = -1;
		while (at < this.length) {
			const kind = this.kindAt(at);
			if (!isSpace(kind)) break;
			last = at;
			at = this.after;
			if (kind === NEWLINE) afterNewline = at;
		}
		if (afterNewline >= 0) return afterNewline;
		return at < this.length && last > start ? last : at;
	}
}
