// The chat in the side bar. It holds the conversation, talks to the engine and tells the page what to show. The page
// may come and go (hidden, moved, reloaded) while an answer streams, so all state is here.
import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import { type ChatDelta, ChatProgress, ChatRequest, ForgetChatRequest } from '../../engine/protocol';
import type { AnswerTexts, ChatSnapshot, ChatToHost, ErrorAction, HostToChat } from '../../webview/messages';
import { setting } from '../configuration';
import type { EngineConnection } from '../connection/engineConnection';
import { describeError } from '../errors';
import { createNonce, webviewPage } from '../webviewPage';
import { attachDocument, attachSelection, EditorMemory, pickAttachment, suggestionOf } from './attachments';
import { type AttachedText, Conversation } from './conversation';
import { ConversationStore } from './conversationStore';
import { openLink } from './openLink';

const CHAT_VIEW = 'hearth.chat';

/**
 * Deltas are passed on at most this often. The page cannot show more than one state a frame, and each message has a
 * cost.
 */
const DELTA_MILLISECONDS = 33;
/** How often an answer that is still streaming is saved. */
const SAVE_MILLISECONDS = 3_000;

const ACTION_COMMANDS: Record<Exclude<ErrorAction, 'retry'>, string> = {
	'select-model': 'hearth.selectModel',
	'show-log': 'hearth.showLog',
	'restart-engine': 'hearth.restartEngine',
	'new-chat': 'hearth.newChat',
	'open-settings': 'hearth.openSettings',
};

interface Answering {
	cancellation: vscode.CancellationTokenSource;
	/** Passes on what has arrived since the last message to the page. */
	flush: () => void;
}

export class ChatView implements vscode.WebviewViewProvider, vscode.Disposable {
	readonly #extensionUri: vscode.Uri;
	readonly #engine: EngineConnection;
	readonly #store: ConversationStore;
	readonly #editors = new EditorMemory();
	readonly #subscriptions: vscode.Disposable[];
	#conversation: Conversation;
	#answering: Answering | undefined;
	#view: vscode.WebviewView | undefined;
	/** Whether the page listens: it has said `ready` since it was loaded. */
	#listening = false;
	#focusWhenReady = false;

