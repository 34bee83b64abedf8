// Many changes at once give the text that the same changes give one after the other.
import { describe, expect, test, vi } from 'vitest';
import { TextDocument, type TextDocumentContentChangeEvent } from 'vscode-languageserver-textdocument';
import { updateDocument } from '../../../engine/server/document-changes';

function chance(seed: number) {
	let state = seed;
	return (below: number) => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return Math.floor((state / 2 ** 32) * below);
	};
}

const create = (text: string) => TextDocument.create('file:///a', 'javascript', 1, text);

describe('many changes at once', () => {
	test.each(['descending', 'any'])('give the text that one after the other gives: %s', (order) => {
		const next = chance(5);
		const pieces = ['a', 'bc', '\n', '\r', '\r\n', ' ', '漢', '😀'];
		const text = (length: number) => Array.from({ length }, () => pieces[next(pieces.length)]).join('');
		for (let round = 0; round < 2000; round++) {
			const before = text(next(60));
			const document = create(before);
			const at = () => next(before.length + 2);
			const spans = Array.from({ length: 1 + next(20) }, () => [at(), at()] as const);
			if (order === 'descending') spans.sort((a, b) => Math.max(...b) - Math.max(...a));
			const changes: TextDocumentContentChangeEvent[] = spans.map(([start, end]) =>
				next(60) === 0
					? { text: text(next(9)) }
					: {
							range: {
								start:
									order === 'any' ? { line: next(12), character: next(5) } : document.positionAt(Math.min(start, end)),
								end: order === 'any' ? { line: next(12), character: next(5) } : document.positionAt(start),
							},
							text: text(next(4)),
						},
			);
			const expected = TextDocument.update(create(before), changes, 2);
			const made = updateDocument(create(before), changes, 2);
			expect({ round, text: made.getText(), version: made.version, lines: made.lineCount }).toEqual({
				...{ round, text: expected.getText(), version: 2, lines: expected.lineCount },
			});
			const end = { line: made.lineCount, character: 0 };
			expect(made.offsetAt(end)).toBe(expected.offsetAt(end));
		}
	});

	test('from the end to the beginning are one copy of the text', () => {
		const update = vi.spyOn(TextDocument, 'update');
		const document = create('const a = 1;\n'.repeat(10_000));
		const changes = Array.from({ length: 10_000 }, (_, i) => {
			const position = { line: 9999 - i, character: 6 };
			return { range: { start: position, end: position }, text: 'x' };
		});
		expect(updateDocument(document, changes, 2).getText()).toBe('const xa = 1;\n'.repeat(10_000));
		expect(update).toHaveBeenCalledTimes(1);
		vi.restoreAllMocks();
	});
});
