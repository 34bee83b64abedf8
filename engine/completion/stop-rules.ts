// Where a suggestion ends: whether it may span lines, and, while it streams, when it has said enough.

import type { Window } from '../families/family';
import type { EngineSettings } from '../settings';
import { Nesting } from './nesting';
import { isTelling } from './telling';

/** What may stand right of the cursor where a block is about to be opened: closers an editor puts there by itself. */
const ONLY_CLOSERS = /^[\s)\]}>"'`;,:]*$/;

/** A line that ends like this opens a block or leaves an expression open, in about every language. */
const OPENS_BLOCK = /(?:[{([]|=>|->|\b(?:then|do|else|begin|try|finally))\s*$/;

/** Languages whose blocks open with a colon. */
const COLON_LANGUAGES = new Set(['python', 'yaml', 'nim', 'gdscript', 'starlark', 'coffeescript']);

const HASH_COMMENT_LANGUAGES = new Set([
	'coffeescript',
	'dockerfile',
	'elixir',
	'julia',
	'makefile',
	'perl',
	'powershell',
	'python',
	'r',
	'ruby',
	'shellscript',
	'toml',
	'yaml',
]);

/** A line that ends a block, and one that goes on with another, e.g. `} else {`. */
const CLOSES_BLOCK = /^\s*(?:[}\])]|end\b|fi\b|done\b|esac\b|<\/|else\b|elif\b|except\b|finally\b|catch\b|rescue\b)/;
/** Small models end a statement again and again. Lisp's comments, which look alike, stand behind no code. */
const STUCK = /[\w)\]}'"`];{4}/;

/** A line that begins a block without saying so at its end. */
const BEGINS_BLOCK =
	/^\s*(?:@|(?:async|begin|case|class|def|describe|do|export|for|func|function|if|module|public|private|protected|sub|switch|unless|until|while|with)\b)/;
/** Lines after the cursor's that are compared with what the model writes. */
const MAX_NEXT_LINES = 5;
/** More blank lines in a row than any file has within a block. */
const MAX_BLANK = 3;

/** Characters of a long rest of the cursor's line that tell that the model repeats it. */
const LONG_REST = 64;

