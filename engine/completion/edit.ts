// The edit that shows a suggestion: the text that is inserted, and how much of the line right of the cursor it
// replaces.

export interface Edit {
	text: string;
	/** Characters right of the cursor that the text replaces. */
	replace: number;
}

/** Closers that an editor inserts right of the cursor by itself, and punctuation that may follow them. */
const CLOSERS = /^[\s)\]}>"'`;,:]+$/;
const PUNCTUATION = /[;,:]/;

/**
 * Makes the edit for a suggestion. If a suggestion repeats the rest of the line, VS Code shows it as ghost text only if
 * the edit's range covers that rest and the text has its characters in order (microsoft/vscode#170538). The edit
 * therefore replaces closing brackets and quotes right of the cursor if the suggestion closes them, too. If the
 * suggestion ends with only the first of them, the edit adds the others.
 *
 * @param isCut whether the line goes on after `lineSuffix`.
 */
export function editFor(text: string, lineSuffix: string, isCut = false): Edit {
	const rest = lineSuffix.trimEnd();
	if (isCut) return { text, replace: 0 };
	if (rest === '') return { text, replace: lineSuffix.length };
	if (!CLOSERS.test(rest)) return { text, replace: 0 };
	// Editors insert no punctuation by themselves. Where the suggestion repeated it, a filter has cut it.
	if (/^[\s;,:]+$/.test(rest) && !text.includes('\n')) return { text, replace: 0 };
	const closers = closersOf(text);
	// The text leaves something open that the rest of the line closes, so the rest must stay.
	if (closers.wanted.at(-1) === rest.trimStart()[0]) return { text, replace: 0 };
	if (closesAll(text, rest, closers.own)) return { text, replace: lineSuffix.length };
	const begun = closesBeginning(text, rest, closers.own);
	return begun === 0 ? { text, replace: 0 } : { text: text + rest.slice(begun), replace: lineSuffix.length };
}

/** Whether the text has all closers of `rest` in order, not counting the closers of what it opens itself. */
function closesAll(text: string, rest: string, own: ReadonlySet<number>): boolean {
	let at = -1;
	for (const closer of rest.replace(/\s/g, '')) {
		if (PUNCTUATION.test(closer)) {
			// Punctuation counts as the same only right behind the closer before it, or at the end of the text.
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

/**
 * With how many characters of `rest`'s beginning the text ends. It is 0 where the text has other closers of `rest`
 * before its end, or where these characters close what the text opened itself.
 */
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
	/** Places in the text where it closes brackets and quotes that it opened itself. */
	own: Set<number>;
	/** The closers of the brackets that the text leaves open, the innermost last. */
	wanted: string[];
}

function closersOf(text: string): Closers {
	const own = new Set<number>();
	const wanted: string[] = [];
	// If the text has an odd number of one kind of quote, the first of them closes a string that was open before.
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
			// A `<` without its `>` compares and opens nothing.
			const partner = character === '>' ? wanted.length - 1 : wanted.findLastIndex((closer) => closer !== '>');
			if (wanted[partner] !== character) continue;
			wanted.length = partner;
			own.add(index);
		}
	}
	return { own, wanted: wanted.filter((closer) => closer !== '>') };
}
