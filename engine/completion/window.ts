// What of a file the model sees. The edges of the excerpt stay put while the user types, so that each prompt extends the
// last one and its cache.
import { estimateTokens } from '../tokenizer/tokenizer';

export interface CursorContext {
	/** The whole text before and after the cursor. Lines end with \n. */
	before: string;
	after: string;
}

export interface Window {
	/** Text before the cursor, from the start of a line. */
	prefix: string;
	/** Whether the prefix begins where the file does. */
	prefixIsWhole: boolean;
	/** The cursor's line up to the cursor. */
	linePrefix: string;
	/** The cursor's line from the cursor on. */
	lineSuffix: string;
	/** The lines after the cursor's. */
	suffix: string;
}

export interface WindowLimits {
	prefixTokens: number;
	suffixTokens: number;
}

/**
 * Cuts the excerpt. The prefix begins at the first line after a multiple of half its budget, counted from the file's
 * start: it holds between half and all of its budget, and its beginning moves once in half a budget's worth of typing
 * instead of at every keystroke. The suffix begins at the line after the cursor's and ends with the last line that fits.
 */
export function cutWindow({ before, after }: CursorContext, limits: WindowLimits): Window {
	const lineStart = before.lastIndexOf('\n') + 1;
	const lineEnd = indexOrEnd(after, '\n');
	const start = prefixStart(before, lineStart, limits.prefixTokens);
	return {
		prefix: before.slice(start),
		prefixIsWhole: start === 0,
		linePrefix: before.slice(lineStart),
		lineSuffix: after.slice(0, lineEnd),
		suffix: cutSuffix(after.slice(lineEnd + 1), limits.suffixTokens),
	};
}

function prefixStart(before: string, lineStart: number, tokens: number): number {
	const budget = charactersOf(before.slice(-8192), tokens);
	if (before.length <= budget) return 0;
	const step = Math.max(1, Math.floor(budget / 2));
	const anchor = Math.ceil((before.length - budget) / step) * step;
	const newline = before.indexOf('\n', anchor - 1);
	if (newline !== -1 && newline < lineStart) return newline + 1;
	// One line fills the whole window: begin inside it, between code points.
	const inLine = Math.min(anchor, before.length);
	return isLowSurrogate(before, inLine) ? inLine + 1 : inLine;
}

function cutSuffix(text: string, tokens: number): string {
	const budget = charactersOf(text.slice(0, 8192), tokens);
	if (text.length <= budget) return text;
	const end = text.lastIndexOf('\n', budget);
	return end === -1 ? '' : text.slice(0, end);
}

/**
 * How many characters of text like `sample` make `tokens` tokens. Two classes of text only: a finer estimate would waver
 * from keystroke to keystroke, and the edges with it.
 */
function charactersOf(sample: string, tokens: number): number {
	const dense = sample.length < 2.5 * estimateTokens(sample);
	return Math.floor(tokens * (dense ? 1.5 : 3.5));
}

function isLowSurrogate(text: string, index: number): boolean {
	const unit = text.charCodeAt(index);
	return unit >= 0xdc00 && unit <= 0xdfff;
}

function indexOrEnd(text: string, search: string): number {
	const index = text.indexOf(search);
	return index === -1 ? text.length : index;
}