	constructor(context: vscode.ExtensionContext, engine: EngineConnection) {
		this.#extensionUri = context.extensionUri;
		this.#engine = engine;
		this.#store = new ConversationStore(context.workspaceState);
		this.#conversation = this.#store.latest();
		this.#subscriptions = [
			this.#editors,
			vscode.window.registerWebviewViewProvider(CHAT_VIEW, this),
			engine.onDidChange((view) => this.#post({ type: 'engine', engine: view })),
			this.#editors.onDidChange(() => this.#postAttachments()),
			vscode.workspace.onDidChangeConfiguration((event) => {
				if (event.affectsConfiguration('hearth.chat')) this.#post({ type: 'settings', ...this.#settings });
			}),
			vscode.commands.registerCommand('hearth.focusChat', () => this.focus()),
			vscode.commands.registerCommand('hearth.newChat', () => this.newChat()),
			vscode.commands.registerCommand('hearth.showChatHistory', () => this.#showHistory()),
			vscode.commands.registerCommand('hearth.askAboutSelection', () => this.#askAboutSelection()),
			vscode.commands.registerCommand('hearth.attachFile', (uri?: vscode.Uri) => this.#attachFile(uri)),
		];
	}

	resolveWebviewView(view: vscode.WebviewView): void {
		const assets = vscode.Uri.joinPath(this.#extensionUri, 'dist', 'webview');
		this.#view = view;
		this.#listening = false;
		view.webview.options = { enableScripts: true, localResourceRoots: [assets] };
		view.webview.html = webviewPage({
			title: 'Hearth Chat',
			cspSource: view.webview.cspSource,
			scriptUri: view.webview.asWebviewUri(vscode.Uri.joinPath(assets, 'chat.js')).toString(),
			styleUri: view.webview.asWebviewUri(vscode.Uri.joinPath(assets, 'chat.css')).toString(),
			nonce: createNonce(),
		});
		view.webview.onDidReceiveMessage((message: ChatToHost) => this.#receive(message));
		view.onDidDispose(() => {
			this.#view = undefined;
			this.#listening = false;
		});
	}

	/** Shows the view and puts the cursor into the prompt. */
	async focus(): Promise<void> {
		this.#focusWhenReady = true;
		await vscode.commands.executeCommand(`${CHAT_VIEW}.focus`);
		if (this.#listening) this.#postFocus();
	}

	/** Puts the current conversation away and opens an empty one. */
	async newChat(): Promise<void> {
		await this.#switchTo(undefined);
		await this.focus();
	}

	dispose(): void {
		this.#answering?.cancellation.cancel();
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	async #receive(message: ChatToHost): Promise<void> {
		try {
			await this.#handle(message);
		} catch (error) {
			void vscode.window.showErrorMessage(`Hearth: ${error instanceof Error ? error.message : String(error)}`);
		}
	}

	async #handle(message: ChatToHost): Promise<void> {
		switch (message.type) {
			case 'ready':
				this.#listening = true;
				this.#postSnapshot();
				if (this.#focusWhenReady) this.#postFocus();
				return;
			case 'send':
				return this.#send(message.text, message.replaces);
			case 'stop':
				this.#answering?.cancellation.cancel();
				return;
			case 'regenerate':
				return this.#regenerate();
			case 'action':
				if (message.action === 'retry') return this.#regenerate();
				await vscode.commands.executeCommand(ACTION_COMMANDS[message.action]);
				return;
			case 'copy':
				await vscode.env.clipboard.writeText(message.text);
				this.#post({ type: 'copied', ok: true });
				return;
			case 'insert':
				return this.#insert(message.text);
			case 'open-link':
				return openLink(message.href);
			case 'attach':
				return this.#attach(message.what);
			case 'detach':
				this.#conversation.detach(message.id);
				this.#postAttachments();
				return;
			case 'reasoning-effort':
				await vscode.workspace
					.getConfiguration('hearth.chat')
					.update('reasoningEffort', message.effort, vscode.ConfigurationTarget.Global);
				return;
		}
	}

	async #send(text: string, replaces?: string): Promise<void> {
		if (this.#answering || text.trim() === '') return;
		const { answer } = this.#conversation.ask(text, replaces);
		this.#postSnapshot();
		await this.#answer(answer.id);
	}

	async #regenerate(): Promise<void> {
		if (this.#answering) return;
		const answer = this.#conversation.askAgain();
		if (!answer) return;
		this.#postSnapshot();
		await this.#answer(answer.id);
	}

	/** Streams the answer with this id into the conversation and to the page until it ends, is stopped or fails. */
	async #answer(id: string): Promise<void> {
		const conversation = this.#conversation;
		let added: AnswerTexts | undefined;
		let timer: NodeJS.Timeout | undefined;
		const flush = () => {
			clearTimeout(timer);
			timer = undefined;
			if (added && conversation === this.#conversation) this.#post({ type: 'delta', id, ...added });
			added = undefined;
		};
		const answering: Answering = { cancellation: new vscode.CancellationTokenSource(), flush };
		this.#answering = answering;
		void vscode.commands.executeCommand('setContext', 'hearth.chatUsed', true);
		await this.#store.save(conversation);

		const receive = (delta: ChatDelta) => {
			const more = conversation.append(id, delta, performance.now());
			if (!more) return;
			added = {
				reasoning: (added?.reasoning ?? '') + more.reasoning,
				preamble: (added?.preamble ?? '') + (more.preamble ?? ''),
				content: (added?.content ?? '') + more.content,
			};
			timer ??= setTimeout(flush, DELTA_MILLISECONDS);
		};
		const saving = setInterval(() => void this.#store.save(conversation), SAVE_MILLISECONDS);
		try {
			await this.#engine.settled(answering.cancellation.token, 'chat');
			const token = randomUUID();
			const result = await this.#engine.requestWithProgress(
				ChatRequest,
				{
					...conversation.params(),
					reasoningEffort: this.#engine.settings.chat.reasoningEffort,
					partialResultToken: token,
				},
				{ type: ChatProgress, token, report: receive },
				answering.cancellation.token,
			);
			conversation.finish(id, result);
		} catch (error) {
			const stopped = answering.cancellation.token.isCancellationRequested;
			conversation.interrupt(id, performance.now(), stopped ? undefined : describeError(error));
		} finally {
			clearInterval(saving);
			clearTimeout(timer);
			if (this.#answering === answering) this.#answering = undefined;
			answering.cancellation.dispose();
			await this.#store.save(conversation);
		}
		const entry = conversation.entries.find((candidate) => candidate.id === id);
		if (entry && conversation === this.#conversation) this.#post({ type: 'entry', entry });
	}

	async #attach(what: 'suggestion' | 'pick'): Promise<void> {
		const editor = this.#editors.editor;
		if (what === 'pick') return this.#add(await pickAttachment(editor));
		if (!editor) return;
		this.#add(editor.selection.isEmpty ? attachDocument(editor.document) : attachSelection(editor));
	}

	#add(attachment: AttachedText | undefined): void {
		if (!attachment) return;
		this.#conversation.attach(attachment);
		this.#postAttachments();
	}

	async #askAboutSelection(): Promise<void> {
		const editor = this.#editors.editor;
		if (!editor) {
			void vscode.window.showInformationMessage('Hearth: open a file and select some text first.');
			return;
		}
		this.#add(editor.selection.isEmpty ? attachDocument(editor.document) : attachSelection(editor));
		await this.focus();
	}

	async #attachFile(uri: vscode.Uri | undefined): Promise<void> {
		const target = uri ?? this.#editors.editor?.document.uri;
		if (!target) return;
		try {
			this.#add(attachDocument(await vscode.workspace.openTextDocument(target)));
			await this.focus();
		} catch (error) {
			void vscode.window.showErrorMessage(`Hearth: ${error instanceof Error ? error.message : String(error)}`);
		}
	}

	async #insert(text: string): Promise<void> {
		const editor = this.#editors.editor;
		if (!editor) {
			const document = await vscode.workspace.openTextDocument({ content: text });
			await vscode.window.showTextDocument(document);
			return;
		}
		// The editor makes the change itself: it is one undoable step and reaches every cursor and every selection.
		await editor.edit((edit) => {
			for (const selection of editor.selections) edit.replace(selection, text);
		});
		await vscode.window.showTextDocument(editor.document, {
			viewColumn: editor.viewColumn ?? vscode.ViewColumn.Active,
		});
	}

	async #showHistory(): Promise<void> {
		const remove: vscode.QuickInputButton = {
			iconPath: new vscode.ThemeIcon('trash'),
			tooltip: 'Delete this conversation',
		};
		interface Item extends vscode.QuickPickItem {
			conversation: Conversation;
		}
		const items = (): Item[] =>
			this.#store
				.list()
				.filter((conversation) => !conversation.isEmpty)
				.map((conversation) => ({
					conversation,
					label: conversation.title,
					description: new Date(conversation.createdAt).toLocaleString(),
					...(conversation.id === this.#conversation.id ? { detail: 'open now' } : { buttons: [remove] }),
				}));
		const pick = vscode.window.createQuickPick<Item>();
		pick.title = 'Chat history';
		pick.items = items();
		pick.placeholder = pick.items.length > 0 ? 'Open a conversation' : 'No conversations in this workspace yet';
		pick.onDidTriggerItemButton(async ({ item }) => {
			await this.#store.remove(item.conversation.id);
			this.#forget(item.conversation.id);
			pick.items = items();
		});
		pick.onDidAccept(async () => {
			const [item] = pick.selectedItems;
			pick.hide();
			if (!item || item.conversation.id === this.#conversation.id) return;
			await this.#switchTo(item.conversation);
			await this.focus();
		});
		pick.onDidHide(() => pick.dispose());
		pick.show();
	}

	/** @param next - the conversation to open; undefined opens a new one */
	async #switchTo(next: Conversation | undefined): Promise<void> {
		const previous = this.#conversation;
		if (!next && previous.isEmpty) return;
		this.#answering?.cancellation.cancel();
		this.#answering = undefined;
		this.#forget(previous.id);
		this.#conversation = next ?? new Conversation();
		await this.#store.open(this.#conversation);
		this.#postSnapshot();
	}

	/**
	 * Frees the engine's cache of a conversation that is put away. The engine reads the conversation anew when it is
	 * opened again.
	 */
	#forget(conversationId: string): void {
		const { state } = this.#engine.view;
		if (state !== 'ready' && state !== 'busy') return;
		this.#engine.request(ForgetChatRequest, { conversationId }).catch(() => {});
	}

	#post(message: HostToChat): void {
		if (this.#listening) void this.#view?.webview.postMessage(message);
	}

	#postFocus(): void {
		this.#focusWhenReady = false;
		this.#post({ type: 'focus' });
	}

	get #settings(): Pick<ChatSnapshot, 'reasoningEffort' | 'reasoningDisplay'> {
		return {
			reasoningEffort: this.#engine.settings.chat.reasoningEffort,
			reasoningDisplay: setting('chat.reasoningDisplay'),
		};
	}

	#postSnapshot(): void {
		// The snapshot holds these pieces already, so they must not be appended to it afterwards.
		this.#answering?.flush();
		const suggestion = suggestionOf(this.#editors.editor);
		const snapshot: ChatSnapshot = {
			entries: this.#conversation.shown(performance.now()),
			attachments: this.#conversation.attachments,
			...(suggestion && { suggestion }),
			engine: this.#engine.view,
			...this.#settings,
		};
		this.#post({ type: 'snapshot', snapshot });
	}

	#postAttachments(): void {
		const suggestion = suggestionOf(this.#editors.editor);
		this.#post({
			type: 'attachments',
			attachments: this.#conversation.attachments,
			...(suggestion && { suggestion }),
		});
	}
}
