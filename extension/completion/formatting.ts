// What the engine is told of how the editor indents. No VS Code in here.

const INLINE_COMPLETION = 'textDocument/inlineCompletion';

export interface EditorFormatting {
	/** The document's URI. */
	uri: string;
	tabSize: number | string | undefined;
	insertSpaces: boolean | string | undefined;
}

/**
 * The parameters of a request, with the formatting options of the editor that shows its document where it asks for an inline
 * completion. Their numbers and flags are known once VS Code has resolved `auto`.
 */
export function withFormatting<P>(method: string, parameters: P, editors: () => readonly EditorFormatting[]): P {
	if (method !== INLINE_COMPLETION) return parameters;
	const { uri } = (parameters as { textDocument: { uri: string } }).textDocument;
	const editor = editors().find((other) => other.uri === uri);
	if (typeof editor?.tabSize !== 'number' || typeof editor.insertSpaces !== 'boolean') return parameters;
	const { tabSize, insertSpaces } = editor;
	return { ...parameters, formattingOptions: { tabSize, insertSpaces } };
}
