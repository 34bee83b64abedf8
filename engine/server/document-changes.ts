// Changes to a document's text, many at once: a replacement everywhere or a thousand cursors.
import { type Position, TextDocument, type TextDocumentContentChangeEvent } from 'vscode-languageserver-textdocument';

/** Fewer changes in a row are made one by one, each of which copies the text. */
const FEW = 8;

/**
 * As TextDocument.update, which copies all of a text for each change. Editors list the changes of one edit from the end of the text
 * to its beginning, so that none moves another: a row of such is made in one pass.
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

/** The text after the changes from `first` on that come from the end to the beginning, and how many they are. */
function makeRow(document: TextDocument, changes: readonly TextDocumentContentChangeEvent[], first: number) {
	const before = document.getText();
	const parts: string[] = [];
	let end = before.length;
	let count = 0;
	for (let i = first; i < changes.length; i++) {
		const change = changes[i]!;
		// What follows a \r may become one line end with it, which would move the lines.
		if (!('range' in change) || !change.range || (count > 0 && before[end - 1] === '\r')) break;
		const { start, end: stop } = change.range;
		const offsets = [document.offsetAt(start), document.offsetAt(stop)];
		const [from, to] = [Math.min(...offsets), Math.max(...offsets)];
		// A place beyond the end of its line may be in what an earlier change of the row has put there.
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
