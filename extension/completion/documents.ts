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

export const DOCUMENT_SELECTOR: DocumentSelector = DOCUMENT_SCHEMES.map((scheme) => ({ scheme }));
