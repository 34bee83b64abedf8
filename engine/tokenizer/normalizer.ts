// Unicode normalisation of text before it is encoded.
import type { TokenMatcher } from './token-matcher';
import { fromUtf8, toUtf8 } from './utf8';

/**
 * Of a GGUF that Hearth has converted: "NFC" where the tokenizer normalises text so before all else. Nobody else's files say it: they
 * leave text as it is, as llama.cpp does.
 */
export const NORMALIZER_KEY = 'hearth.text_normalizer';
/**
 * So many marks in a row are no text (Unicode's Stream-Safe Text Format, UAX 15, has at most 30), and to put them in order takes time
 * with the square of their number.
 */
const TOO_MANY_MARKS = /\p{M}{64}/u;
/** Characters that the one before may take in: marks, and the vowels and ends of Hangul syllables. */
const JOINING = /[\p{M}\u1160-\u11ff]*/uy;
/** UTF-16 units. */
const NORMALIZED_TOGETHER = 65_536;

export class NfcNormalizer {
	readonly #kept: TokenMatcher;

	/** @param kept finds what stays as it is: user-defined tokens are looked for in text that is not normalised. */
	constructor(kept: TokenMatcher) {
		this.#kept = kept;
	}

	/** Text in the form NFC. It yields after every some ten thousand characters if `inTurns` is true, so that others have their turn. */
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

/** The first place from `at` on where text can be cut so that both parts are normalised as the whole is. */
function startOfCharacter(text: string, at: number): number {
	if (at >= text.length) return text.length;
	const low = text.charCodeAt(at);
	JOINING.lastIndex = at + (low >= 0xdc00 && low < 0xe000 ? 1 : 0);
	JOINING.test(text);
	return JOINING.lastIndex;
}
