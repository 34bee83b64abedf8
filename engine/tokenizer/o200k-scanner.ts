// The pre-tokenizer of o200k, gpt-oss's vocabulary. This hand-written scanner cuts text exactly as `o200kPattern` does,
// several times faster. Tests compare the two.
import {
	isLetter,
	isLowerSet,
	isSymbolSet,
	isUpperSet,
	LOWER,
	MARK,
	NEWLINE,
	NUMBER,
	Scanner,
	SYMBOL,
	UPPER,
} from './scanner';

const contraction = "(?:'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE]))?";

/**
 * The published pattern (openai/tiktoken `tiktoken_ext/openai_public.py`), with `(?i:…)` spelled out. Its `\s` is
 * Unicode's White_Space. JavaScript's `\s` has U+FEFF as well (o200k has tokens like U+FEFF + `//`) and lacks U+0085.
 */
export const o200kPattern = new RegExp(
	[
		String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+${contraction}`,
		String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*${contraction}`,
		String.raw`\p{N}{1,3}`,
		String.raw` ?[^\p{White_Space}\p{L}\p{N}]+[\r\n/]*`,
		String.raw`\p{White_Space}*[\r\n]+`,
		String.raw`\p{White_Space}+(?!\P{White_Space})`,
		String.raw`\p{White_Space}+`,
	].join('|'),
	'gu',
);

/** Cuts valid UTF-8 (`bytes[0, length)`) from the front, one piece a call. */
export class O200kScanner extends Scanner {
	/**
	 * The end of the piece that starts at `start` < length. In the comments A1…A7 are the pattern's alternatives in order.
	 */
	pieceEnd(start: number): number {
		const first = this.kindAt(start);
		const second = this.after;
		if (isLetter(first)) return this.#wordEnd(start);
		if (first === NUMBER) return this.#numberEnd(start);

		if (first !== NEWLINE && second < this.length) {
			const kind = this.kindAt(second);
			if (isLetter(kind) || kind === MARK) {
				const end = this.#lowerWordEnd(second);
				if (end >= 0) return this.contractionEnd(end); // A1 with its leading character
				if (first === MARK) return this.contractionEnd(second); // A1 without a leading character: the mark is the word
				return this.#wordEnd(second); // A2
			}
		}
		if (first === MARK) return this.contractionEnd(second); // A1, the mark alone
		if (first === SYMBOL) return this.#symbolsEnd(second); // A4
		if (this.bytes[start] === 0x20 && second < this.length && isSymbolSet(this.kindAt(second))) {
			return this.#symbolsEnd(second);
		}
		return this.lineSpaceEnd(start); // A5, A6 or A7
	}

	/** The end of A1, or else of A2, both without a leading character. `start` is at a letter. */
	#wordEnd(start: number): number {
		const lower = this.#lowerWordEnd(start);
		if (lower >= 0) return this.contractionEnd(lower);
		let at = start;
		while (at < this.length && isUpperSet(this.kindAt(at))) at = this.after;
		return this.contractionEnd(at);
	}

	/**
	 * The end of `[upper set]*[lower set]+` from `start`, or −1 if it does not match. The first run is greedy and gives
	 * back only what the second needs. So if no lowercase letter follows the first run, the match ends behind its last
	 * character that belongs to both sets.
	 */
	#lowerWordEnd(start: number): number {
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

	/** The end of A3. */
	#numberEnd(start: number): number {
		let at = start;
		for (let digits = 0; digits < 3 && at < this.length && this.kindAt(at) === NUMBER; digits++) at = this.after;
		return at;
	}

	/** The end of A4. `at` is at the first symbol or behind it. */
	#symbolsEnd(at: number): number {
		while (at < this.length && isSymbolSet(this.kindAt(at))) at = this.after;
		while (at < this.length && (this.bytes[at] === 0x0a || this.bytes[at] === 0x0d || this.bytes[at] === 0x2f)) at++;
		return at;
	}
}
