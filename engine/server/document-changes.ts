// Applies many changes to a document's text at once, such as a replacement everywhere or the edits of a thousand
// cursors.
import { type Position, TextDocument, type TextDocumentContentChangeEvent } from 'vscode-languageserver-textdocument';

/** Fewer changes in a row than this are made one by one, although each of them copies the whole text. */
const FEW = 8;

/**
 * Does what `TextDocument.update` does, which copies the whole text for each change. Editors list the changes of one
 * edit from the end of the text to its beginning, so that no change moves another one. A row of such changes is made
 * here in one pass.
 */
export function updateDocument(
	document: TextDocument,
	changes: readonly TextDocumentContentChangeEvent[],
	version: number,
): TextDocument {
	let updated = document;
	for (let next = 0; next < changes.length; ) {
		const { text, count } = makeRow(updated, changes, next);
		updated =
			count < FEW
				? TextDocument.update(updated, changes.slice(next, next + Math.max(1, count)), version)
				: TextDocument.update(updated, [{ text }], version);
		next += Math.max(1, count);
	}
	return changes.length === 0 ? TextDocument.update(document, [], version) : updated;
}

/**
 * Makes the changes from `first` on, for as long as each lies before the previous one. Gives the text after them, and
 * their number.
 */
function makeRow(document: TextDocument, changes: readonly TextDocumentContentChangeEvent[], first: number) {
	const before = document.getText();
	const parts: string[] = [];
	let end = before.length;
	let count = 0;
	for (let i = first; i < changes.length; i++) {
		const change = changes[i]!;
		// An inserted text that follows a \r may begin with \n. The two would become one line end, and that would move the
		// lines.
		if (!('range' in change) || !change.range || (count > 0 && before[end - 1] === '\r')) break;
		const { start, end: stop } = change.range;
		const offsets = [document.offsetAt(start), document.offsetAt(stop)];
		const [from, to] = [Math.min(...offsets), Math.max(...offsets)];
		// A place beyond the end of its line may lie in the text that an earlier change of the row has inserted.
		const exact = isAt(document, start, offsets[0]!) && isAt(document, stop, offsets[1]!);
		if (to > end || (count > 0 && !exact)) break;
		parts.push(before.slice(to, end), change.text);
		end = from;
		count++;
	}
	return { text: count < FEW ? '' : before.slice(0, end) + parts.reverse().join(''), count };
}

function isAt(document: TextDocument, { line, character }: Position, offset: number): boolean {
	const position = document.positionAt(offset);
	return position.line === line && position.character === character;
}
