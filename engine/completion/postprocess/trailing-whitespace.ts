// Trims white space at the end, and line ends before it: nobody wants to accept those.
import type { Filter } from './filter';

export const trailingWhitespace: Filter = {
	name: 'trailing whitespace',
	reason: 'the model had nothing to add here',
	apply(text, { window }) {
		// Within a line it separates the text from what follows.
		const isWithinLine = window.lineSuffix.trim() !== '' && !text.includes('\n');
		return isWithinLine ? text : text.trimEnd();
	},
};
