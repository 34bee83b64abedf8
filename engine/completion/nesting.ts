// Which brackets, tags, strings and comments are open at a place in a file. This is a rough reading that serves about
// every language. The callers compare two texts for one place, so a mistake that is made in both of them does not
// matter.

import type { Window } from '../families/family';
import { type Syntax, syntaxOf } from './syntax';

/** HTML's elements that have no end tag. */
const VOID_ELEMENTS = /^(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr|!doctype|!.*|\?.*)$/i;
const TAG = {
	text: /<(\/?)([A-Za-z!?][\w:.-]*)((?:[^<>"']|"[^"]*"|'[^']*')*)>/y,
	code: /<(\/?)([A-Za-z][\w:.-]*)((?:[^<>"'{}]|"[^"]*"|'[^']*'|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*)>/y,
};
const CHARACTER_LITERAL = /'(?:\\(?:u\{[^}'\n]*\}|x..|.)|[^\\'\n])'/uy;
/** If this stands before a quote, the quote begins a string. After any other word it is an apostrophe. */
const STRING_PREFIX = /(?:^|\W)(?:[fFrRbBuUL]{1,2}|u8)$/;
/** If this stands before a slash, a value is expected there, so the slash begins a regular expression. */
const VALUE_EXPECTED = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|if|unless|when|and|or|not))\s*$/;
/** The length is limited because looking for a far end at every slash would take too long. */
const REGULAR_EXPRESSION = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n]){0,100}\]|[^/\\[\n]){1,300}\//y;

/** Cost of a string that is not closed. It is high because such a string hides whatever comes after it. */
const UNCLOSED_TEXT = 8;

export class Nesting {
	readonly #syntax: Syntax;
	readonly #known: boolean;
	readonly misfits: number;
	readonly #above: number;
	readonly #strays: number;
	/** The closers of all things that are open, the innermost last. `${` stands for code within a template string. */
	readonly open: readonly string[];

	/**
	 * @param known whether nothing is open where the text begins. Otherwise a closer without an opener may close something
	 * before the text.
	 * @param above how many things were open before the cursor's line.
	 * @param strays the number of quotes without their other half in the same line.
	 * @param misfits the number of closers that close nothing, and of things that were still open when something around
	 * them was closed.
	 */
	private constructor(
		syntax: Syntax,
		known: boolean,
		open: readonly string[],
		misfits: number,
		above: number,
		strays: number,
	) {
		this.#syntax = syntax;
		this.#known = known;
		this.misfits = misfits;
		this.#above = above;
		this.#strays = strays;
		this.open = open;
	}

	/** The start of a reading: at the beginning of a file (`known`) or somewhere within it. */
	static start(languageId: string, known: boolean): Nesting {
		return new Nesting(syntaxOf(languageId), known, [], 0, 0, 0);
	}

