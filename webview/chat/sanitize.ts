// The last gate before model output becomes part of the page: only the elements and attributes that markdown needs.
import DOMPurify from 'dompurify';

const TAGS = [
	...['a', 'blockquote', 'br', 'code', 'del', 'em', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'li', 'ol', 'p', 'pre'],
	...['s', 'span', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul'],
];

/** A fragment with the allowed part of `html`. */
export function sanitize(html: string): DocumentFragment {
	return DOMPurify.sanitize(html, {
		ALLOWED_TAGS: TAGS,
		ALLOWED_ATTR: ['href', 'class', 'start', 'title'],
		ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
		RETURN_DOM_FRAGMENT: true,
	});
}
