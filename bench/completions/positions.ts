// Places in a file where somebody could be typing: what stands before and after the cursor, and what is missing between. The missing
// text is cut out of a file that is whole, so what belongs there is known.
import { Nesting } from '../../engine/completion/nesting';
import { syntaxOf } from '../../engine/completion/syntax';
import type { Random } from './random';
import type { SourceFile } from './sources';

export interface Position {
	kind: Kind;
	languageId: string;
	/** Source, file, line and column, as a report names it. */
	place: string;
	label: string;
	before: string;
	/** What the file has between `before` and `tail`. */
	missing: string;
	/** What an editor has put right of the cursor by itself. The missing text has it, too. */
	closers: string;
	/** What stands after the missing text. */
	tail: string;
}

/** From where to where text is missing in a file. */
export interface Span {
	from: number;
	to: number;
	closers?: string;
}

/** Lines that may be missing: about as many as the tokens of a suggestion reach for. */
const MAX_LINES = 10;
/** Characters between brackets that may be missing. */
const MAX_ARGUMENTS = 300;
/** Lines at the beginning and the end of a file that count as such. */
const START_LINES = 3;
const END_LINES = 8;

interface Line {
	from: number;
	to: number;
	text: string;
	/** Characters of white space it begins with. */
	indent: number;
}

/** A file as finders look at it. */
interface Code {
	text: string;
	languageId: string;
	lines: readonly Line[];
}

type Finder = (code: Code) => Span[];

const FINDERS = {
	'rest of a line': restOfLine,
	'mid-identifier': midIdentifier,
	'after a dot': afterDot,
	arguments: callArguments,
	'new statement': newStatement,
	'block body': blockBody,
	'between braces': betweenBraces,
	comment,
	docstring,
	import: imports,
	markup,
	'start of file': startOfFile,
	'end of file': endOfFile,
} satisfies Record<string, Finder>;

/** Kinds that are any of the others in a file written in another way. */
const REWRITES = {
	CRLF: (text: string) => text.replaceAll('\n', '\r\n'),
	tabs: indentedByTabs,
	spaces: indentedBySpaces,
} satisfies Record<string, (text: string) => string | undefined>;

export type Kind = keyof typeof FINDERS | keyof typeof REWRITES;
const PLAIN_KINDS = Object.keys(FINDERS) as (keyof typeof FINDERS)[];
export const KINDS: readonly Kind[] = [...PLAIN_KINDS, ...(Object.keys(REWRITES) as (keyof typeof REWRITES)[])];

/** One of the file's positions of a kind, chosen by chance; undefined where it has none. */
export function positionIn(file: SourceFile, kind: Kind, random: Random): Position | undefined {
	if (!(kind in REWRITES)) return choose(file, file.text, kind as keyof typeof FINDERS, kind, random);
	const text = REWRITES[kind as keyof typeof REWRITES](file.text);
	if (text === undefined || (file.languageId === 'yaml' && kind === 'tabs')) return undefined;
	// Kinds that the file has none of pass on to the next.
	const first = random(PLAIN_KINDS.length);
	for (const finder of [...PLAIN_KINDS.slice(first), ...PLAIN_KINDS.slice(0, first)]) {
		const position = choose(file, text, finder, kind, random);
		if (position) return position;
	}
	return undefined;
}

function choose(
	file: SourceFile,
	text: string,
	finder: keyof typeof FINDERS,
	kind: Kind,
	random: Random,
): Position | undefined {
	const spans = spansOf(finder, text, file.languageId);
	if (spans.length === 0) return undefined;
	const { from, to, closers = '' } = spans[random(spans.length)]!;
	const line = text.slice(0, from).split('\n');
	return {
		...{ kind, languageId: file.languageId, label: file.name, closers },
		place: `${file.source}: ${file.name}:${line.length}:${line.at(-1)!.length + 1}`,
		...{ before: text.slice(0, from), missing: text.slice(from, to), tail: text.slice(to) },
	};
}

/** All spans of a kind in a text. */
export function spansOf(kind: keyof typeof FINDERS, text: string, languageId: string): Span[] {
	return FINDERS[kind]({ text, languageId, lines: linesOf(text) }).filter(
		({ from, to, closers = '' }) => !['', closers].includes(text.slice(from, to).trim()),
	);
}

function linesOf(text: string): Line[] {
	const lines: Line[] = [];
	for (let from = 0; from <= text.length; ) {
		const end = text.indexOf('\n', from);
		const next = end === -1 ? text.length + 1 : end + 1;
		const to = text[next - 2] === '\r' ? next - 2 : next - 1;
		const line = text.slice(from, to);
		lines.push({ from, to, text: line, indent: /^[ \t]*/.exec(line)![0].length });
		from = next;
	}
	return lines;
}

const isBlank = (line: Line) => line.text.length === line.indent;

