// Cuts a template's source into tokens as Jinja2's `lexer.py` does with `trim_blocks` and `lstrip_blocks`. Chat
// templates are written for these two settings.
import { TemplateError } from './budget';

export type TokenType =
	| 'data'
	| 'variable-begin'
	| 'variable-end'
	| 'block-begin'
	| 'block-end'
	| 'name'
	| 'string'
	| 'integer'
	| 'float'
	| 'operator'
	| 'end';

export interface Token {
	type: TokenType;
	value: string;
	line: number;
}

/**
 * White space as Python's `str.isspace` and `\s` know it. JavaScript's `\s` has U+FEFF too, and lacks U+0085 and
 * ASCII's separators U+001C to U+001F.
 */
export const WHITE_SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const SPACES = new RegExp(`[${WHITE_SPACE}]+`, 'y');
const ONLY_SPACES = new RegExp(`^[${WHITE_SPACE}]+$`);
const FLOAT = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{ID_Start}_][\p{ID_Continue}]*/uy;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y;
const WORDS: readonly [TokenType, RegExp][] = [
	['float', FLOAT],
	['integer', INTEGER],
	['name', NAME],
	['operator', OPERATOR],
];
const RAW_BEGIN = new RegExp(`\\{%[-+]?[${WHITE_SPACE}]*raw[${WHITE_SPACE}]*(?:-%\\}[${WHITE_SPACE}]*|%\\})`, 'y');
const RAW_END = new RegExp(
	`\\{%([-+]?)[${WHITE_SPACE}]*endraw[${WHITE_SPACE}]*(?:\\+%\\}|-%\\}[${WHITE_SPACE}]*|%\\}\\n?)`,
	'y',
);
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}[${WHITE_SPACE}]*|#\\}\\n?`, 'y');
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${WHITE_SPACE}]*|%\\}\\n?`, 'y');
const VARIABLE_END = new RegExp(`-\\}\\}[${WHITE_SPACE}]*|\\}\\}`, 'y');

/** Published templates have up to 2500 tokens. */
const MAX_TOKENS = 30_000;

const CLOSING: Record<string, string> = { '(': ')', '[': ']', '{': '}' };

/** @throws TemplateError that says what is wrong and in which line. */
export function tokenize(template: string): Token[] {
	return new Lexer(template.replaceAll(/\r\n|\r/g, '\n').replace(/\n$/, '')).run();
}

class Lexer {
	readonly #source: string;
	readonly #tokens: Token[] = [];
	#at = 0;
	#line = 1;
	#counted = 0;
	/** Whether the tag before ended with a line break. If so, the text after the tag begins a line. */
	#lineStarting = true;

	constructor(source: string) {
		this.#source = source;
	}

	run(): Token[] {
		const source = this.#source;
		while (this.#at < source.length) {
			const tag = this.#nextTag();
			if (tag < 0) {
				this.#push('data', source.slice(this.#at));
				break;
			}
			const kind = source[tag + 1]!;
			const sign = source[tag + 2];
			this.#data(source.slice(this.#at, tag), sign, kind !== '{');
			this.#at = tag;
			const raw = kind === '%' ? this.#match(RAW_BEGIN) : undefined;
			if (raw !== undefined) {
				this.#raw(raw);
				continue;
			}
			this.#at += sign === '-' || sign === '+' ? 3 : 2;
			if (kind === '#') this.#comment();
			else this.#tag(kind === '%');
		}
		this.#push('end', '');
		return this.#tokens;
	}

	#nextTag(): number {
		for (let at = this.#source.indexOf('{', this.#at); at >= 0; at = this.#source.indexOf('{', at + 1)) {
			const next = this.#source[at + 1];
			if (next === '{' || next === '%' || next === '#') return at;
		}
		return -1;
	}

	/** Adds the text before a tag, without what the tag's sign or `lstrip_blocks` strips. */
	#data(text: string, sign: string | undefined, stripsLine: boolean): void {
		let kept = text;
		if (sign === '-') kept = trimEnd(text);
		else if (sign !== '+' && stripsLine) {
			const line = text.lastIndexOf('\n') + 1;
			if ((line > 0 || this.#lineStarting) && ONLY_SPACES.test(text.slice(line))) kept = text.slice(0, line);
		}
		if (kept !== '') this.#push('data', kept);
	}

	#raw(begin: string): void {
		this.#took(begin);
		for (let at = this.#source.indexOf('{%', this.#at); at >= 0; at = this.#source.indexOf('{%', at + 1)) {
			RAW_END.lastIndex = at;
			const end = RAW_END.exec(this.#source);
			if (!end) continue;
			this.#data(this.#source.slice(this.#at, at), end[1], true);
			this.#at = at;
			this.#took(end[0]);
			return;
		}
		throw this.#error('Missing end of raw directive');
	}

	#comment(): void {
		const end = this.#source.indexOf('#}', this.#at);
		if (end < 0) throw this.#error('Missing end of comment tag');
		const signed = end > this.#at && (this.#source[end - 1] === '-' || this.#source[end - 1] === '+');
		this.#at = signed ? end - 1 : end;
		this.#took(this.#match(COMMENT_END)!);
	}

	#tag(block: boolean): void {
		this.#push(block ? 'block-begin' : 'variable-begin', '');
		const endPattern = block ? BLOCK_END : VARIABLE_END;
		const open: string[] = [];
		while (this.#at < this.#source.length) {
			const end = open.length === 0 ? this.#match(endPattern) : undefined;
			if (end !== undefined) {
				this.#push(block ? 'block-end' : 'variable-end', '');
				this.#took(end);
				return;
			}
			this.#expressionToken(open);
		}
		throw this.#error(`unexpected end of template, expected the end of ${block ? 'a block' : 'an expression'}`);
	}

	#expressionToken(open: string[]): void {
		const spaces = this.#match(SPACES);
		if (spaces !== undefined) {
			this.#at += spaces.length;
			return;
		}
		const quote = this.#source[this.#at]!;
		if (quote === '"' || quote === "'") {
			this.#string(quote);
			return;
		}
		for (const [type, pattern] of WORDS) {
			// `a.1.2` has two subscripts, 1 and 2, and no float 1.2.
			if (type === 'float' && this.#source[this.#at - 1] === '.') continue;
			const word = this.#match(pattern);
			if (word === undefined) continue;
			if (type === 'operator') this.#bracket(word, open);
			this.#push(type, word);
			this.#at += word.length;
			return;
		}
		throw this.#error(`unexpected char '${String.fromCodePoint(this.#source.codePointAt(this.#at)!)}'`);
	}

	/** Checks that brackets match. A tag may end only behind the last closing bracket. */
	#bracket(operator: string, open: string[]): void {
		if (CLOSING[operator] !== undefined) open.push(CLOSING[operator]);
		if (operator !== ')' && operator !== ']' && operator !== '}') return;
		const expected = open.pop();
		if (expected === operator) return;
		throw this.#error(`unexpected '${operator}'${expected === undefined ? '' : `, expected '${expected}'`}`);
	}

	#string(quote: string): void {
		let end = this.#at + 1;
		while (end < this.#source.length && this.#source[end] !== quote) end += this.#source[end] === '\\' ? 2 : 1;
		if (end >= this.#source.length) throw this.#error(`unexpected char ${quote}: the string has no end`);
		const text = this.#source.slice(this.#at + 1, end);
		this.#push('string', text.includes('\\') ? this.#unescape(text) : text);
		this.#at = end + 1;
	}

	/** Replaces escapes as Python's `unicode-escape` does. A backslash that begins no escape stays. */
	#unescape(text: string): string {
		return text.replaceAll(ESCAPE, (whole, octal?: string, hex?: string, char?: string) => {
			if (char !== undefined) {
				if ('xuUN'.includes(char)) throw this.#error(`truncated \\${char} escape in a string`);
				return SIMPLE_ESCAPES[char] ?? whole;
			}
			const code = octal === undefined ? Number.parseInt(hex!.slice(1), 16) : Number.parseInt(octal, 8);
			if (code > 0x10ffff) throw this.#error('illegal Unicode character in a string');
			return String.fromCodePoint(code);
		});
	}

	#match(pattern: RegExp): string | undefined {
		pattern.lastIndex = this.#at;
		return pattern.exec(this.#source)?.[0];
	}

	/** Moves past the end of a tag. */
	#took(text: string): void {
		this.#at += text.length;
		this.#lineStarting = text.endsWith('\n');
	}

	#push(type: TokenType, value: string): void {
		if (this.#tokens.length >= MAX_TOKENS) throw this.#error('it has too many parts');
		this.#tokens.push({ type, value, line: this.#lineHere() });
	}

	#lineHere(): number {
		for (; this.#counted < this.#at; this.#counted++) if (this.#source[this.#counted] === '\n') this.#line++;
		return this.#line;
	}

	#error(message: string): TemplateError {
		return new TemplateError(`line ${this.#lineHere()}: ${message}`);
	}
}

const ESCAPE = /\\(?:([0-7]{1,3})|(x[\dA-Fa-f]{2}|u[\dA-Fa-f]{4}|U[\dA-Fa-f]{8})|([\s\S]))/g;

const SIMPLE_ESCAPES: Record<string, string> = {
	...{ n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' },
	...{ '\\': '\\', "'": "'", '"': '"', '\n': '' },
};

/** As Python's `rstrip()`. A regular expression would take time that grows with the square of the length. */
export function trimEnd(text: string): string {
	let end = text.length;
	while (end > 0 && ONLY_SPACES.test(text[end - 1]!)) end--;
	return text.slice(0, end);
}

export function trimStart(text: string): string {
	let start = 0;
	while (start < text.length && ONLY_SPACES.test(text[start]!)) start++;
	return text.slice(start);
}
