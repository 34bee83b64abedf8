// The first half of token healing. Text that ends within a word ends where the model knows no token boundary. A prompt therefore
// leaves out the piece before the cursor whose tokens are not stable yet, and the generation has to begin with the bytes of that piece.
import type { Tokenizer } from '../../tokenizer/tokenizer';
import { fromUtf8, toUtf8 } from '../../tokenizer/utf8';

/** Pieces of more tokens stay as they are: each token taken back costs a step of its own. */
const MAX_HEALED_TOKENS = 4;

/**
 * Splits text into a head, whose tokens no further typing changes, and the piece at the cursor, which is to be generated again.
 * The piece is empty where there is nothing to gain.
 */
export function splitForHealing(text: string, tokenizer: Tokenizer): { head: string; piece: string } {
	const bytes = toUtf8(text);
	const piece = fromUtf8(bytes, tokenizer.stableEnd(bytes));
	// A lone surrogate became U+FFFD: cutting by its length would cut elsewhere.
	if (!text.endsWith(piece) || tokenizer.count(piece) > MAX_HEALED_TOKENS) return { head: text, piece: '' };
	return { head: text.slice(0, text.length - piece.length), piece };
}
