// Where a document lies, by its URI, and its name in the model's prompt.
import path from 'node:path';
import type { WorkspaceFolder } from 'vscode-languageserver';
import type { DocumentLocation } from '../completion/document-location';

/** A document's path in its workspace folder, or its file name. The label is a single line, whatever the URI holds. */
export function documentLabel({ path: file, folders: [root] }: DocumentLocation): string {
	return oneLine(root === undefined ? path.posix.basename(file) : file.slice(root.length + 1));
}

export function documentLocation(uri: string, folders: readonly WorkspaceFolder[]): DocumentLocation {
	const file = decodedPath(uri);
	const roots = folders.map((folder) => decodedPath(folder.uri).replace(/\/$/, ''));
	return {
		path: file,
		folders: roots.filter((root) => file.startsWith(`${root}/`)),
		// A URI that names a computer is a Windows share, whose path is more than the URI's.
		onDisk: /^file:(?:\/\/(?:localhost)?)?\/(?!\/)/i.test(uri),
	};
}

function decodedPath(uri: string): string {
	const encoded = uri.replace(/^[a-z][\w+.-]*:(?:\/\/[^/]*)?/i, '').replace(/[?#].*$/s, '');
	// Editors disagree on the case of a Windows drive's letter.
	return decoded(encoded).replace(/^\/[A-Z]:/, (drive) => drive.toLowerCase());
}

function decoded(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

function oneLine(text: string): string {
	return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ');
}
