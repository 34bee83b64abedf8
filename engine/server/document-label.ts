// The name of a document in the model's prompt.
import path from 'node:path';
import type { WorkspaceFolder } from 'vscode-languageserver';

/** A document's path in its workspace folder, or its file name. The label is a single line, whatever the URI holds. */
export function documentLabel(uri: string, folders: readonly WorkspaceFolder[]): string {
	const file = decodedPath(uri);
	for (const folder of folders) {
		const root = decodedPath(folder.uri).replace(/\/$/, '');
		if (file.startsWith(`${root}/`)) return oneLine(file.slice(root.length + 1));
	}
	return oneLine(path.posix.basename(file));
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