/** As much of a line as `CLOSES_BLOCK` needs. */
const DECIDED = /^\s*(?:\w+\W|[^\w\s<]|<.)/;
const CONTINUES_BLOCK = /(?:[{(:[]|\b(?:then|do|else|begin))\s*$/;

/** Decides between a suggestion for the line and one that may span lines. */
export function allowsMultiline(
	setting: EngineSettings['completion']['multiline'],
	languageId: string,
	window: Pick<Window, 'linePrefix' | 'lineSuffix'>,
): boolean {
	// Text right of the cursor that is no mere closer is to be reached, not pushed down.
	if (setting === 'never' || !ONLY_CLOSERS.test(window.lineSuffix)) return false;
	if (setting === 'always') return true;
	const line = window.linePrefix.trim();
	if (line === '') return true;
	if (isComment(line, languageId)) return false;
	return OPENS_BLOCK.test(line) || (COLON_LANGUAGES.has(languageId) && line.endsWith(':'));
}

function isComment(line: string, languageId: string): boolean {
	return /^(?:\/\/|\/\*|\*|--\s|<!--)/.test(line) || (line.startsWith('#') && HASH_COMMENT_LANGUAGES.has(languageId));
}

/** Where a suggestion ends, in characters, and the rule that says so. */
export interface Ending {
	at: number;
	rule: string;
}

/**
 * Follows a suggestion as it streams and says where it ends.
 *
 * On one line: at the line's end. Over lines, by indentation: a block opened at the cursor's line ends with the line that
 * closes it; otherwise the suggestion ends at a blank line behind which nothing goes on, or before a line that is indented less than
 * where it began. Nothing of that ends it within brackets, strings or comments that it has opened. Either way it ends where the model
 * starts to repeat the text after the cursor.
 */
export class StopRule {
	readonly #multiline: boolean;
	readonly #indentation: number;
	readonly #linePrefix: string;
	readonly #opensBlock: boolean;
	/** Brackets that stand right of the cursor close those of its line. */
	readonly #closedByLine: boolean;
	/** What follows the cursor's line, up to the first line that says something; empty where that is too far away. */
	readonly #nextLines: readonly string[];
	/** What follows the cursor's line, without indentation, up to the second line that says something; empty where that is too far away. */
	readonly #nextTexts: readonly string[];
	readonly #restOfLine: string | undefined;
	/** At the cursor. */
	readonly #start: Nesting;
	/** How many brackets were open before the cursor's line. */
	readonly #depthAbove: number;

	constructor(window: Window, multiline: boolean, languageId = '') {
		const { linePrefix, lineSuffix, suffix } = window;
		this.#multiline = multiline;
		this.#linePrefix = linePrefix;
		this.#indentation = indentationOf(linePrefix);
		this.#opensBlock = linePrefix.trim() !== '';
		this.#closedByLine = /[)\]}]/.test(lineSuffix);
		this.#nextLines = nextLinesOf(suffix, 1);
		this.#nextTexts = nextLinesOf(suffix, 2).map((line) => line.trim());
		this.#restOfLine = lineSuffix.length < LONG_REST ? undefined : lineSuffix.slice(0, LONG_REST);
		// One line ends with the line, whatever is open.
		const line = multiline ? Nesting.atLine(window, languageId) : Nesting.start(languageId, false);
		this.#start = line.after(linePrefix);
		this.#depthAbove = line.open.length;
	}

	/**
	 * @param text all that was generated after the cursor so far. Lines end with \n.
	 * @returns where the suggestion ends, in characters; undefined while it may go on.
	 */
	end(text: string): number | undefined {
		return this.ending(text)?.at;
	}

	/** As `end` says it, and which rule it is. */
	ending(text: string): Ending | undefined {
		let first: Ending | undefined;
		for (const ending of [this.#repeatsRest(text), this.#stuck(text), this.#endOfLines(text)])
			if (ending !== undefined && (first === undefined || ending.at < first.at)) first = ending;
		return first;
	}

	#stuck(text: string): Ending | undefined {
		const stuck = STUCK.exec(text);
		return stuck ? { at: stuck.index + 2, rule: 'the same sign again and again' } : undefined;
	}

	#repeatsRest(text: string): Ending | undefined {
		const at = this.#restOfLine === undefined ? -1 : text.indexOf(this.#restOfLine);
		return at === -1 ? undefined : { at, rule: 'repeats the rest of the line' };
	}

	#endOfLines(text: string): Ending | undefined {
		const firstEnd = text.indexOf('\n');
		if (firstEnd === -1) return undefined;
		const firstLine = `${this.#linePrefix}${text.slice(0, firstEnd)}`.trimEnd();
		if (!this.#multiline) return { at: firstEnd, rule: 'one line' };
		if (this.#nextLines.length === 1 && firstLine === this.#nextLines[0])
			return { at: firstEnd, rule: 'repeats the next lines' };
		// The first line belongs to the cursor's; a line is judged once it is finished, or sooner where its beginning decides.
		let nesting = this.#start.after(text.slice(0, firstEnd + 1));
		let base = this.#baseAfter(text.slice(0, firstEnd), undefined);
		let previous = text.slice(0, firstEnd);
		/** Where the blank lines begin that end the text unless something goes on after them. */
		let blank: number | undefined;
		let blanks = 0;
		/** Lines with text after the first. */
		const written: Written[] = [];
		for (let start = firstEnd + 1; ; ) {
			const end = text.indexOf('\n', start);
			const line = text.slice(start, end === -1 ? undefined : end);
			const within = this.#isWithin(nesting);
			if (end === -1 && !DECIDED.test(line)) return undefined;
			if (line.trim() !== '' || end === -1) {
				if (!within && this.#endsBefore(line, base, previous, nesting))
					return { at: blank ?? start - 1, rule: 'before an outer line' };
				if (blank !== undefined && !within && !goesOn(line, base, previous)) return { at: blank, rule: 'blank line' };
				blank = undefined;
				blanks = 0;
			}
			if (end === -1) return undefined;
			if (line.trim() !== '') written.push({ start, line: line.trimEnd(), within });
			const repeated = this.#repeatsNextLines(written);
			if (repeated !== undefined) return { at: repeated - 1, rule: 'repeats the next lines' };
			nesting = nesting.after(text.slice(start, end + 1));
			if (line.trim() !== '') {
				if (!within && this.#endsAfter(line, nesting)) return { at: end, rule: 'block closed' };
				base = this.#baseAfter(line, base);
				previous = line;
			} else if (!this.#opensBlock && base !== undefined && !within) {
				blank ??= start - 1;
				if (isFinished(previous, base) || ++blanks === MAX_BLANK) return { at: blank, rule: 'blank line' };
			}
			start = end + 1;
		}
	}

	/**
	 * Where the last of the lines written begin that say what follows the cursor's line. Two lines that say something are repeated
	 * even if they are indented otherwise, unless they are within what the text has opened: there they may be meant.
	 */
	#repeatsNextLines(written: readonly Written[]): number | undefined {
		const same = lastLines(written, this.#nextLines, ({ line }) => line);
		if (same) return same.start;
		const alike = lastLines(written, this.#nextTexts, ({ line }) => line.trim());
		return alike?.within === false ? alike.start : undefined;
	}

	/** The indentation a suggestion that begins on a blank line has: of its first line with text, and the cursor's at least. */
	#baseAfter(line: string, base: number | undefined): number | undefined {
		if (base !== undefined || this.#opensBlock) return base ?? this.#indentation;
		if (line.trim() === '') return undefined;
		return Math.max(this.#indentation, indentationOf(line));
	}

	/** Whether something is open that the text itself has opened. */
	#isWithin(nesting: Nesting): boolean {
		return nesting.inText || nesting.open.length > this.#start.open.length;
	}

	/** Whether what a line begins with is reason enough to end before it: a small model's lines may have no end. */
	#endsBefore(line: string, base: number | undefined, previous: string, nesting: Nesting): boolean {
		const indentation = indentationOf(line);
		if (indentation < (base ?? this.#indentation)) return true;
		if (indentation > this.#indentation || !this.#opensBlock) return false;
		// An argument after the end of another, in brackets of the cursor's line; an element's content, which need not be indented; or a
		// block's brace on a line of its own.
		const isOpen = this.#isOpen(nesting);
		const goesOn = isOpen && (CLOSES_BLOCK.test(previous) || nesting.open.at(-1)!.startsWith('</'));
		return !CLOSES_BLOCK.test(line) && !goesOn && !/^\s*\{/.test(line);
	}

	#endsAfter(line: string, nesting: Nesting): boolean {
		if (!this.#opensBlock || indentationOf(line) !== this.#indentation || !CLOSES_BLOCK.test(line)) return false;
		if (CONTINUES_BLOCK.test(line)) return false;
		// A tag closes tags, whatever braces are open.
		return !this.#isOpen(nesting) || (line.trimStart().startsWith('</') && !/^(?:\)|<\/)/.test(nesting.open.at(-1)!));
	}

	/** Whether brackets of the cursor's line are open and nothing right of it closes them. */
	#isOpen(nesting: Nesting): boolean {
		return !this.#closedByLine && nesting.open.length > this.#depthAbove;
	}
}

/** A line after the first, where it begins, and whether something is open there that the text has opened. */
interface Written {
	start: number;
	line: string;
	within: boolean;
}

/** The first of the last lines if these read like `wanted`. */
function lastLines(
	written: readonly Written[],
	wanted: readonly string[],
	read: (line: Written) => string,
): Written | undefined {
	if (wanted.length === 0 || written.length < wanted.length) return undefined;
	const last = written.slice(-wanted.length);
	return last.every((line, i) => read(line) === wanted[i]) ? last[0] : undefined;
}

/** The lines with text up to the one that is the `telling`th to say something. */
function nextLinesOf(suffix: string, telling: number): string[] {
	let left = telling;
	const lines: string[] = [];
	for (const line of suffix.split('\n')) {
		if (line.trim() === '') continue;
		lines.push(line.trimEnd());
		// A line that closes something is no sign of repetition by itself.
		if (isTelling(line) && --left === 0) return lines;
		if (lines.length === telling * MAX_NEXT_LINES) break;
	}
	return [];
}

/** Whether a line is a whole statement, with which nothing has been begun. */
function isFinished(line: string, base: number): boolean {
	return (
		indentationOf(line) === base && /[)\]};,.]\s*$/.test(line) && !BEGINS_BLOCK.test(line) && !CLOSES_BLOCK.test(line)
	);
}

/** Whether a line after blank ones belongs to what was begun before them: it is indented more, or closes what was. */
function goesOn(line: string, base: number | undefined, previous: string): boolean {
	const indentation = indentationOf(line);
	if (base === undefined || indentation > base) return true;
	return indentation === base && CLOSES_BLOCK.test(line) && indentationOf(previous) > base;
}

/** Columns before a line's first character, a tab counting as four. */
function indentationOf(line: string): number {
	let columns = 0;
	for (const character of line) {
		if (character === ' ') columns++;
		else if (character === '\t') columns += 4;
		else break;
	}
	return columns;
}
