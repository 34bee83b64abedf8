// Where a suggestion ends. `allowsMultiline` decides beforehand whether it may span lines. `StopRule` stops it while it
// streams.

import type { Window } from '../families/family';
import type { EngineSettings } from '../settings';
import { Nesting } from './nesting';
import { isTelling } from './telling';

/** The rest of a line that has only closers, which editors insert by themselves. A block may be opened before it. */
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

/** A line that ends a block. It may begin another one as well, as `} else {` does. */
const CLOSES_BLOCK = /^\s*(?:[}\])]|end\b|fi\b|done\b|esac\b|<\/|else\b|elif\b|except\b|finally\b|catch\b|rescue\b)/;
/**
 * Small models may end one statement again and again. Comments in Lisp look like this, too, but do not follow code
 * directly.
 */
const STUCK = /[\w)\]}'"`];{4}/;

/** A line that begins a block although its end does not show it. */
const BEGINS_BLOCK =
	/^\s*(?:@|(?:async|begin|case|class|def|describe|do|export|for|func|function|if|module|public|private|protected|sub|switch|unless|until|while|with)\b)/;
/** At most so many lines after the cursor's line are compared with what the model writes. */
const MAX_NEXT_LINES = 5;
/** Code within a block does not have so many blank lines in a row. */
const MAX_BLANK = 3;

/**
 * Where the rest of the cursor's line is this long or longer, its first so many characters tell that the model repeats
 * it.
 */
const LONG_REST = 64;

