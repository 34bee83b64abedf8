import { describe, expect, test } from 'vitest';
import { type EditorFormatting, withFormatting } from '../../extension/completion/formatting';

const METHOD = 'textDocument/inlineCompletion';
const URI = 'file:///a.ts';
const parameters = { textDocument: { uri: URI }, position: { line: 1, character: 2 } };
const editor = (more: Partial<EditorFormatting> = {}): EditorFormatting => ({
	...{ uri: URI, tabSize: 2, insertSpaces: true },
	...more,
});

describe('withFormatting', () => {
	test("adds the options of the document's editor", () => {
		const editors = () => [editor({ uri: 'file:///b.ts', tabSize: 8 }), editor()];
		expect(withFormatting(METHOD, parameters, editors)).toEqual({
			...parameters,
			formattingOptions: { tabSize: 2, insertSpaces: true },
		});
	});

	test.each([
		['no editor shows the document', [editor({ uri: 'file:///b.ts' })]],
		['its options are not resolved', [editor({ tabSize: 'auto' })]],
		['nor whether it inserts spaces', [editor({ insertSpaces: undefined })]],
	])('adds nothing where %s', (_, editors) => {
		expect(withFormatting(METHOD, parameters, () => editors)).toBe(parameters);
	});

	test('leaves other requests alone, and asks no editor for them', () => {
		const editors = () => {
			throw new Error('asked');
		};
		expect(withFormatting('hearth/chat', { messages: [] }, editors)).toEqual({ messages: [] });
		expect(withFormatting('shutdown', undefined, editors)).toBeUndefined();
	});
});
