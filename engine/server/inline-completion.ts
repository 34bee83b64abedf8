// LSP's inline completion: turns a position in a document into the text around it, and an edit into an item.
import type { InlineCompletionItem, InlineCompletionParams, Position } from 'vscode-languageserver';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { CompletionResult } from '../completion/completer';
import { characterAt } from '../completion/lines';

/** Where a document is completed. */
interface CompletedRange {
	/** The text to complete lies before `start` and after `end`, both in UTF-16 code units. */
	start: number;
	end: number;
	/**
	 * The text that is assumed between `start` and `end`: the suggestion selected in the editor's own list, as if the
	 * user had accepted it.
	 */
	inserted: string;
	before: string;
	after: string;
}

export function completedRange(
	document: TextDocument,
	{ position, context: { selectedCompletionInfo: selected } }: InlineCompletionParams,
): CompletedRange {
	const text = document.getText();
	const offsetAt = (at: Position) => characterAt(text, document.offsetAt(at));
	const cursor = offsetAt(position);
	const start = selected ? offsetAt(selected.range.start) : cursor;
	const end = selected ? Math.max(cursor, offsetAt(selected.range.end)) : cursor;
	const inserted = selected?.text ?? '';
	return { start, end, inserted, before: text.slice(0, start) + inserted, after: text.slice(end) };
}

export function completionItems(
	document: TextDocument,
	{ start, end, inserted }: CompletedRange,
	result: CompletionResult | undefined,
): InlineCompletionItem[] {
	if (result?.outcome !== 'shown') return [];
	const { edit } = result;
	return [
		{
			insertText: inserted + edit.text,
			range: { start: document.positionAt(start), end: document.positionAt(end + edit.replace) },
		},
	];
}