/** An unfinished line that matches is long enough for `CLOSES_BLOCK` to decide. */
const DECIDED = /^\s*(?:\w+\W|[^\w\s<]|<.)/;
const CONTINUES_BLOCK = /(?:[{(:[]|\b(?:then|do|else|begin))\s*$/;

/** Decides whether a suggestion may span lines or only completes the cursor's line. */
export function allowsMultiline(
	setting: EngineSettings['completion']['multiline'],
	languageId: string,
	window: Pick<Window, 'linePrefix' | 'lineSuffix'>,
): boolean {
	// Where code stands right of the cursor, a suggestion should lead up to it and not push it down by lines.
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
 * A suggestion for one line ends at the line's end. The end of one that may span lines follows from the indentation:
 * - If it begins behind text, it ends with the line that closes the block that the cursor's line opened.
 * - If it begins on a blank line, it ends at a blank line after which nothing goes on.
 * - It ends before a line that is indented less than its beginning.
 *
 * None of these rules ends it within brackets, strings or comments that it has opened itself. Every suggestion ends
 * where the model starts to repeat the text after the cursor.
 */
export class StopRule {
	readonly #multiline: boolean;
	readonly #indentation: number;
	readonly #linePrefix: string;
	readonly #opensBlock: boolean;
	/** Whether closing brackets stand right of the cursor. They close the brackets that the cursor's line opens. */
	readonly #closedByLine: boolean;
	/** The lines with text after the cursor's line, up to the first telling one. Empty where that one is too far away. */
	readonly #nextLines: readonly string[];
	/** The same lines without indentation, up to the second telling one. Empty where that one is too far away. */
	readonly #nextTexts: readonly string[];
	readonly #restOfLine: string | undefined;
	/** What is open at the cursor. */
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
		// A suggestion for one line ends with that line whatever is open, so the text above need not be read.
		const line = multiline ? Nesting.atLine(window, languageId) : Nesting.start(languageId, false);
		this.#start = line.after(linePrefix);
		this.#depthAbove = line.open.length;
	}

	/**
	 * @param text all text that was generated so far. Its lines end with \n.
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
		// The first line continues the cursor's line and is not judged. A later line is judged once it is finished, or sooner
		// if its beginning decides.
		let nesting = this.#start.after(text.slice(0, firstEnd + 1));
		let base = this.#baseAfter(text.slice(0, firstEnd), undefined);
		let previous = text.slice(0, firstEnd);
		/** The start of the blank lines before this line. The text ends there unless something goes on after them. */
		let blank: number | undefined;
		let blanks = 0;
		/** The lines with text after the first line. */
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
	 * Where the repetition begins if the last written lines equal those after the cursor's line. Two telling lines also count
	 * as repeated with another indentation. Within something that the text has opened they do not, because they may be meant there.
	 */
	#repeatsNextLines(written: readonly Written[]): number | undefined {
		const same = lastLines(written, this.#nextLines, ({ line }) => line);
		if (same) return same.start;
		const alike = lastLines(written, this.#nextTexts, ({ line }) => line.trim());
		return alike?.within === false ? alike.start : undefined;
	}

	/**
	 * The indentation that later lines are compared with. If the suggestion begins on a blank line, this is the
	 * indentation of its first line with text, but at least the cursor's. It is undefined until that line has come.
	 */
	#baseAfter(line: string, base: number | undefined): number | undefined {
		if (base !== undefined || this.#opensBlock) return base ?? this.#indentation;
		if (line.trim() === '') return undefined;
		return Math.max(this.#indentation, indentationOf(line));
	}

	/** Whether something is open that the suggestion itself has opened. */
	#isWithin(nesting: Nesting): boolean {
		return nesting.inText || nesting.open.length > this.#start.open.length;
	}

	/**
	 * Whether to end before a line, judged by its beginning. Small models may write lines without end, so this does not
	 * wait for one.
	 */
	#endsBefore(line: string, base: number | undefined, previous: string, nesting: Nesting): boolean {
		const indentation = indentationOf(line);
		if (indentation < (base ?? this.#indentation)) return true;
		if (indentation > this.#indentation || !this.#opensBlock) return false;
		// Three kinds of lines go on at the cursor's indentation: an argument after the end of another one, within brackets
		// of the cursor's line; the content of an element, which need not be indented; and a block's opening brace on a line
		// of its own.
		const isOpen = this.#isOpen(nesting);
		const goesOn = isOpen && (CLOSES_BLOCK.test(previous) || nesting.open.at(-1)!.startsWith('</'));
		return !CLOSES_BLOCK.test(line) && !goesOn && !/^\s*\{/.test(line);
	}

	#endsAfter(line: string, nesting: Nesting): boolean {
		if (!this.#opensBlock || indentationOf(line) !== this.#indentation || !CLOSES_BLOCK.test(line)) return false;
		if (CONTINUES_BLOCK.test(line)) return false;
		// A closing tag closes its element whatever braces are open.
		return !this.#isOpen(nesting) || (line.trimStart().startsWith('</') && !/^(?:\)|<\/)/.test(nesting.open.at(-1)!));
	}

	/** Whether brackets that the cursor's line opened are open and nothing right of the cursor closes them. */
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
		// A line such as `}` occurs too often to show by itself that the model repeats the file.
		if (isTelling(line) && --left === 0) return lines;
		if (lines.length === telling * MAX_NEXT_LINES) break;
	}
	return [];
}

/** Whether a line is a whole statement that does not begin a block. */
function isFinished(line: string, base: number): boolean {
	return (
		indentationOf(line) === base && /[)\]};,.]\s*$/.test(line) && !BEGINS_BLOCK.test(line) && !CLOSES_BLOCK.test(line)
	);
}

/**
 * Whether a line after blank lines continues the code before them: it is indented more, or it closes an indented block.
 */
function goesOn(line: string, base: number | undefined, previous: string): boolean {
	const indentation = indentationOf(line);
	if (base === undefined || indentation > base) return true;
	return indentation === base && CLOSES_BLOCK.test(line) && indentationOf(previous) > base;
}

/** Columns of white space at the start of a line. A tab counts as four. */
function indentationOf(line: string): number {
	let columns = 0;
	for (const character of line) {
		if (character === ' ') columns++;
		else if (character === '\t') columns += 4;
		else break;
	}
	return columns;
}