function isComment({ text }: Line, languageId: string): boolean {
	const { lineComments, blockComments } = syntaxOf(languageId);
	const line = text.trimStart();
	return (
		/^\*(?:\s|\/|$)/.test(line) ||
		[...lineComments, ...blockComments.map(([opener]) => opener), '"""', "'''"].some((begin) => line.startsWith(begin))
	);
}

function codeLines({ lines, languageId }: Code): Line[] {
	return lines.filter((line) => !isBlank(line) && !isComment(line, languageId));
}

/** From each match's end within each of the lines to the line's end. */
function behind(lines: readonly Line[], pattern: RegExp): Span[] {
	return lines.flatMap((line) =>
		[...line.text.matchAll(pattern)]
			.map((match) => ({ from: line.from + match.index + match[0].length, to: line.to }))
			.filter(({ from }) => from < line.to && from > line.from + line.indent),
	);
}

function restOfLine(code: Code): Span[] {
	return behind(codeLines(code), /[^\w\s](?=\w)|\s(?=\S)/g);
}

function midIdentifier(code: Code): Span[] {
	return codeLines(code).flatMap((line) =>
		[...line.text.matchAll(/[A-Za-z_]\w{2,}/g)].map((word) => ({
			from: line.from + word.index + (word[0].length >> 1),
			to: line.to,
		})),
	);
}

function afterDot(code: Code): Span[] {
	return behind(codeLines(code), /(?<=[\w)\]])(?:\??\.|->|::)(?=[A-Za-z_])/g);
}

/** Within the brackets of a call. Either the rest of the line is there, or an editor has closed the bracket and nothing follows it. */
function callArguments(code: Code): Span[] {
	return codeLines(code).flatMap((line) =>
		[...line.text.matchAll(/\w\(/g)].flatMap(({ index }): Span[] => {
			const from = line.from + index + 2;
			const close = closerAfter(code, from);
			if (close === undefined) return [];
			const end = code.lines.find(({ to }) => to >= close)!.to;
			const inLine = { from, to: close };
			// Nobody types a call anew whose arguments stand in the next lines already.
			return /[([,]\s*$/.test(code.text.slice(from, end)) ? [inLine] : [inLine, { from, to: end, closers: ')' }];
		}),
	);
}

/** Where the bracket is closed that was opened before `from`. */
function closerAfter({ text, languageId }: Code, from: number): number | undefined {
	let close: number | undefined;
	const inside = Nesting.start(languageId, false).after('(');
	if (inside.open.length === 0) return undefined;
	inside.after(text.slice(from, from + MAX_ARGUMENTS), (at) => {
		close ??= from + at;
	});
	return close !== undefined && text[close] === ')' ? close : undefined;
}

const CLOSES = /^\s*(?:[)\]}]|end\b|fi\b|done\b|esac\b|<\/)/;
const GOES_ON = /^\s*(?:\}\s*(?:else|catch|finally)|else\b|elif\b|elsif\b|except\b|finally\b|rescue\b|ensure\b|when\b)/;

/** The last line of the statement that begins in a line, as indentation tells. */
function statementEnd(lines: readonly Line[], first: number): number {
	const { indent } = lines[first]!;
	let last = first;
	for (let i = first + 1; i < lines.length; i++) {
		const line = lines[i]!;
		if (isBlank(line)) continue;
		if (line.indent > indent || (line.indent === indent && GOES_ON.test(line.text))) last = i;
		else return line.indent === indent && CLOSES.test(line.text) && last > first ? i : last;
	}
	return last;
}

/** Whether a text closes what it opens, and nothing else. */
function isBalanced(text: string, languageId: string): boolean {
	let closes = false;
	const end = Nesting.start(languageId, false).after(text, () => {
		closes = true;
	});
	return !closes && end.open.length === 0 && end.misfits === 0;
}

function wholeSpan(code: Code, from: number, to: number): Span[] {
	return isBalanced(code.text.slice(from, to), code.languageId) ? [{ from, to }] : [];
}

function newStatement(code: Code): Span[] {
	const { lines, languageId } = code;
	return lines.flatMap((line, i) => {
		if (i === 0 || isBlank(line) || isComment(line, languageId) || CLOSES.test(line.text) || GOES_ON.test(line.text))
			return [];
		const last = statementEnd(lines, i);
		return last - i < MAX_LINES ? wholeSpan(code, line.from + line.indent, lines[last]!.to) : [];
	});
}

/** Blocks by indentation: the line that opens each, its lines, and the line after them. */
function blocks({ lines, languageId }: Code): { opener: Line; first: Line; last: Line; below: Line | undefined }[] {
	return lines.flatMap((opener, i) => {
		const first = lines[i + 1];
		if (isBlank(opener) || isComment(opener, languageId) || !first || isBlank(first) || first.indent <= opener.indent)
			return [];
		let last = i + 1;
		let end = i + 2;
		for (; end < lines.length; end++) {
			if (isBlank(lines[end]!)) continue;
			if (lines[end]!.indent <= opener.indent) break;
			last = end;
		}
		return last - i <= MAX_LINES ? [{ opener, first, last: lines[last]!, below: lines[end] }] : [];
	});
}

