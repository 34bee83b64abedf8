// What all post-processing filters share.
import type { Window } from '../../families/family';

/** How an editor indents, as the Language Server Protocol's formatting options say it. */
export interface Formatting {
	/** Columns of a level. */
	tabSize: number;
	insertSpaces: boolean;
}

export interface FilterContext {
	languageId: string;
	window: Window;
	multiline: boolean;
	/** How the editor indents this file; absent: as the file's lines are. */
	formatting?: Formatting;
}

/** One rule on a finished suggestion: keeps it, shortens it, or leaves nothing of it. */
export interface Filter {
	/** As a report names it. */
	readonly name: string;
	/** Why nothing is shown where the filter left nothing, as a user reads it. */
	readonly reason: string;
	apply(text: string, context: FilterContext): string;
}

/** Languages of running text, where what looks like chat or Markdown is content. */
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
