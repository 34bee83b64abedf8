// The interface of the post-processing filters, and what several of them need.
import type { Window } from '../../families/family';

/** How an editor indents: the Language Server Protocol's formatting options. */
export interface Formatting {
	/** Columns of one level of indentation. */
	tabSize: number;
	insertSpaces: boolean;
}

export interface FilterContext {
	languageId: string;
	window: Window;
	multiline: boolean;
	/** How the editor indents this file. Without it the file's own lines tell. */
	formatting?: Formatting;
}

/** A rule for finished suggestions. It keeps, changes or shortens a suggestion, or leaves nothing of it. */
export interface Filter {
	/** What a report calls this filter. */
	readonly name: string;
	/** Tells the user why nothing is shown if this filter left nothing. */
	readonly reason: string;
	apply(text: string, context: FilterContext): string;
}

/** Languages of running text. Text that looks like chat or Markdown is content there. */
const PROSE_LANGUAGES = new Set([
	'markdown',
	'plaintext',
	'latex',
	'restructuredtext',
	'asciidoc',
	'mdx',
	'html',
	'tex',
]);

export function isProse(languageId: string): boolean {
	return PROSE_LANGUAGES.has(languageId);
}
