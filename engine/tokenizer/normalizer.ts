// Unicode normalisation of text before it is encoded.
import type { TokenMatcher } from './token-matcher';
import { fromUtf8, toUtf8 } from './utf8';

/**
 * The key of the normalisation in a GGUF that Hearth has converted. It is "NFC" if the tokenizer brings text into that
 * form first. Other converters do not write the key. Text for their files stays as it is, as in llama.cpp.
 */
export const NORMALIZER_KEY = 'hearth.text_normalizer';
/**
 * Text with so many marks in a row is not normalised, since sorting marks takes time with the square of their number.
 * Such a run is not proper text: Unicode's Stream-Safe Text Format (UAX 15) has at most 30 marks in a row.
 */
const TOO_MANY_MARKS = /\p{M}{64}/u;
/**
 * Characters that may compose with the character before: marks, and the vowels and final consonants of Hangul
 * syllables.
 */
const JOINING = /[\p{M}\u1160-\u11ff]*/uy;
/** About so many UTF-16 units are normalised together. */
const NORMALIZED_TOGETHER = 65_536;

export class NfcNormalizer {
	readonly #kept: TokenMatcher;

	/**
	 * @param kept finds the parts of a text that stay as they are: user-defined tokens are found in text that is not
	 * normalised.
	 */
	constructor(kept: TokenMatcher) {
		this.#kept = kept;
	}

	/**
	 * Brings text into the form NFC. If `inTurns` is true it yields every NORMALIZED_TOGETHER units, so that others have
	 * their turn.
	 */
	*normalize(text: string, inTurns: boolean): Generator<undefined, string> {
		let whole = '';
		for (let start = 0; start < text.length; ) {
			const end = startOfCharacter(text, start + NORMALIZED_TOGETHER);
			whole += this.#normalized(text.slice(start, end));
			start = end;
			if (inTurns) yield;
		}
		return whole;
	}

	#normalized(text: string): string {
		if (TOO_MANY_MARKS.test(text) || text.normalize('NFC') === text) return text;
		const bytes = toUtf8(text);
		let whole = '';
		let last = 0;
		for (const { start, end } of this.#kept.find(bytes, bytes.length)) {
			whole += fromUtf8(bytes, last, start).normalize('NFC') + fromUtf8(bytes, start, end);
			last = end;
		}
		return whole + fromUtf8(bytes, last).normalize('NFC');
	}
}

/** The first place from `at` on at which text can be cut without changing how it is normalised. */
function startOfCharacter(text: string, at: number): number {
	if (at >= text.length) return text.length;
	const low = text.charCodeAt(at);
	JOINING.lastIndex = at + (low >= 0xdc00 && low < 0xe000 ? 1 : 0);
	JOINING.test(text);
	return JOINING.lastIndex;
}
