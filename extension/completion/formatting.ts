// Tells the engine how the editor indents. This file does not use VS Code.

const INLINE_COMPLETION = 'textDocument/inlineCompletion';

export interface EditorFormatting {
	/** The document's URI. */
	uri: string;
	tabSize: number | string | undefined;
	insertSpaces: boolean | string | undefined;
}

/**
 * Adds the editor's formatting options to the parameters of a request for an inline completion. The editor is the one
 * that shows the document of the request. Its options are numbers and flags once VS Code has resolved `auto`.
 */
export function withFormatting<P>(method: string, parameters: P, editors: () => readonly EditorFormatting[]): P {
	if (method !== INLINE_COMPLETION) return parameters;
	const { uri } = (parameters as { textDocument: { uri: string } }).textDocument;
	const editor = editors().find((other) => other.uri === uri);
	if (typeof editor?.tabSize !== 'number' || typeof editor.insertSpaces !== 'boolean') return parameters;
	const { tabSize, insertSpaces } = editor;
	return { ...parameters, formattingOptions: { tabSize, insertSpaces } };
}
