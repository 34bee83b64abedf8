// Python's operations on strings that both methods and filters use.
import type { Budget } from './budget';
import { WHITE_SPACE } from './lexer';
import { codePoints, isPlain } from './values';

const SPACE = new RegExp(`^[${WHITE_SPACE}]$`);
const isSpace = new Uint8Array(0x10000).map((_, unit) => (SPACE.test(String.fromCharCode(unit)) ? 1 : 0));

/** @param chars the characters to strip; undefined: white space. */
export function strip(text: string, chars: string | undefined, ends: 'both' | 'start' | 'end', budget: Budget): string {
	const plain = chars === undefined || isPlain(text, budget);
	const units = plain ? text : codePoints(text, budget);
	const seen = plain ? budget.read(text) : Array.from(budget.read(text));
	const set = chars === undefined ? undefined : new Set(budget.read(chars));
	const taken = (unit: string) => (set ? set.has(unit) : isSpace[unit.charCodeAt(0)] === 1);
	let from = 0;
	let to = seen.length;
	if (ends !== 'end') while (from < to && taken(seen[from]!)) from++;
	if (ends !== 'start') while (to > from && taken(seen[to - 1]!)) to--;
	return typeof units === 'string' ? units.slice(from, to) : units.slice(from, to).join('');
}

/** @param count how many places are replaced at most, from the left; negative: all. */
export function replace(text: string, old: string, by: string, count: number, budget: Budget): string {
	budget.text(text.length);
	if (old === '') {
		const chars = codePoints(text, budget);
		const places = count < 0 ? chars.length + 1 : Math.min(count, chars.length + 1);
		budget.text(text.length + places * by.length);
		return chars.map((char, i) => (i < places ? by + char : char)).join('') + (places > chars.length ? by : '');
	}
	const parts = splitBy(text, old, count, budget);
	budget.text(text.length + (parts.length - 1) * by.length);
	return parts.join(by);
}

/** @param limit how often the text is cut at most, from the left; negative: everywhere. */
export function splitBy(text: string, separator: string, limit: number, budget: Budget): string[] {
	const [seen, wanted] = [budget.read(text), budget.read(separator)];
	const parts: string[] = [];
	let from = 0;
	for (let cuts = 0; limit < 0 || cuts < limit; cuts++) {
		const at = seen.indexOf(wanted, from);
		if (at < 0) break;
		budget.items(1);
		parts.push(text.slice(from, at));
		from = at + separator.length;
	}
	parts.push(text.slice(from));
	return parts;
}

export function splitByFromEnd(text: string, separator: string, limit: number, budget: Budget): string[] {
	const [seen, wanted] = [budget.read(text), budget.read(separator)];
	const parts: string[] = [];
	let to = text.length;
	for (let cuts = 0; limit < 0 || cuts < limit; cuts++) {
		const at = to >= separator.length ? seen.lastIndexOf(wanted, to - separator.length) : -1;
		if (at < 0) break;
		budget.items(1);
		parts.push(text.slice(at + separator.length, to));
		to = at;
	}
	parts.push(text.slice(0, to));
	return parts.reverse();
}

/** Splits a text at runs of white space. White space at the ends makes no empty parts. */
export function splitWords(text: string, limit: number, fromEnd: boolean, budget: Budget): string[] {
	const seen = budget.read(text);
	const words: string[] = [];
	const step = fromEnd ? -1 : 1;
	let at = fromEnd ? text.length - 1 : 0;
	const inside = () => at >= 0 && at < text.length;
	const space = () => isSpace[seen.charCodeAt(at)] === 1;
	for (;;) {
		while (inside() && space()) at += step;
		if (!inside()) break;
		const from = at;
		if (limit >= 0 && words.length >= limit) {
			words.push(fromEnd ? text.slice(0, from + 1) : text.slice(from));
			break;
		}
		while (inside() && !space()) at += step;
		budget.items(1);
		words.push(fromEnd ? text.slice(at + 1, from + 1) : text.slice(from, at));
	}
	return fromEnd ? words.reverse() : words;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: Python's line ends have some
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

export function splitLines(text: string, keepEnds: boolean, budget: Budget): string[] {
	const seen = budget.read(text);
	const lines: string[] = [];
	let from = 0;
	for (const match of seen.matchAll(LINE_END)) {
		budget.items(4);
		const end = match.index + match[0].length;
		lines.push(text.slice(from, keepEnds ? end : match.index));
		from = end;
	}
	if (from < text.length) lines.push(text.slice(from));
	return lines;
}

export function upper(text: string, budget: Budget): string {
	return budget.change(text, (char) => char.toUpperCase());
}

export function lower(text: string, budget: Budget): string {
	return budget.change(text, (char) => char.toLowerCase());
}

export function capitalize(text: string, budget: Budget): string {
	const [first] = budget.read(text);
	if (first === undefined) return '';
	return upper(text.slice(0, first.length), budget) + lower(text.slice(first.length), budget);
}

/**
 * Capitalizes each part of a text that a pattern matches.
 * @param pattern a regular expression with the flag `g`.
 */
export function capitalizeEach(text: string, pattern: RegExp, budget: Budget): string {
	let result = '';
	let end = 0;
	for (const { index, 0: word } of budget.read(text).matchAll(pattern)) {
		result += text.slice(end, index);
		end = index + word.length;
		result += capitalize(text.slice(index, end), budget);
	}
	return result + text.slice(end);
}

/** Escapes the characters that HTML gives a meaning, as MarkupSafe does. */
export function escapeHtml(text: string, budget: Budget): string {
	budget.text(6 * text.length);
	return budget.change(text, (char) => HTML[char]!, /[&<>'"]/g);
}

const HTML: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;', '"': '&#34;' };
