// What the user can attach to a chat message: the active file, the selection, open editors and files of the workspace.
import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import type { ChatSnapshot } from '../../webview/messages';
import { DOCUMENT_SCHEMES } from '../completion/documents';
import type { AttachedText } from './conversation';

/** A larger file would not fit the context of any model that runs here. */
const MAX_CHARACTERS = 400_000;

/**
 * Remembers the last text editor that was active. A click into the chat takes the focus away from that editor, but the
 * user still means it.
 */
export class EditorMemory implements vscode.Disposable {
	readonly #changed = new vscode.EventEmitter<void>();
	readonly #subscriptions: vscode.Disposable[];
	#editor: vscode.TextEditor | undefined;
	readonly onDidChange = this.#changed.event;

	constructor() {
		this.#remember(vscode.window.activeTextEditor);
		this.#subscriptions = [
			this.#changed,
			vscode.window.onDidChangeActiveTextEditor((editor) => {
				this.#remember(editor);
				this.#changed.fire();
			}),
			vscode.window.onDidChangeVisibleTextEditors(() => this.#changed.fire()),
			vscode.window.onDidChangeTextEditorSelection(({ textEditor }) => {
				if (textEditor === this.editor) this.#changed.fire();
			}),
		];
	}

	get editor(): vscode.TextEditor | undefined {
		return this.#editor && vscode.window.visibleTextEditors.includes(this.#editor) ? this.#editor : undefined;
	}

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	#remember(editor: vscode.TextEditor | undefined): void {
		if (editor && isUserText(editor.document)) this.#editor = editor;
	}
}

/** What one click would attach: the selection if there is one, else the file. */
export function suggestionOf(editor: vscode.TextEditor | undefined): ChatSnapshot['suggestion'] {
	if (!editor) return undefined;
	return editor.selection.isEmpty
		? { kind: 'file', label: labelOf(editor.document) }
		: { kind: 'selection', label: labelOf(editor.document, editor.selection) };
}

/**
 * Attaches the selection and names its lines.
 * @throws Error when nothing is selected
 */
export function attachSelection(editor: vscode.TextEditor): AttachedText {
	if (editor.selection.isEmpty) throw new Error('Select some text first.');
	return attach(editor.document, editor.selection);
}

/**
 * Attaches a whole document.
 * @throws Error that names the limit when the document is too long
 */
export function attachDocument(document: vscode.TextDocument): AttachedText {
	return attach(document);
}

/** Lets the user choose among the editor's selection, the open editors and all files. */
export async function pickAttachment(editor: vscode.TextEditor | undefined): Promise<AttachedText | undefined> {
	interface Item extends vscode.QuickPickItem {
		attach?: () => Promise<AttachedText | undefined> | AttachedText;
	}
	const items: Item[] = [];
	if (editor && !editor.selection.isEmpty) {
		items.push({
			label: '$(list-selection) Selection',
			description: labelOf(editor.document, editor.selection),
			attach: () => attachSelection(editor),
		});
	}
	if (editor) {
		items.push({
			label: '$(file) Current file',
			description: labelOf(editor.document),
			attach: () => attachDocument(editor.document),
		});
	}
	items.push({ label: '$(folder-opened) Choose a file…', attach: chooseFile });
	const open = openDocumentUris();
	if (open.length > 0) items.push({ label: 'Open editors', kind: vscode.QuickPickItemKind.Separator });
	for (const uri of open) {
		items.push({
			label: vscode.workspace.asRelativePath(uri),
			attach: async () => attachDocument(await vscode.workspace.openTextDocument(uri)),
		});
	}
	const choice = await vscode.window.showQuickPick(items, {
		title: 'Add context to the chat',
		matchOnDescription: true,
	});
	return choice?.attach?.();
}

async function chooseFile(): Promise<AttachedText | undefined> {
	const [uri] = (await vscode.window.showOpenDialog({ title: 'Add a file to the chat', openLabel: 'Add' })) ?? [];
	return uri && attachDocument(await vscode.workspace.openTextDocument(uri));
}

function openDocumentUris(): vscode.Uri[] {
	const uris = new Map<string, vscode.Uri>();
	for (const group of vscode.window.tabGroups.all) {
		for (const { input } of group.tabs) {
			if (input instanceof vscode.TabInputText) uris.set(input.uri.toString(), input.uri);
		}
	}
	return [...uris.values()];
}

function attach(document: vscode.TextDocument, range?: vscode.Range): AttachedText {
	const text = document.getText(range);
	const label = labelOf(document, range);
	if (text.length > MAX_CHARACTERS) {
		throw new Error(`${label} is too long to attach. Select the part that matters and attach that.`);
	}
	return { id: randomUUID(), label, languageId: document.languageId, text };
}

function labelOf(document: vscode.TextDocument, range?: vscode.Range): string {
	const name = document.isUntitled ? document.fileName : vscode.workspace.asRelativePath(document.uri, false);
	if (!range) return name;
	const first = range.start.line + 1;
	const last = range.end.line + 1;
	return first === last ? `${name}:${first}` : `${name}:${first}-${last}`;
}

function isUserText(document: vscode.TextDocument): boolean {
	return (DOCUMENT_SCHEMES as readonly string[]).includes(document.uri.scheme);
}
