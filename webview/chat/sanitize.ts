// The last gate before model output becomes part of the page. It lets through only the elements and attributes that
// Markdown needs.
import DOMPurify from 'dompurify';

const TAGS = [
	...['a', 'blockquote', 'br', 'code', 'del', 'em', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'li', 'ol', 'p', 'pre'],
	...['s', 'span', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul'],
];

/**
 * Addresses of the web, of mail and of files: `src/a.ts`, `a.ts:12`, `file:///a`, `C:\\a`. The extension host decides
 * which of them it opens. This gate stops what a browser would run and what would lead to another machine unseen.
 */
const ALLOWED_ADDRESS = new RegExp(
	[
		/^(?:https?:\/\/|mailto:|file:)/,
		/^[a-z]:(?:[\\/]|%5c|%2f)/,
		/^(?!\w*script:|data:)[\w.+-]+:L?\d+(?:[:,-]L?\d+)*$/,
		/^(?![/\\]{2})[^:]*(?:[/\\?#(]|%5c).*$/,
		/^[^:/\\]*$/,
	]
		.map(({ source }) => `(?:${source})`)
		.join('|'),
	'i',
);

/** Returns a fragment with the allowed part of `html`. */
export function sanitize(html: string): DocumentFragment {
	return DOMPurify.sanitize(html, {
		ALLOWED_TAGS: TAGS,
		ALLOWED_ATTR: ['href', 'class', 'start', 'title'],
		ALLOWED_URI_REGEXP: ALLOWED_ADDRESS,
		RETURN_DOM_FRAGMENT: true,
	});
}
