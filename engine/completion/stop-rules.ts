// Where a suggestion ends: whether it may span lines, and, while it streams, when it has said enough.
import type { EngineSettings } from '../protocol';
import type { Window } from './window';

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

/**
 * Follows a suggestion as it streams and says where it ends.
 *
 * On one line: at the line's end. Over lines, by indentation: a block opened at the cursor's line ends with the line that
 * closes it; otherwise the suggestion ends at a blank line, or before a line that is indented less than the cursor's. Either
 * way it ends where the model starts to repeat the text after the cursor.
 */
export class StopRule {
	readonly #multiline: boolean;
	readonly #indentation: number;
	readonly #opensBlock: boolean;
	readonly #nextLine: string | undefined;

	constructor(window: Window, multiline: boolean) {
		this.#multiline = multiline;
		this.#indentation = indentationOf(window.linePrefix);
		this.#opensBlock = window.linePrefix.trim() !== '';
		const next = window.suffix.split('\n').find((line) => line.trim() !== '');
		// A lone brace is no sign of repetition.
		this.#nextLine = next !== undefined && /[\p{L}\p{N}]/u.test(next) ? next.trimEnd() : undefined;
	}

	/**
	 * @param text all that was generated after the cursor so far.
	 * @returns where the suggestion ends, in characters; undefined while it may go on.
	 */
	end(text: string): number | undefined {
		const stuck = STUCK.exec(text);
		if (stuck) return stuck.index + 2;
		const firstEnd = text.indexOf('\n');
		if (firstEnd === -1) return undefined;
		if (!this.#multiline) return firstEnd;
		// The first line belongs to the cursor's; a line is judged once it is finished, or sooner where its beginning decides.
		for (let start = firstEnd + 1; ; ) {
			const end = text.indexOf('\n', start);
			if (end === -1) return this.#endsBefore(text.slice(start)) ? start - 1 : undefined;
			const verdict = this.#judge(text.slice(start, end), text.slice(0, start).trim() === '');
			if (verdict === 'before') return start - 1;
			if (verdict === 'after') return end;
			start = end + 1;
		}
	}

	/** Whether what a line begins with is reason enough to end before it: a small model's lines may have no end. */
	#endsBefore(begun: string): boolean {
		if (!DECIDED.test(begun)) return false;
		const indentation = indentationOf(begun);
		if (indentation < this.#indentation) return true;
		return indentation === this.#indentation && this.#opensBlock && !CLOSES_BLOCK.test(begun);
	}

	#judge(line: string, nothingYet: boolean): 'before' | 'after' | undefined {
		if (this.#nextLine !== undefined && line.trimEnd() === this.#nextLine) return 'before';
		if (line.trim() === '') return this.#opensBlock || nothingYet ? undefined : 'before';
		const indentation = indentationOf(line);
		if (indentation < this.#indentation) return 'before';
		if (indentation > this.#indentation || !this.#opensBlock) return undefined;
		if (!CLOSES_BLOCK.test(line)) return 'before';
		return CONTINUES_BLOCK.test(line) ? undefined : 'after';
	}
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
