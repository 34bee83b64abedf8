// Cuts where text that belongs in no file begins: spelled-out special tokens, control characters, broken UTF-8.
import type { Filter } from './filter';

/** `<|end|>` and the like, control characters but tab and line ends, U+FFFD. */
const NOT_TEXT = /<\|[a-z_]{2,20}\|>|[^\P{Cc}\t\n\r]|\uFFFD/u;

export const specialText: Filter = {
	reason: 'the model wrote special tokens or broken text',
	apply(text) {
		const index = text.search(NOT_TEXT);
		return index === -1 ? text : text.slice(0, index);
	},
};
