// Cuts before a closing bracket whose partner is closed already by the text after the cursor.
import { type Filter, isProse } from './filter';

const PARTNER = new Map([
	[')', '('],
	[']', '['],
	['}', '{'],
]);

export const bracketBalance: Filter = {
	reason: 'the suggestion only closed brackets that are closed already',
	apply(text, { languageId, window }) {
		// Without the file's beginning it is unknown what is open.
		if (isProse(languageId) || !window.prefixIsWhole) return text;
		const open = scan(window.prefix).opened;
		if (open === undefined) return text;
		// The rest of the cursor's line is judged with the edit's range, which may cover it.
		const after = scan(window.suffix);
		if (after.closed === undefined) return text;
		const closable = open.length - after.closed.length;
		const { positions } = scan(text);
		const cut = positions[Math.max(0, closable)];
		return cut === undefined ? text : text.slice(0, cut).trimEnd();
	},
};

interface Brackets {
	/** Openers left open; undefined where brackets do not match, as in macros or text this scan misreads. */
	opened: string[] | undefined;
	/** Closers without an opener. */
	closed: string[] | undefined;
	/** Where those closers are. */
	positions: number[];
}

/** Finds unmatched brackets outside of strings and line comments. A string ends with its line at the latest. */
function scan(text: string): Brackets {
	const opened: string[] = [];
	const closed: string[] = [];
	const positions: number[] = [];
	let mismatched = false;
	let quote = '';
	for (let i = 0; i < text.length; i++) {
		const character = text[i]!;
		if (quote !== '') {
			if (character === '\\') i++;
			else if (character === quote || (character === '\n' && quote !== '`')) quote = '';
		} else if (character === '"' || character === '`' || (character === "'" && !/\w/.test(text[i - 1] ?? ''))) {
			quote = character;
		} else if (character === '/' && text[i + 1] === '/' && text[i - 1] !== ':') {
			const end = text.indexOf('\n', i);
			if (end === -1) break;
			i = end - 1;
		} else if ('([{'.includes(character)) {
			opened.push(character);
		} else if (PARTNER.has(character)) {
			if (opened.length === 0) {
				closed.push(character);
				positions.push(i);
			} else if (opened.pop() !== PARTNER.get(character)) {
				mismatched = true;
			}
		}
	}
	return mismatched ? { opened: undefined, closed: undefined, positions } : { opened, closed, positions };
}
