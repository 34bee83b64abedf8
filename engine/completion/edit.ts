// The edit that shows a suggestion: what is inserted, and how much of the line right of the cursor it replaces.

export interface Edit {
	text: string;
	/** Characters right of the cursor that the text replaces. */
	replace: number;
}

/** Closers an editor puts right of the cursor by itself, and what ends a statement after them. */
const CLOSERS = /^[\s)\]}>"'`;,:]+$/;
const PUNCTUATION = /[;,:]/;

/**
 * VS Code shows ghost text only where the edit's range covers what the text repeats of the rest of the line, in order
 * (microsoft/vscode#170538). An editor's own closing brackets and quotes right of the cursor are covered when the
 * suggestion closes them too; where it ends with the first of them only, it is given the others.
 *
 * @param isCut the line goes on after `lineSuffix`.
 */
export function editFor(text: string, lineSuffix: string, isCut = false): Edit {
	const rest = lineSuffix.trimEnd();
	if (isCut) return { text, replace: 0 };
	if (rest === '') return { text, replace: lineSuffix.length };
	if (!CLOSERS.test(rest)) return { text, replace: 0 };
	// No editor adds punctuation by itself: what a line says again of it has been cut.
	if (/^[\s;,:]+$/.test(rest) && !text.includes('\n')) return { text, replace: 0 };
	const closers = closersOf(text);
	// What the text leaves open itself needs the rest of the line.
	if (closers.wanted.at(-1) === rest.trimStart()[0]) return { text, replace: 0 };
	if (closesAll(text, rest, closers.own)) return { text, replace: lineSuffix.length };
	const begun = closesBeginning(text, rest, closers.own);
	return begun === 0 ? { text, replace: 0 } : { text: text + rest.slice(begun), replace: lineSuffix.length };
}

/** Whether the text closes all of `rest`, in order, beside what it opens itself. */
function closesAll(text: string, rest: string, own: ReadonlySet<number>): boolean {
	let at = -1;
	for (const closer of rest.replace(/\s/g, '')) {
		if (PUNCTUATION.test(closer)) {
			// It is the same one only right behind what it follows, or at the end.
			const next = at === -1 ? text.trimEnd().length - 1 : at + 1 + (text.slice(at + 1).search(/\S/) >>> 0);
			if (text[next] !== closer) return false;
			at = next;
			continue;
		}
		do at = text.indexOf(closer, at + 1);
		while (own.has(at));
		if (at === -1) return false;
	}
	return true;
}

/** How much of the beginning of `rest` the text ends with, beside what it opens itself. */
function closesBeginning(text: string, rest: string, own: ReadonlySet<number>): number {
	for (let length = Math.min(text.length, rest.length); length > 0; length--) {
		if (!text.endsWith(rest.slice(0, length))) continue;
		const start = text.length - length;
		const others = rest.slice(length).replace(/[\s;,:]/g, '');
		const conflicts = (at: number) => (at < start ? !own.has(at) && others.includes(text[at]!) : own.has(at));
		if (!Array.from({ length: text.length }, (_, at) => at).some(conflicts)) return length;
	}
	return 0;
}

interface Closers {
	/** Where the text closes brackets and quotes that it opened itself. */
	own: Set<number>;
	/** What closes the brackets that it leaves open, the innermost last. */
	wanted: string[];
}

function closersOf(text: string): Closers {
	const own = new Set<number>();
	const wanted: string[] = [];
	// With an odd number of a quote, the first one closes a string that was open before.
	const unpaired = new Map(['"', "'", '`'].map((quote) => [quote, text.split(quote).length % 2 === 0]));
	for (let index = 0; index < text.length; index++) {
		const character = text[index]!;
		const opener = '([{<'.indexOf(character);
		const closesBefore = unpaired.get(character);
		if (opener !== -1) {
			wanted.push(')]}>'[opener]!);
		} else if (closesBefore !== undefined) {
			if (!closesBefore) own.add(index);
			unpaired.set(character, false);
		} else if (character === '>' && /[-=]/.test(text[index - 1] ?? '')) {
			own.add(index); // an arrow
		} else if (')]}>'.includes(character)) {
			// A < without its > compares.
			const partner = character === '>' ? wanted.length - 1 : wanted.findLastIndex((closer) => closer !== '>');
			if (wanted[partner] !== character) continue;
			wanted.length = partner;
			own.add(index);
		}
	}
	return { own, wanted: wanted.filter((closer) => closer !== '>') };
}
