// Indents as the file does: a model that writes tabs into a file of spaces, or the other way, makes Tab fight the editor.
import type { Filter } from './filter';

export const indentation: Filter = {
	reason: 'the suggestion was indentation only',
	apply(text, { window }) {
		const style = styleOf(`${window.prefix}\n${window.suffix}`);
		if (!style) return text;
		// The first line goes on with the cursor's, whose indentation is the user's.
		return text.replace(
			/\n([ \t]+)/g,
			(_, white: string) => `\n${style === 'tabs' ? toTabs(white) : toSpaces(white, style)}`,
		);
	},
};

/** How a text is indented: with tabs, or with so many spaces a level; undefined where it does not tell, or mixes. */
function styleOf(text: string): 'tabs' | number | undefined {
	const indents = [...text.matchAll(/^([ \t]+)\S/gm)].map((match) => match[1]!);
	const tabs = indents.filter((white) => white.startsWith('\t')).length;
	// One space is no level: it aligns the stars of a comment.
	const spaces = indents.filter((white) => /^ {2,}$/.test(white)).map((white) => white.length);
	if (tabs > 0) return spaces.length === 0 ? 'tabs' : undefined;
	return spaces.length > 0 ? Math.min(...spaces) : undefined;
}

function toSpaces(white: string, width: number): string {
	return white.replaceAll('\t', ' '.repeat(width));
}

/** Levels of four spaces; where the number is no multiple of four, of two; what is left over aligns something. */
function toTabs(white: string): string {
	const spaces = white.match(/^ +/)?.[0].length ?? 0;
	const width = spaces % 4 === 0 ? 4 : 2;
	return '\t'.repeat(Math.floor(spaces / width)) + white.slice(spaces - (spaces % width));
}
