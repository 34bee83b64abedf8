// The edit that shows a suggestion: what is inserted, and how much of the line right of the cursor it replaces.

export interface Edit {
	text: string;
	/** Characters right of the cursor that the text replaces. */
	replace: number;
}

/**
 * VS Code shows ghost text only where the edit's range covers what the text repeats of the rest of the line, in order
 * (microsoft/vscode#170538). An editor's own closing brackets and quotes right of the cursor are covered when the
 * suggestion closes them too.
 */
export function editFor(text: string, lineSuffix: string): Edit {
	const rest = lineSuffix.trimEnd();
	return { text, replace: rest === '' || closesAll(text, rest) ? lineSuffix.length : 0 };
}

/** Whether `rest` is closers only and the text closes all of them, in order, beside what it opens itself. */
function closesAll(text: string, rest: string): boolean {
	if (!/^[\s)\]}>"'`;,:]+$/.test(rest)) return false;
	const own = ownClosers(text);
	let at = -1;
	for (const closer of rest.replace(/\s/g, '')) {
		do at = text.indexOf(closer, at + 1);
		while (own.has(at));
		if (at === -1) return false;
	}
	return true;
}

/** Where the text closes brackets and quotes that it opened itself. */
function ownClosers(text: string): Set<number> {
	const own = new Set<number>();
	const expected: string[] = [];
	// With an odd number of a quote, the first one closes a string that was open before.
	const unpaired = new Map(['"', "'", '`'].map((quote) => [quote, text.split(quote).length % 2 === 0]));
	for (let index = 0; index < text.length; index++) {
		const character = text[index]!;
		const opener = '([{'.indexOf(character);
		const closesBefore = unpaired.get(character);
		if (opener !== -1) {
			expected.push(')]}'[opener]!);
		} else if (closesBefore !== undefined) {
			if (!closesBefore) own.add(index);
			unpaired.set(character, false);
		} else if (expected.at(-1) === character) {
			expected.pop();
			own.add(index);
		}
	}
	return own;
}
