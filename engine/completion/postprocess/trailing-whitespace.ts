// Trims white space and line ends at the end of a suggestion, since nobody wants to accept those.
import type { Filter } from './filter';

export const trailingWhitespace: Filter = {
	name: 'trailing whitespace',
	reason: 'the model had nothing to add here',
	apply(text, { window }) {
		// Within a line, white space separates the suggestion from the text after it.
		const isWithinLine = window.lineSuffix.trim() !== '' && !text.includes('\n');
		return isWithinLine ? text : text.trimEnd();
	},
};