	/** What is open at the beginning of the cursor's line. */
	static atLine({ prefix, prefixIsWhole, linePrefix }: Window, languageId: string): Nesting {
		if (linePrefix.length > prefix.length) return Nesting.start(languageId, false);
		const above = Nesting.start(languageId, prefixIsWhole).after(prefix.slice(0, prefix.length - linePrefix.length));
		// If an excerpt begins within a string, its strings are read as code and its code as strings. The reading then starts
		// anew.
		const confused = above.misfits > 0 || (!prefixIsWhole && above.inText);
		return confused
			? Nesting.start(languageId, false)
			: new Nesting(above.#syntax, above.#known, above.open, 0, above.open.length, 0);
	}

	/** Whether the text ends within a string or comment that may span lines. */
	get inText(): boolean {
		return isText(this.open.at(-1));
	}

	/**
	 * Whether the text ends within a string that may span lines. Another indentation of its lines would change what it
	 * says.
	 */
	get inString(): boolean {
		return /^["'`]$/.test(this.open.at(-1) ?? '');
	}

	/**
	 * How badly a text that ends here fits together: the number of things that close nothing or are not closed.
	 * @param isEnd whether the file ends here. If it does, tags that were open before the cursor's line should be closed
	 * as well, since the indentation of a tag need not show which one it closes. Brackets from above may stay open: the
	 * file is still being written.
	 */
	cost(isEnd: boolean): number {
		const unclosed =
			isEnd && this.#syntax.tags === 'text' ? this.open.length : Math.max(0, this.open.length - this.#above);
		return this.misfits + this.#strays + unclosed + (this.inText ? UNCLOSED_TEXT : 0);
	}

	/**
	 * What is open after more text.
	 * @param onClose is called with each place in the text where a closer closes something from before the text, or
	 * nothing at all.
	 */
	after(text: string, onClose?: (at: number) => void): Nesting {
		const syntax = this.#syntax;
		const open = [...this.open];
		let floor = open.length;
		let { misfits } = this;
		let strays = this.#strays;
		const close = (closer: string, at: number) => {
			const index = open.lastIndexOf(closer);
			// The lines above are taken to be right. A closer that fits one of their openers only past another open one is
			// superfluous.
			const passed = open.length - 1 - index;
			if (index === -1 || (passed > 0 && index + 1 < Math.min(this.#above, floor))) {
				onClose?.(at);
				if (open.length > 0 || this.#known) misfits++;
				return;
			}
			misfits += passed;
			if (index < floor) onClose?.(at);
			open.length = index;
			floor = Math.min(floor, index);
		};
		const speaks = speakingCharacters(syntax);
		for (let at = 0; at < text.length; ) {
			const inner = open.at(-1);
			if (isText(inner)) {
				at = skipText(text, at, inner!, open, syntax.templates);
				floor = Math.min(floor, open.length);
				continue;
			}
			if (speaks[text.charCodeAt(at)] !== 1) {
				at++;
				continue;
			}
			const skipped = skipLiteral(text, at, syntax, open);
			if (skipped > at) {
				at = skipped;
				continue;
			}
			const character = text[at]!;
			const opener = syntax.brackets.find((pair) => pair[0] === character);
			if (opener) open.push(opener[1]!);
			else if (isQuote(character, syntax) && beginsString(text, at)) strays++;
			else if (character === '}' && inner === '${') open.pop();
			else if (syntax.brackets.some((pair) => pair[1] === character)) close(character, at);
			const tag = character === '<' && syntax.tags !== 'none' ? tagAt(text, at, syntax.tags) : undefined;
			if (tag?.kind === 'open') open.push(tag.closer);
			else if (tag?.kind === 'close' && (syntax.tags === 'text' || open.includes(tag.closer))) close(tag.closer, at);
			at = tag?.end ?? at + 1;
		}
		return new Nesting(syntax, this.#known, open, misfits, Math.min(this.#above, floor), strays);
	}
}

interface Tag {
	kind: 'open' | 'close' | 'alone';
	closer: string;
	/** The end of the tag. For the start tag of a script or style this is the end of its content. */
	end: number;
}

function tagAt(text: string, at: number, among: 'text' | 'code'): Tag | undefined {
	const pattern = TAG[among];
	pattern.lastIndex = at;
	const tag = pattern.exec(text);
	// Behind a name, `<` compares or begins type arguments.
	if (!tag || (among === 'code' && tag[1] === '' && /[\w)\].]/.test(text[at - 1] ?? ''))) return undefined;
	const tagEnd = pattern.lastIndex;
	const [, slash, name = '', attributes = ''] = tag;
	const closer = `</${name}>`;
	if (slash !== '') return { kind: 'close', closer, end: tagEnd };
	if (VOID_ELEMENTS.test(name) || attributes.endsWith('/')) return { kind: 'alone', closer, end: tagEnd };
	const content = /^(?:script|style)$/i.test(name) ? text.indexOf(`</${name}`, at) : tagEnd;
	return { kind: 'open', closer, end: content === -1 ? text.length : content };
}

/** Whether the closer is one of a string or a comment. */
function isText(closer: string | undefined): boolean {
	return closer !== undefined && closer !== '${' && !/^(?:[)\]}]|<\/.*)$/.test(closer);
}

const speaking = new WeakMap<Syntax, Uint8Array>();

/**
 * A table by character code. It is 1 where the character may begin or close something, and all others are passed over.
 */
function speakingCharacters(syntax: Syntax): Uint8Array {
	let table = speaking.get(syntax);
	if (!table) {
		table = new Uint8Array(128);
		const { lineComments, blockComments, brackets, quotes, longQuotes, tags } = syntax;
		const beginnings = [...lineComments, ...blockComments.map(([opener]) => opener), ...longQuotes, ...quotes];
		for (const text of beginnings) table[text.charCodeAt(0)] = 1;
		for (const character of `${brackets.join('')}${{ none: "'`/}", text: '<', code: "<'`/}" }[tags]}`)
			table[character.charCodeAt(0)] = 1;
		speaking.set(syntax, table);
	}
	return table;
}

/** Returns the place behind the end of the string or comment at `from`, or behind the beginning of code within it. */
function skipText(text: string, from: number, closer: string, open: string[], templates: boolean): number {
	const escapes = /^["'`]/.test(closer);
	for (let at = from; at < text.length; at++) {
		if (escapes && text[at] === '\\') at++;
		else if (text.startsWith(closer, at)) {
			open.pop();
			return at + closer.length;
		} else if (closer === '`' && templates && text.startsWith('${', at)) {
			open.push('${');
			return at + 2;
		}
	}
	return text.length;
}

/**
 * Returns the place behind the comment, string or regular expression that begins at `at`, and `at` where none does. If
 * it may span lines, its closer goes to `open`, and the place is the beginning of its content.
 */
function skipLiteral(text: string, at: number, syntax: Syntax, open: string[]): number {
	const character = text[at]!;
	for (const [opener, closer] of syntax.blockComments) {
		if (!text.startsWith(opener, at)) continue;
		open.push(closer);
		return at + opener.length;
	}
	if (syntax.lineComments.some((opener) => text.startsWith(opener, at)) && beginsComment(text, at))
		return lineEnd(text, at);
	const long = syntax.longQuotes.find((quote) => text.startsWith(quote, at));
	if (long !== undefined && beginsString(text, at) && (long.length > 1 || text.indexOf(long, at + 1) !== -1)) {
		open.push(long);
		return at + long.length;
	}
	if (character === '`' && syntax.templates) {
		open.push('`');
		return at + 1;
	}
	if (character === "'" && syntax.ticks) return matchedEnd(CHARACTER_LITERAL, text, at);
	if ((syntax.quotes.includes(character) || (character === '`' && syntax.quotes !== '')) && beginsString(text, at)) {
		// A quote that is not closed in its line is an apostrophe or a mistake.
		return stringEnd(text, at);
	}
	if (character === '/' && syntax.regularExpressions && VALUE_EXPECTED.test(lineBefore(text, at))) {
		return matchedEnd(REGULAR_EXPRESSION, text, at);
	}
	return at;
}

/**
 * Whether these characters begin a comment. The slashes of `https://` do not, and neither does a # or % within a word,
 * `$#` or `#{`.
 */
function beginsComment(text: string, at: number): boolean {
	const before = text[at - 1];
	if (text[at] === '/') return before !== ':';
	return before === undefined || /[\s;)\]}]/.test(before) || (text[at] !== '#' && text[at] !== "'");
}

function isQuote(character: string, { quotes, longQuotes }: Syntax): boolean {
	return quotes.includes(character) || longQuotes.includes(character);
}

function beginsString(text: string, at: number): boolean {
	if (text[at] !== "'" || !/\w/.test(text[at - 1] ?? '')) return true;
	return STRING_PREFIX.test(text.slice(Math.max(0, at - 4), at));
}

function stringEnd(text: string, start: number): number {
	for (let at = start + 1; at < text.length && text[at] !== '\n'; at++) {
		if (text[at] === '\\') at++;
		else if (text[at] === text[start]) return at + 1;
	}
	return start;
}

function matchedEnd(pattern: RegExp, text: string, at: number): number {
	pattern.lastIndex = at;
	return pattern.test(text) ? pattern.lastIndex : at;
}

/** The text before `at` in the same line, at most its last 40 characters. */
function lineBefore(text: string, at: number): string {
	const near = text.slice(Math.max(0, at - 40), at);
	return near.slice(near.lastIndexOf('\n') + 1);
}

function lineEnd(text: string, at: number): number {
	const end = text.indexOf('\n', at);
	return end === -1 ? text.length : end;
}
