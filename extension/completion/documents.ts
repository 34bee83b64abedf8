// Which documents the engine sees: what a user edits as text, wherever it is stored. Output and log panes, commit message
// boxes, diffs of other revisions and search results are left out.
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

/** Of a text in a message: the engine takes 16 MiB with all that is around it. */
const MAX_TEXT_BYTES = 15 * 2 ** 20;

/** Whether a text fits into a message to the engine. */
export function fitsMessage(text: string): boolean {
	// In JSON a character takes six bytes at most; only a long text is looked at more closely.
	return text.length * 6 <= MAX_TEXT_BYTES || new TextEncoder().encode(JSON.stringify(text)).length <= MAX_TEXT_BYTES;
}

export const DOCUMENT_SELECTOR: DocumentSelector = DOCUMENT_SCHEMES.map((scheme) => ({ scheme }));
