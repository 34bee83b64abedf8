// Refuses answers that talk to the user instead of completing.
import { type Filter, isProse } from './filter';

/** Beginnings of answers to the user, as gpt-oss and similar models write them. */
const OPENINGS = [
	/^(?:sure|certainly|of course|absolutely)\b[,.!]/i,
	/^here(?:'s| is| are)\b.*(?:code|completion|completed|function|file|implementation|version|example|how)/i,
	/^(?:i(?:'m| am| will|'ll| can(?:not|'t)?)|we (?:need|should|can|must))\b.*\b(?:complete|code|continue|write|help|provide|answer|sorry)/i,
	/^i'?m sorry\b/i,
	/^(?:the (?:following|above|completed|user)|this (?:code|function|completes|is the))\b.*[.:]?$/i,
	/^as an ai\b/i,
];

export const chatProse: Filter = {
	name: 'chat prose',
	reason: 'the model answered in prose instead of code',
	apply(text, { languageId, window }) {
		// An answer to the user starts on a line of its own. Behind other text, within a comment or string, prose may be
		// wanted.
		if (isProse(languageId) || window.linePrefix.trim() !== '') return text;
		const line = text.trimStart().split('\n')[0] ?? '';
		return OPENINGS.some((opening) => opening.test(line)) ? '' : text;
	},
};