function blockBody(code: Code): Span[] {
	return blocks(code).flatMap(({ opener, first, last }) =>
		/(?:[{([:>]|\b(?:then|do|else|begin))\s*$/.test(opener.text)
			? wholeSpan(code, first.from + first.indent, last.to)
			: [],
	);
}

function betweenBraces(code: Code): Span[] {
	const overLines = blocks(code).flatMap(({ opener, below }) => {
		if (!below || !opener.text.endsWith('{') || below.text[below.indent] !== '}' || below.indent !== opener.indent)
			return [];
		return wholeSpan(code, opener.to, below.from + below.indent);
	});
	const inLines = codeLines(code).flatMap((line) =>
		[...line.text.matchAll(/\{[^{}]*\w[^{}]*\}/g)].flatMap(({ index, 0: { length } }) =>
			wholeSpan(code, line.from + index + 1, line.from + index + length - 1),
		),
	);
	return [...overLines, ...inLines];
}

function comment({ lines, languageId }: Code): Span[] {
	const { lineComments } = syntaxOf(languageId);
	const comments = lines.filter(({ text }) =>
		lineComments.some((begin) => text.trimStart().startsWith(begin) && !/^\/\/\/|^#!/.test(text.trimStart())),
	);
	return behind(comments, /(?<=\S\s+\w\S*\s)(?=\w)/g);
}

function docstring({ text, lines, languageId }: Code): Span[] {
	const inside = lines.filter((line) => /^\s*(?:\*\s|\/\/\/)/.test(line.text));
	const spans = behind(inside, /(?<=\w\S*\s)(?=\w)/g);
	if (languageId !== 'python') return spans;
	const one = [...text.matchAll(/"""([^"\n]+)"""/g)].map(({ index, 1: says = '' }) => ({
		from: index + 3,
		to: index + 3 + says.length,
	}));
	const long = [...text.matchAll(/"""[^"]+"""/g)].flatMap(({ index, 0: { length } }) =>
		behind(
			lines.filter(({ from, to }) => from > index && to < index + length - 3),
			/(?<=\w\S*\s)(?=\w)/g,
		),
	);
	return [...spans, ...one, ...long];
}

function imports({ lines }: Code): Span[] {
	const lead = /^\s*(?:import|from|use|using|#\s*include|require|require_relative|package|source|@import|@use)\b/;
	return behind(
		lines.filter(({ text }) => lead.test(text)),
		/(?<=^\s*[#@]?\s*\w+)\s(?=\S)|['"<{](?=[\s\w.])|\s(?=(?:import|from)\b)/g,
	);
}

/** A tag's attributes, a value between its quotes, an element's content before its end, and the value of a CSS property. */
function markup(code: Code): Span[] {
	const { languageId } = code;
	if (/css$/.test(languageId)) return behind(codeLines(code), /^\s+[\w-]+:\s*(?=\S)/g);
	if (!/^(?:html|.*react)$/.test(languageId)) return [];
	const lines = codeLines(code);
	const between = (pattern: RegExp): Span[] =>
		lines.flatMap((line) =>
			[...line.text.matchAll(pattern)].map(({ index, 1: lead = '', 2: inner = '' }) => ({
				from: line.from + index + lead.length,
				to: line.from + index + lead.length + inner.length,
			})),
		);
	return [
		...behind(lines, /<[A-Za-z][\w.-]*\s(?=[\w:@{])/g),
		...between(/(\s[\w:-]+=")([^"]+)"/g),
		...between(/(<[A-Za-z][^<>]*>)([^<>]*\w[^<>]*)<\//g),
	];
}

function startOfFile(code: Code): Span[] {
	return code.lines.slice(0, START_LINES).flatMap((line) => wholeSpan(code, line.from, line.to));
}

function endOfFile({ text, lines }: Code): Span[] {
	const to = text.trimEnd().length;
	return lines
		.filter((line) => !isBlank(line))
		.slice(-END_LINES)
		.map((line) => ({ from: line.from + line.indent, to }));
}

/** Undefined where the file is not indented by spaces, or by none that are a level. */
function indentedByTabs(text: string): string | undefined {
	const widths = [...text.matchAll(/^ +(?=[^\s*])/gm)].map(([white]) => white.length);
	const level = Math.min(...widths);
	if (widths.length === 0 || level < 2 || /^\t/m.test(text)) return undefined;
	return text.replace(/^ +/gm, (white) => '\t'.repeat(white.length / level) + ' '.repeat(white.length % level));
}

function indentedBySpaces(text: string): string | undefined {
	if (!/^\t/m.test(text)) return undefined;
	return text.replace(/^\t+/gm, (white) => '    '.repeat(white.length));
}
