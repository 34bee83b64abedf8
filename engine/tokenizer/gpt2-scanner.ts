// The pre-tokenizers of GPT-2 and of SmolLM, which first sets every digit apart. The scanner cuts text exactly as the
// patterns below do. Tests compare the two.
import { isLetter, isSpace, isSymbolSet, NUMBER, Scanner } from './scanner';

/** The pattern of openai/gpt-2 `encoder.py`, with white space as in `o200kPattern`. */
export const gpt2Pattern = new RegExp(
	[
		"'(?:s|t|re|ve|m|ll|d)",
		String.raw` ?\p{L}+`,
		String.raw` ?\p{N}+`,
		String.raw` ?[^\p{White_Space}\p{L}\p{N}]+`,
		String.raw`\p{White_Space}+(?!\P{White_Space})`,
		String.raw`\p{White_Space}+`,
	].join('|'),
	'gu',
);

/**
 * SmolLM's tokenizer.json (`Digits` with `individual_digits` before `ByteLevel`) as a pattern: GPT-2's pattern between
 * digits.
 */
export const smollmPattern = new RegExp(
	[
		String.raw`\p{N}`,
		"'(?:s|t|re|ve|m|ll|d)",
		String.raw` ?\p{L}+`,
		String.raw` ?[^\p{White_Space}\p{L}\p{N}]+`,
		String.raw`\p{White_Space}+(?![^\p{White_Space}\p{N}])`,
		String.raw`\p{White_Space}+`,
	].join('|'),
	'gu',
);

const isNumber = (kind: number) => kind === NUMBER;

export class Gpt2Scanner extends Scanner {
	readonly #digitsApart: boolean;

	/** @param digitsApart whether each number character is a piece by itself and ends the text before it, as in SmolLM. */
	constructor(bytes: Uint8Array, length: number, digitsApart: boolean) {
		super(bytes, length);
		this.#digitsApart = digitsApart;
	}

	pieceEnd(start: number): number {
		const contraction = this.contractionEnd(start, false);
		if (contraction > start) return contraction;
		const first = this.kindAt(start);
		const second = this.after;
		if (isSpace(first)) {
			if (this.bytes[start] === 0x20 && second < this.length) {
				const word = this.#wordEnd(second, this.kindAt(second));
				if (word > second) return word;
			}
			return this.#digitsApart ? this.#spaceBeforeDigitsEnd(start) : this.spaceEnd(start);
		}
		return isNumber(first) && this.#digitsApart ? second : this.#wordEnd(start, first);
	}

	/**
	 * The end of `\p{L}+`, `\p{N}+` or `[^\s\p{L}\p{N}]+` at `at`, or `at` if none matches. `kind` is the kind of the
	 * character at `at`.
	 */
	#wordEnd(at: number, kind: number): number {
		if (isLetter(kind)) return this.runEnd(at, isLetter);
		if (isSymbolSet(kind)) return this.runEnd(at, isSymbolSet);
		return isNumber(kind) && !this.#digitsApart ? this.runEnd(at, isNumber) : at;
	}

	/** Does the same as `spaceEnd`, but a digit counts as the end of the text. */
	#spaceBeforeDigitsEnd(start: number): number {
		const end = this.runEnd(start, isSpace);
		return end < this.length && isNumber(this.kindAt(end)) ? end : this.spaceEnd(start);
	}
}
