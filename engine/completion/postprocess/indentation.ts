// Indents a suggestion as the file does. A model may write tabs into a file that uses spaces, or the other way round.

import type { Window } from '../../families/family';
import { Nesting } from '../nesting';
import type { Filter, FilterContext } from './filter';

/** In a file with both tabs and spaces, one of them counts if it indents so many times as many lines as the other. */
const CLEAR_MAJORITY = 4;
/** Languages in which tabs have a meaning. */
const TAB_LANGUAGES = new Set(['makefile', 'tsv']);

export const indentation: Filter = {
	name: 'indentation',
	reason: 'the suggestion was indentation only',
	apply(text, context) {
		if (!/(?:^|\n)[ \t]/.test(text)) return text;
		const style = styleFor(context);
		if (style === undefined) return text;
		const { window, languageId } = context;
		const lines = text.split('\n');
		const width = spacesPerLevel(lines);
		let nesting = Nesting.atLine(window, languageId).after(window.linePrefix);
		const indented = lines.map((line, index) => {
			// The first line continues the cursor's line, so it has no indentation of its own unless that line is blank.
			const isStart = index > 0 || window.linePrefix.trim() === '';
			const keeps = !isStart || nesting.inString;
			nesting = nesting.after(`${line}\n`);
			if (keeps) return line;
			return line.replace(/^[ \t]+/, (white) => (style === 'tabs' ? toTabs(white, width) : toSpaces(white, style)));
		});
		return indented.join('\n');
	},
};

/**
 * The unit of the file's indentation: a tab, or so many spaces. It is undefined if nothing tells, or if tabs and spaces
 * are mixed.
 */
function styleFor({ window, languageId, formatting }: FilterContext): 'tabs' | number | undefined {
	if (formatting) return formatting.insertSpaces ? formatting.tabSize : 'tabs';
	if (TAB_LANGUAGES.has(languageId)) return undefined;
	const indents = indentsOf(window, languageId);
	const tabs = indents.filter((white) => white.startsWith('\t')).length;
	// One space is not a level. It aligns the stars of a comment.
	const spaces = indents.filter((white) => /^ {2,}$/.test(white)).length;
	if (tabs > 0 && tabs >= CLEAR_MAJORITY * spaces) return 'tabs';
	return spaces > 0 && spaces >= CLEAR_MAJORITY * tabs ? levelOf(indents) : undefined;
}

/** The white space at the beginning of the file's lines, without lines within a string. */
function indentsOf({ prefix, suffix }: Window, languageId: string): string[] {
	const indents: string[] = [];
	for (const part of [prefix, suffix]) {
		let nesting = Nesting.start(languageId, false);
		for (const line of part.split('\n')) {
			if (!nesting.inString && line.trim() !== '') indents.push(/^[ \t]*/.exec(line)![0]);
			nesting = nesting.after(`${line}\n`);
		}
	}
	return indents;
}

/** The commonest number of columns by which a line is indented more than the line before. */
function levelOf(indents: readonly string[]): number {
	const columns = indents.filter((white) => !white.includes('\t') && white.length !== 1).map((white) => white.length);
	const counts = new Map<number, number>();
	columns.forEach((width, i) => {
		const step = width - (columns[i - 1] ?? 0);
		if (step > 1 && step <= 8) counts.set(step, (counts.get(step) ?? 0) + 1);
	});
	const [most] = [...counts].sort(([a, timesA], [b, timesB]) => timesB - timesA || a - b);
	return most?.[0] ?? Math.min(...columns.filter((width) => width > 0));
}

function toSpaces(white: string, width: number): string {
	return white.replaceAll('\t', ' '.repeat(width));
}

/** Columns beyond the last whole level stay spaces, since they align something. */
function toTabs(white: string, width: number): string {
	const spaces = /^\t*( +)/.exec(white)?.[1]?.length ?? 0;
	const tabs = white.length - white.replace(/^\t+/, '').length;
	return '\t'.repeat(tabs + Math.floor(spaces / width)) + white.slice(tabs + spaces - (spaces % width));
}

/** How many spaces the model uses for a level if it indents with spaces. */
function spacesPerLevel(lines: readonly string[]): number {
	const columns = lines.map((line) => /^ */.exec(line)![0].length).filter((width) => width > 1);
	const common = columns.reduce(greatestCommonDivisor, 0);
	if (common % 4 === 0) return 4;
	if (common % 2 === 0) return 2;
	if (common > 1) return common;
	const least = Math.min(...columns);
	return least <= 8 ? least : 4;
}

function greatestCommonDivisor(a: number, b: number): number {
	return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
