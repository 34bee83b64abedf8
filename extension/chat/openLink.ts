// Opens what a model's answer links to.
import * as vscode from 'vscode';
import { candidatesOf, type FileCandidate, readLink } from './links';

/** Of an address in a message to the user. */
const MAX_SHOWN = 120;

/** Never rejects over what the link says: what cannot be opened is said. */
export async function openLink(href: string): Promise<void> {
	const target = readLink(href);
	switch (target.kind) {
		case 'nothing':
			return;
		case 'external':
			// VS Code asks before it opens a domain that is not trusted.
			await vscode.env.openExternal(vscode.Uri.parse(target.href));
			return;
		case 'refused':
			void vscode.window.showWarningMessage(
				`Hearth opens files, web pages and mail addresses that an answer links to, not ${shown(href)}.`,
			);
			return;
		case 'file': {
			const folders = vscode.workspace.workspaceFolders ?? [];
			const places = folders.map(({ name, uri }) => ({ name, path: uri.path }));
			for (const candidate of target.readings.flatMap((reading) => candidatesOf(reading, places))) {
				const uri = uriOf(candidate, folders);
				const type = await typeOf(uri);
				if (type === undefined) continue;
				if (candidate.folder === undefined && !(await confirmed(uri))) return;
				return open(uri, type, candidate);
			}
			void vscode.window.showWarningMessage(`There is no file ${shown(target.readings[0]!.path)}.`);
		}
	}
}

/** On the machine that the workspace is on. */
function uriOf({ path, folder }: FileCandidate, folders: readonly vscode.WorkspaceFolder[]): vscode.Uri {
	const beside = folders[folder ?? 0];
	return beside ? beside.uri.with({ path, query: '', fragment: '' }) : vscode.Uri.file(path);
}

/** Undefined: there is nothing to open. */
async function typeOf(uri: vscode.Uri): Promise<vscode.FileType | undefined> {
	try {
		const { type } = await vscode.workspace.fs.stat(uri);
		return type & (vscode.FileType.File | vscode.FileType.Directory) ? type : undefined;
	} catch {
		return undefined;
	}
}

async function confirmed(uri: vscode.Uri): Promise<boolean> {
	const button = 'Open';
	const question = `The answer links to ${shown(uri.fsPath)}, which is not in this workspace.`;
	return (await vscode.window.showWarningMessage(question, button)) === button;
}

async function open(
	uri: vscode.Uri,
	type: vscode.FileType,
	{ line, column = 1, endLine }: FileCandidate,
): Promise<void> {
	if (type & vscode.FileType.Directory) {
		await vscode.commands.executeCommand('revealInExplorer', uri);
		return;
	}
	// The end of a range is the end of its last line.
	const end = endLine === undefined ? undefined : new vscode.Position(endLine, 0);
	const start = line === undefined ? undefined : new vscode.Position(line - 1, column - 1);
	await vscode.commands.executeCommand('vscode.open', uri, {
		...(start && { selection: new vscode.Range(start, end ?? start) }),
	});
}

function shown(text: string): string {
	const line = text.replace(/\s+/g, ' ').trim();
	return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN - 1)}…` : line;
}
