// Cuts the suggestion before text that does not belong in a file: names of special tokens, control characters, broken
// UTF-8.
import type { Filter } from './filter';

/** Names such as `<|end|>`, control characters other than tabs and line ends, and U+FFFD. */
const TOKEN = /<\|[a-z_]{2,20}\|>/;
const NOT_TEXT = /[^\P{Cc}\t\n\r]|\uFFFD/u;

export const specialText: Filter = {
	name: 'special text',
	reason: 'the model wrote special tokens or broken text',
	apply(text, { window }) {
		// If the file itself names special tokens, the suggestion may do so, too.
		const named = TOKEN.test(window.prefix) || TOKEN.test(`${window.lineSuffix}${window.suffix}`);
		const ends = [text.search(NOT_TEXT), named ? -1 : text.search(TOKEN)].filter((index) => index !== -1);
		return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
	},
};
