// Inline completions on the editor's side: whether to ask the engine, when to ask it, and what became of its answers.
import * as vscode from 'vscode';
import type { Middleware } from 'vscode-languageclient/node';
import { setting } from '../configuration';
import type { EngineConnection } from '../connection/engineConnection';
import { DOCUMENT_SCHEMES } from './documents';
import { canAsk, languageEnabled, toggleLanguage } from './enablement';
import { type ExplainAction, explainCompletion } from './explain';
import { type EditorFormatting, withFormatting } from './formatting';

const ACCEPTED_COMMAND = 'hearth.completionAccepted';

const EXPLAIN_BUTTONS: Record<ExplainAction, { label: string; command: string }> = {
	'toggle-completions': { label: 'Turn On', command: 'hearth.toggleCompletions' },
	'toggle-language': { label: 'Turn On for This Language', command: 'hearth.toggleCompletionsForLanguage' },
	'enable-inline-suggest': { label: 'Turn On', command: 'hearth.enableInlineSuggest' },
	'select-model': { label: 'Select Model…', command: 'hearth.selectModel' },
	'restart-engine': { label: 'Restart Engine', command: 'hearth.restartEngine' },
	'show-log': { label: 'Show Log', command: 'hearth.showLog' },
	trigger: { label: 'Ask Now', command: 'editor.action.inlineSuggest.trigger' },
};

type Provide = NonNullable<Middleware['provideInlineCompletionItems']>;
type Send = NonNullable<Middleware['sendRequest']>;

export class Completions implements vscode.Disposable {
	readonly #changed = new vscode.EventEmitter<void>();
	readonly #subscriptions: vscode.Disposable[];
	#canAsk = false;
	#pending = 0;
	#shown = 0;
	#accepted = 0;
	#lastError: string | undefined;

	/** Fires when completions are turned on or off and when the counts change. */
	readonly onDidChange = this.#changed.event;

