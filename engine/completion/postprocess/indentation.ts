// Indents as the file does: a model that writes tabs into a file of spaces, or the other way, makes Tab fight the editor.

import type { Window } from '../../families/family';
import { Nesting } from '../nesting';
import type { Filter, FilterContext } from './filter';

/** Of a file that has both, one counts where it indents so many times as many lines. */
const CLEAR_MAJORITY = 4;
/** Tabs mean something there. */
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
			// The first line goes on with the cursor's, unless nothing stands there yet.
			const isStart = index > 0 || window.linePrefix.trim() === '';
			const keeps = !isStart || nesting.inString;
			nesting = nesting.after(`${line}\n`);
			if (keeps) return line;
			return line.replace(/^[ \t]+/, (white) => (style === 'tabs' ? toTabs(white, width) : toSpaces(white, style)));
		});
		return indented.join('\n');
	},
};

/** With tabs, or with so many spaces a level; undefined where nothing tells, or tabs and spaces are mixed. */
function styleFor({ window, languageId, formatting }: FilterContext): 'tabs' | number | undefined {
	if (formatting) return formatting.insertSpaces ? formatting.tabSize : 'tabs';
	if (TAB_LANGUAGES.has(languageId)) return undefined;
	const indents = indentsOf(window, languageId);
	const tabs = indents.filter((white) => white.startsWith('\t')).length;
	// One space is no level: it aligns the stars of a comment.
	const spaces = indents.filter((white) => /^ {2,}$/.test(white)).length;
	if (tabs > 0 && tabs >= CLEAR_MAJORITY * spaces) return 'tabs';
	return spaces > 0 && spaces >= CLEAR_MAJORITY * tabs ? levelOf(indents) : undefined;
}

/** The white space that the file's lines begin with, but for lines that are a string's. */
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

/** The columns by which most lines are indented more than the line before. */
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

/** What is left over of the last level aligns something. */
function toTabs(white: string, width: number): string {
	const spaces = /^\t*( +)/.exec(white)?.[1]?.length ?? 0;
	const tabs = white.length - white.replace(/^\t+/, '').length;
	return '\t'.repeat(tabs + Math.floor(spaces / width)) + white.slice(tabs + spaces - (spaces % width));
}

/** How many spaces a model that indents with spaces takes for a level. */
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
