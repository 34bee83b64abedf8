// Trims white space at the end, and line ends before it: nobody wants to accept those.
import type { Filter } from './filter';

export const trailingWhitespace: Filter = {
	reason: 'the model had nothing to add here',
	apply(text) {
		return text.trimEnd();
	},
};