	constructor() {
		this.#subscriptions = [
			this.#changed,
			vscode.workspace.onDidChangeConfiguration((event) => {
				if (event.affectsConfiguration('hearth.completions')) this.#changed.fire();
			}),
			vscode.commands.registerCommand(ACCEPTED_COMMAND, () => {
				this.#accepted++;
				this.#changed.fire();
				void vscode.commands.executeCommand('setContext', 'hearth.completionAccepted', true);
			}),
			vscode.commands.registerCommand('hearth.toggleCompletions', () => this.#toggle()),
			vscode.commands.registerCommand('hearth.toggleCompletionsForLanguage', () => this.#toggleLanguage()),
			vscode.commands.registerCommand('hearth.enableInlineSuggest', () =>
				vscode.workspace
					.getConfiguration('editor')
					.update('inlineSuggest.enabled', true, vscode.ConfigurationTarget.Global),
			),
		];
	}

	/**
	 * Lets the command "Why No Suggestion?" look at the engine. The engine cannot be passed to the constructor because it
	 * is itself made with {@link provide} of this object.
	 */
	attach(engine: EngineConnection): void {
		this.#subscriptions.push(
			vscode.commands.registerCommand('hearth.whyNoSuggestion', () => this.#explain(engine)),
			engine.onDidChange((view) => {
				this.#canAsk = canAsk(view.state, this.#canAsk, view.status);
			}),
		);
	}

	get enabled(): boolean {
		return setting('completions.enabled');
	}

	/** How many suggestions the editor got and how many the user accepted since this window opened. */
	get counts(): { shown: number; accepted: number } {
		return { shown: this.#shown, accepted: this.#accepted };
	}

	/** Whether completions are on for the language of this document. Without a document: whether they are on at all. */
	enabledFor(document: vscode.TextDocument | undefined): boolean {
		if (!this.enabled) return false;
		return document ? languageEnabled(setting('completions.languages', document), document.languageId) : true;
	}

	/** Middleware of the language client. It decides before any request leaves the editor. */
	readonly provide: Provide = async (document, position, context, token, next) => {
		if (!this.#canAsk || !this.enabledFor(document)) return undefined;
		// A completion asked for by a command comes at once. While the user types, VS Code's own delay is enough: the
		// engine cancels a request that further typing makes useless within one step, and the prompt that it has read stays
		// in the cache.
		if (context.triggerKind === vscode.InlineCompletionTriggerKind.Automatic) {
			await pause(setting('completions.delay', document), token);
		}
		if (token.isCancellationRequested) return undefined;
		this.#pending++;
		try {
			const result = await next(document, position, context, token);
			this.#lastError = undefined;
			const items = Array.isArray(result) ? result : (result?.items ?? []);
			if (items.length > 0) {
				this.#shown++;
				this.#changed.fire();
			}
			for (const item of items) item.command = { command: ACCEPTED_COMMAND, title: '' };
			return items;
		} catch (error) {
			// The client logs failures. A message at every keystroke would help nobody.
			if (!token.isCancellationRequested && !(error instanceof vscode.CancellationError)) {
				this.#lastError = error instanceof Error ? error.message : String(error);
			}
			return undefined;
		} finally {
			this.#pending--;
		}
	};

	/** Middleware of the language client. It tells the engine how the editor indents. */
	readonly send: Send = (type, parameters, token, next) =>
		next(type, withFormatting(typeof type === 'string' ? type : type.method, parameters, editorsFormatting), token);

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	async #toggle(): Promise<void> {
		const enabled = !this.enabled;
		await configuration().update('enabled', enabled, targetOf('enabled'));
		void vscode.window.setStatusBarMessage(`Hearth completions are ${enabled ? 'on' : 'off'}.`, 4000);
	}

	async #toggleLanguage(): Promise<void> {
		const document = vscode.window.activeTextEditor?.document;
		if (!document) {
			void vscode.window.showInformationMessage(
				'Open a file first: completions are turned on and off for its language.',
			);
			return;
		}
		const changed = toggleLanguage(setting('completions.languages', document), document.languageId);
		await configuration().update('languages', changed, targetOf('languages'));
		const toggled = languageEnabled(changed, document.languageId);
		void vscode.window.setStatusBarMessage(
			`Hearth completions are ${toggled ? 'on' : 'off'} for ${document.languageId}.`,
			4000,
		);
	}

	async #explain(engine: EngineConnection): Promise<void> {
		const document = vscode.window.activeTextEditor?.document;
		const explanation = explainCompletion({
			...(document && {
				document: {
					languageId: document.languageId,
					scheme: document.uri.scheme,
					schemeSupported: (DOCUMENT_SCHEMES as readonly string[]).includes(document.uri.scheme),
				},
			}),
			inlineSuggestEnabled: vscode.workspace.getConfiguration('editor', document).get('inlineSuggest.enabled', true),
			enabled: this.enabled,
			languageEnabled: this.enabledFor(document),
			engine: engine.view,
			pending: this.#pending > 0,
			...(this.#lastError !== undefined && { lastError: this.#lastError }),
		});
		const button = explanation.action && EXPLAIN_BUTTONS[explanation.action];
		const choice = await vscode.window.showInformationMessage(
			`Hearth: ${explanation.text}`,
			...(button ? [button.label] : []),
		);
		if (button && choice === button.label) await vscode.commands.executeCommand(button.command);
	}
}

function editorsFormatting(): EditorFormatting[] {
	return vscode.window.visibleTextEditors.map(({ document, options }) => ({
		uri: document.uri.toString(),
		tabSize: options.tabSize,
		insertSpaces: options.insertSpaces,
	}));
}

function configuration(): vscode.WorkspaceConfiguration {
	return vscode.workspace.getConfiguration('hearth.completions');
}

/** Where a change takes effect. A value in the workspace's settings would hide a change of the user's settings. */
function targetOf(key: string): vscode.ConfigurationTarget {
	return configuration().inspect(key)?.workspaceValue === undefined
		? vscode.ConfigurationTarget.Global
		: vscode.ConfigurationTarget.Workspace;
}

function pause(milliseconds: number, token: vscode.CancellationToken): Promise<void> {
	return new Promise((resolve) => {
		const done = () => {
			clearTimeout(timer);
			listening.dispose();
			resolve();
		};
		const timer = setTimeout(done, milliseconds);
		const listening = token.onCancellationRequested(done);
	});
}
