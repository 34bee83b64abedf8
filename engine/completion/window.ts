// The excerpt of a file that the model sees. The edges of the excerpt stay where they are while the user types, so each
// prompt extends the last one and its cache is reused. No function here reads more of a file than the limits allow,
// since one line may be the whole file.
import type { Window } from '../families/family';
import { estimateTokens } from '../tokenizer/estimate';
import {
	characterAt,
	isHighSurrogate,
	isLowSurrogate,
	lineEndAfter,
	lineStartBefore,
	nextLineStart,
	splitsCharacter,
	withPlainLineEnds,
} from './lines';

export interface CursorContext {
	/** The whole text before and after the cursor, with line ends of any kind. */
	before: string;
	after: string;
}

export interface WindowLimits {
	prefixTokens: number;
	/** Tokens of the rest of the cursor's line and the lines after it together. */
	suffixTokens: number;
}

/** So many characters of the cursor's line before the cursor are read at most, for example for the indentation. */
const MAX_LINE_PREFIX = 8192;
/** So many characters are read to estimate how many characters a token has. */
const SAMPLE = 8192;
/**
 * The rest of the cursor's line takes whole steps of the suffix's budget, each 1/8 of it. So the excerpt of the lines
 * after it stays the same while the rest of the line changes a little.
 */
const LINE_STEPS = 8;

/**
 * Cuts the excerpt. The prefix begins at the first line after a multiple of half its budget, counted from the file's
 * start. The prefix thus holds between half and all of its budget. Its beginning moves only once while half a budget is
 * typed, and not at every keystroke. The rest of the cursor's line comes first after the cursor. The lines after it
 * follow, up to the last one that fits.
 */
export function cutWindow(cursor: CursorContext, limits: WindowLimits): Window {
	const { before, after } = betweenCharacters(cursor);
	const lineStart = lineStartBefore(before, before.length, MAX_LINE_PREFIX);
	const start = prefixStart(before, lineStart, limits.prefixTokens);
	return {
		prefix: withPlainLineEnds(before.slice(start)),
		prefixIsWhole: start === 0,
		linePrefix: before.slice(lineStart),
		...cutAfter(after, limits.suffixTokens),
	};
}

/**
 * The text on both sides of the cursor. If the cursor stands within \r\n, the \r is left out. If it tears a surrogate
 * pair apart, both halves are left out.
 */
function betweenCharacters({ before, after }: CursorContext): CursorContext {
	if (before.endsWith('\r') && after.startsWith('\n')) return { before: before.slice(0, -1), after };
	const torn = isHighSurrogate(before.charCodeAt(before.length - 1)) && isLowSurrogate(after.charCodeAt(0));
	return torn ? { before: before.slice(0, -1), after: after.slice(1) } : { before, after };
}

function prefixStart(before: string, lineStart: number, tokens: number): number {
	const budget = charactersOf(before.slice(-SAMPLE), tokens);
	if (before.length <= budget) return 0;
	const step = Math.max(1, Math.floor(budget / 2));
	const anchor = Math.ceil((before.length - budget) / step) * step;
	const start = nextLineStart(before, anchor - 1);
	if (start !== -1 && start <= lineStart) return start;
	// One line fills the whole window, so the prefix begins inside it, between code points.
	const inLine = Math.min(anchor, before.length);
	return splitsCharacter(before, inLine) ? inLine + 1 : inLine;
}

function cutAfter(after: string, tokens: number): Omit<Window, 'prefix' | 'prefixIsWhole' | 'linePrefix'> {
	const budget = charactersOf(after.slice(0, SAMPLE), tokens);
	const lineEnd = lineEndAfter(after, 0, budget);
	const next = nextLineStart(after, lineEnd, lineEnd + 1);
	if (next === -1 && lineEnd < after.length) {
		return {
			lineSuffix: after.slice(0, characterAt(after, lineEnd)),
			lineSuffixIsCut: true,
			suffix: '',
			suffixIsCut: true,
		};
	}
	const lineSuffix = after.slice(0, lineEnd);
	const step = Math.ceil(budget / LINE_STEPS);
	const taken = lineEnd <= step ? 0 : Math.ceil(lineEnd / step) * step;
	const following = next === -1 ? '' : after.slice(next);
	return { lineSuffix, ...cutSuffix(following, budget - taken) };
}

function cutSuffix(text: string, budget: number): Pick<Window, 'suffix' | 'suffixIsCut'> {
	if (text.length <= budget) return { suffix: withPlainLineEnds(text) };
	const end = budget < 0 ? 0 : lineStartBefore(text, budget + 1, budget + 1);
	return { suffix: withPlainLineEnds(text.slice(0, end)).replace(/\n$/, ''), suffixIsCut: true };
}

/**
 * How many characters of text like `sample` make `tokens` tokens. There are only two classes of text. A finer estimate
 * would waver from keystroke to keystroke, and the edges of the excerpt would waver with it.
 */
function charactersOf(sample: string, tokens: number): number {
	const dense = sample.length < 2.5 * estimateTokens(sample);
	return Math.floor(tokens * (dense ? 1.5 : 3.5));
}
