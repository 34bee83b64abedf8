// The pre-tokenizers of Llama 3 and of Qwen 2, which differs in that it takes numbers one character at a time. The
// scanner cuts text exactly as the patterns below do. Tests compare the two.
import { isLetter, isSymbolSet, NEWLINE, NUMBER, Scanner } from './scanner';

/**
 * The published pattern (meta-llama/llama3 `llama/tokenizer.py`), with `(?i:…)` spelled out and white space as in
 * `o200kPattern`.
 */
export const llama3Pattern = patternWith(String.raw`\p{N}{1,3}`);

/** The pattern of Qwen/Qwen2.5-Coder `tokenizer.json`. */
export const qwen2Pattern = patternWith(String.raw`\p{N}`);

function patternWith(numbers: string): RegExp {
	return new RegExp(
		[
			"'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])",
			String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`,
			numbers,
			String.raw` ?[^\p{White_Space}\p{L}\p{N}]+[\r\n]*`,
			String.raw`\p{White_Space}*[\r\n]+`,
			String.raw`\p{White_Space}+(?!\P{White_Space})`,
			String.raw`\p{White_Space}+`,
		].join('|'),
		'gu',
	);
}

export class Llama3Scanner extends Scanner {
	readonly #maxDigits: number;

	/** @param maxDigits the most characters of a number in one piece. */
	constructor(bytes: Uint8Array, length: number, maxDigits: number) {
		super(bytes, length);
		this.#maxDigits = maxDigits;
	}

	pieceEnd(start: number): number {
		const contraction = this.contractionEnd(start);
		if (contraction > start) return contraction;
		const first = this.kindAt(start);
		const second = this.after;
		if (isLetter(first)) return this.runEnd(start, isLetter);
		if (first === NUMBER) return this.#numberEnd(start);
		if (first !== NEWLINE && second < this.length && isLetter(this.kindAt(second)))
			return this.runEnd(second, isLetter);
		if (isSymbolSet(first)) return this.#symbolsEnd(start);
		if (this.bytes[start] === 0x20 && second < this.length && isSymbolSet(this.kindAt(second))) {
			return this.#symbolsEnd(second);
		}
		return this.lineSpaceEnd(start);
	}

	#numberEnd(start: number): number {
		let at = start;
		for (let digits = 0; digits < this.#maxDigits && at < this.length && this.kindAt(at) === NUMBER; digits++) {
			at = this.after;
		}
		return at;
	}

	#symbolsEnd(start: number): number {
		return this.runEnd(this.runEnd(start, isSymbolSet), (kind) => kind === NEWLINE);
	}
}
