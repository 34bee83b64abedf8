// Opens what a model's answer links to.
import * as vscode from 'vscode';
import { followLink } from './followLink';
import type { FileCandidate } from './links';

export async function openLink(href: string): Promise<void> {
	const folders = vscode.workspace.workspaceFolders ?? [];
	/** The URI of a place, on the machine that has the workspace. */
	const uriOf = ({ path, folder }: FileCandidate) =>
		folders[folder ?? 0]?.uri.with({ path, query: '', fragment: '' }) ?? vscode.Uri.file(path);
	await followLink(href, {
		folders: folders.map(({ name, uri }) => ({ name, path: uri.path })),
		async typeOf(place) {
			try {
				const { type } = await vscode.workspace.fs.stat(uriOf(place));
				if (type & vscode.FileType.Directory) return 'folder';
				return type & vscode.FileType.File ? 'file' : undefined;
			} catch {
				return undefined;
			}
		},
		async openFile(place) {
			const selection = rangeOf(place);
			// Unlike a text editor, this command also opens pictures and other formats.
			await vscode.commands.executeCommand('vscode.open', uriOf(place), { ...(selection && { selection }) });
		},
		async showFolder(place) {
			await vscode.commands.executeCommand(
				place.folder === undefined ? 'revealFileInOS' : 'revealInExplorer',
				uriOf(place),
			);
		},
		async openExternal(address) {
			// VS Code asks the user before it opens a domain that is not trusted.
			await vscode.env.openExternal(vscode.Uri.parse(address));
		},
		async confirm(question) {
			const button = 'Open';
			return (await vscode.window.showWarningMessage(question, button)) === button;
		},
		warn(message) {
			void vscode.window.showWarningMessage(message);
		},
	});
}

/** The position of a line, or the range from a line to the end of the last line. */
function rangeOf({ line, column = 1, endLine }: FileCandidate): vscode.Range | undefined {
	if (line === undefined) return undefined;
	const start = new vscode.Position(line - 1, column - 1);
	return new vscode.Range(start, endLine === undefined ? start : new vscode.Position(endLine, 0));
}
