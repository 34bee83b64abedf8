// The first half of token healing. A text that ends within a word ends at a place where the model's training texts have
// no token boundary. The prompt therefore leaves out the piece before the cursor whose tokens are not stable yet. The
// generation has to begin with the bytes of that piece (completion/token-healing.ts).
import type { Tokenizer } from '../../tokenizer/tokenizer';
import { fromUtf8, toUtf8 } from '../../tokenizer/utf8';

/** A piece with more tokens stays in the prompt, since each token that is taken out costs a step of its own. */
const MAX_HEALED_TOKENS = 4;

/**
 * Splits a text into a head and a piece. No further typing changes the tokens of the head. The piece at the cursor is
 * to be generated again, and is empty if there is nothing to gain.
 */
export function splitForHealing(text: string, tokenizer: Tokenizer): { head: string; piece: string } {
	const bytes = toUtf8(text);
	const piece = fromUtf8(bytes, tokenizer.stableEnd(bytes));
	// In UTF-8 a lone surrogate has become U+FFFD, so the piece may differ from the text's end. Then nothing is cut.
	if (!text.endsWith(piece) || tokenizer.count(piece) > MAX_HEALED_TOKENS) return { head: text, piece: '' };
	return { head: text.slice(0, text.length - piece.length), piece };
}
