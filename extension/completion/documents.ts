// Which documents the engine sees: what a user edits as text, wherever it is stored. Panes of output and logs, boxes
// for commit messages, diffs of other revisions and search results are left out.
import type { DocumentSelector } from 'vscode-languageclient';

export const DOCUMENT_SCHEMES = [
	'file',
	'untitled',
	'vscode-notebook-cell',
	'vscode-remote',
	'vscode-userdata',
	'vscode-vfs',
	'vscode-test-web',
	'github',
	'memfs',
	'vsls',
	'sftp',
	'ssh',
] as const;

/**
 * The most bytes of a text in a message. The engine takes a message of 16 MiB, which includes all that surrounds the
 * text.
 */
const MAX_TEXT_BYTES = 15 * 2 ** 20;

/** Whether a text fits into a message to the engine. */
export function fitsMessage(text: string): boolean {
	// A character takes at most six bytes in JSON, so only a long text has to be measured.
	return text.length * 6 <= MAX_TEXT_BYTES || new TextEncoder().encode(JSON.stringify(text)).length <= MAX_TEXT_BYTES;
}

export const DOCUMENT_SELECTOR: DocumentSelector = DOCUMENT_SCHEMES.map((scheme) => ({ scheme }));
