// o200k's pre-tokenizer: cuts UTF-8 text into the pieces that byte-pair merges never cross. A hand-written scanner, equal to
// `o200kPattern` (tests compare them) and several times faster; it works on bytes, so no string is made for a piece.

const contraction = "(?:'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE]))?";

/**
 * The published pattern (openai/tiktoken `tiktoken_ext/openai_public.py`) with `(?i:…)` spelled out. U+FEFF, a space to
 * JavaScript's `\s`, is none to tiktoken: o200k has tokens like U+FEFF + `//`.
 */
export const o200kPattern = new RegExp(
	[
		String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+${contraction}`,
		String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*${contraction}`,
		String.raw`\p{N}{1,3}`,
		String.raw` ?(?:[^\s\p{L}\p{N}]|\uFEFF)+[\r\n/]*`,
		String.raw`[^\S\uFEFF]*[\r\n]+`,
		String.raw`[^\S\uFEFF]+(?![\S\uFEFF])`,
		String.raw`[^\S\uFEFF]+`,
	].join('|'),
	'gu',
);

// What a code point is to the pattern. A mark counts as a caseless letter inside a word, as a symbol elsewhere.
const UNKNOWN = 0;
const SYMBOL = 1;
const UPPER = 2; // Lu, Lt
const LOWER = 3; // Ll
const CASELESS = 4; // Lm, Lo
const MARK = 5;
const NUMBER = 6;
const SPACE = 7;
const NEWLINE = 8; // CR, LF

const isLetter = (kind: number) => kind >= UPPER && kind <= CASELESS;
const isUpperSet = (kind: number) => kind === UPPER || kind === CASELESS || kind === MARK;
const isLowerSet = (kind: number) => kind >= LOWER && kind <= MARK;
const isSymbolSet = (kind: number) => kind === SYMBOL || kind === MARK;

function classify(codePoint: number): number {
	if (codePoint === 0x0d || codePoint === 0x0a) return NEWLINE;
	const character = String.fromCodePoint(codePoint);
	if (/[\p{Lu}\p{Lt}]/u.test(character)) return UPPER;
	if (/\p{Ll}/u.test(character)) return LOWER;
	if (/[\p{Lm}\p{Lo}]/u.test(character)) return CASELESS;
	if (/\p{M}/u.test(character)) return MARK;
	if (/\p{N}/u.test(character)) return NUMBER;
	if (/\s/u.test(character) && codePoint !== 0xfeff) return SPACE;
	return SYMBOL;
}

/** Filled as code points are met: asking the regular expressions for all of Unicode would cost 0.2 s at start-up. */
const kinds = new Uint8Array(0x110000);

/** Cuts valid UTF-8 (`bytes[0, length)`) from the front, one piece a call. */
export class O200kScanner {
	private readonly bytes: Uint8Array;
	private readonly length: number;
	/** End of the code point that `kindAt` looked at last. */
	private after = 0;

	constructor(bytes: Uint8Array, length: number) {
		this.bytes = bytes;
		this.length = length;
	}

	/** The end of the piece that starts at `start` < length. The names A1…A7 are the pattern's alternatives in order. */
	pieceEnd(start: number): number {
		const first = this.kindAt(start);
		const second = this.after;
		if (isLetter(first)) return this.wordEnd(start);
		if (first === NUMBER) return this.numberEnd(start);

		if (first !== NEWLINE && second < this.length) {
			const kind = this.kindAt(second);
			if (isLetter(kind) || kind === MARK) {
				const end = this.lowerWordEnd(second);
				if (end >= 0) return this.contractionEnd(end); // A1 with its leading character
				if (first === MARK) return this.contractionEnd(second); // A1 without: the mark is the word
				return this.wordEnd(second); // A2
			}
		}
		if (first === MARK) return this.contractionEnd(second); // A1, the mark alone
		if (first === SYMBOL) return this.symbolsEnd(second); // A4
		if (this.bytes[start] === 0x20 && second < this.length && isSymbolSet(this.kindAt(second))) {
			return this.symbolsEnd(second);
		}
		return this.spaceEnd(start);
	}

	/** Kind of the code point at `at` < length; leaves its end in `after`. */
	private kindAt(at: number): number {
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

	/** A1 or else A2 without a leading character: `start` is at a letter. */
	private wordEnd(start: number): number {
		const lower = this.lowerWordEnd(start);
		if (lower >= 0) return this.contractionEnd(lower);
		let at = start;
		while (at < this.length && isUpperSet(this.kindAt(at))) at = this.after;
		return this.contractionEnd(at);
	}

	/**
	 * `[upper set]*[lower set]+` from `start`, or −1. The first run is greedy and gives back only what the second needs, so
	 * without a lowercase letter after it the match ends behind the run's last character that belongs to both sets.
	 */
	private lowerWordEnd(start: number): number {
		let at = start;
		let lastShared = -1;
		while (at < this.length) {
			const kind = this.kindAt(at);
			if (kind === LOWER) {
				do at = this.after;
				while (at < this.length && isLowerSet(this.kindAt(at)));
				return at;
			}
			if (!isUpperSet(kind)) break;
			at = this.after;
			if (kind !== UPPER) lastShared = at;
		}
		return lastShared;
	}

	/** The end of an English contraction ('s, 't, 're, 've, 'm, 'll, 'd) at `at`, or `at`. */
	private contractionEnd(at: number): number {
		if (this.bytes[at] !== 0x27 || at + 1 >= this.length) return at;
		const one = this.bytes[at + 1]! | 0x20; // to lower case; only the capitals share that bit pattern
		if (one === 0x73 || one === 0x74 || one === 0x6d || one === 0x64) return at + 2; // s, t, m, d
		if (at + 2 >= this.length) return at;
		const two = this.bytes[at + 2]! | 0x20;
		const pair = (one === 0x72 || one === 0x76) && two === 0x65; // re, ve
		return pair || (one === 0x6c && two === 0x6c) ? at + 3 : at; // ll
	}

	/** A3. */
	private numberEnd(start: number): number {
		let at = start;
		for (let digits = 0; digits < 3 && at < this.length && this.kindAt(at) === NUMBER; digits++) at = this.after;
		return at;
	}

	/** The rest of A4. `at` is behind the first symbol or at it. */
	private symbolsEnd(at: number): number {
		while (at < this.length && isSymbolSet(this.kindAt(at))) at = this.after;
		while (at < this.length && (this.bytes[at] === 0x0a || this.bytes[at] === 0x0d || this.bytes[at] === 0x2f)) at++;
		return at;
	}

	/** A5, A6 or A7. */
	private spaceEnd(start: number): number {
		let at = start;
		let last = start;
		let afterNewline = -1;
		while (at < this.length) {
			const kind = this.kindAt(at);
			if (kind !== SPACE && kind !== NEWLINE) break;
			last = at;
			at = this.after;
			if (kind === NEWLINE) afterNewline = at;
		}
		if (afterNewline >= 0) return afterNewline;
		return at < this.length && last > start ? last : at;
	}
}
