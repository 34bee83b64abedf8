// Choosing a model: the command, the check by loading it, and the one message shown when there is none.
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import { LoadModelRequest } from '../../engine/protocol';
import type { Engine } from '../connection/engine';
import { describeError } from '../errors';
import { formatBytes } from '../status/statusText';
import { chooseFolder, convertFolder } from './convertFolder';
import { addRecent, cleanPath } from './recentModels';

const RECENT_KEY = 'hearth.recentModels';
const NO_PROMPT_KEY = 'hearth.noModelPromptDisabled';
const WALKTHROUGH = 'hearth.hearth#hearth.start';

interface ModelItem extends vscode.QuickPickItem {
	choose: () => Promise<string | undefined> | string;
}

export class Models implements vscode.Disposable {
	readonly #context: vscode.ExtensionContext;
	readonly #engine: Engine;
	readonly #subscriptions: vscode.Disposable[];
	#reportedError: string | undefined;
	/** A model is being tried: its failure is told there. */
	#trying = false;

	constructor(context: vscode.ExtensionContext, engine: Engine) {
		this.#context = context;
		this.#engine = engine;
		this.#subscriptions = [
			vscode.commands.registerCommand('hearth.selectModel', () => this.#select()),
			vscode.commands.registerCommand('hearth.openWalkthrough', () => openWalkthrough()),
			engine.onDidChange((view) => {
				void vscode.commands.executeCommand(
					'setContext',
					'hearth.modelReady',
					view.state === 'ready' || view.state === 'busy',
				);
				if (view.state === 'error') this.#report(view.message ?? 'The engine reported an error.');
				// The model of the settings could not be loaded, and the one in use was kept.
				else if (view.state === 'ready' && view.message !== undefined) this.#report(view.message);
				else if (view.state === 'ready') this.#reportedError = undefined;
			}),
		];
	}

	/** Says once per window, until the user asks it not to, that a model has to be chosen. */
	async promptWithoutModel(): Promise<void> {
		if (this.#engine.settings.modelPath !== '' || this.#context.globalState.get<boolean>(NO_PROMPT_KEY)) return;
		const choice = await vscode.window.showInformationMessage(
			'Hearth needs a model file (GGUF) of gpt-oss to complete code and to chat. It runs on this machine alone.',
			'Select Model…',
			'How to Get One',
			'Don’t Ask Again',
		);
		if (choice === 'Select Model…') await this.#select();
		if (choice === 'How to Get One') await openWalkthrough();
		if (choice === 'Don’t Ask Again') await this.#context.globalState.update(NO_PROMPT_KEY, true);
	}

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	async #select(): Promise<void> {
		const choice = await vscode.window.showQuickPick(this.#items(), {
			title: 'Select a model',
			placeHolder: 'A GGUF file of gpt-oss-20b or gpt-oss-120b',
			matchOnDescription: true,
		});
		const file = await choice?.choose();
		if (file) await this.#use(file);
	}

	#items(): (ModelItem | (vscode.QuickPickItem & { choose: () => string }))[] {
		const current = this.#engine.settings.modelPath;
		const recent = this.#recent.filter((file) => existsSync(file));
		return [
			{ label: '$(folder-opened) Browse…', description: 'choose a .gguf file', choose: browse },
			{
				...{ label: '$(folder) Convert a Hugging Face folder…', description: 'config.json and safetensors' },
				choose: chooseFolder,
			},
			{ label: '$(edit) Enter a path…', description: 'type or paste it', choose: enterPath },
			...(recent.length > 0 ? [{ label: 'Recent', kind: vscode.QuickPickItemKind.Separator, choose: () => '' }] : []),
			...recent.map((file) => ({
				label: path.basename(file),
				description: path.dirname(file),
				...(file === current && { detail: '$(check) in use' }),
				choose: () => file,
			})),
		];
	}

	get #recent(): string[] {
		return this.#context.globalState.get<string[]>(RECENT_KEY, []);
	}

	/** Converts a folder, loads the model, which checks it, and keeps it in the settings when it can be used. */
	async #use(chosen: string): Promise<void> {
		this.#trying = true;
		let file = chosen;
		try {
			if (statSync(chosen, { throwIfNoEntry: false })?.isDirectory()) {
				const converted = await convertFolder(this.#engine, chosen);
				if (converted === undefined) return;
				file = converted;
			}
			const model = await vscode.window.withProgress(
				{ location: vscode.ProgressLocation.Notification, title: `Loading ${path.basename(file)}` },
				() => this.#engine.request(LoadModelRequest, { path: file }),
			);
			await this.#context.globalState.update(RECENT_KEY, addRecent(this.#recent, file));
			await vscode.workspace.getConfiguration('hearth').update('modelPath', file, vscode.ConfigurationTarget.Global);
			void vscode.window.showInformationMessage(
				`${model.name} is ready (${formatBytes(model.fileBytes)}, loaded in ${(model.loadMilliseconds / 1000).toFixed(1)} s).`,
			);
		} catch (error) {
			// The engine's status says the same in a moment.
			this.#reportedError = error instanceof Error ? error.message : String(error);
			const { message } = describeError(error);
			void this.#showLoadError(message.includes(file) ? message : `${file}: ${message}`);
		} finally {
			this.#trying = false;
		}
	}

	/** Tells of a model that could not be loaded at start or after a change of settings; of each error once. */
	#report(message: string): void {
		if (this.#trying || message === this.#reportedError) return;
		this.#reportedError = message;
		void this.#showLoadError(message);
	}

	async #showLoadError(message: string): Promise<void> {
		const choice = await vscode.window.showErrorMessage(`Hearth: ${message}`, 'Select Model…', 'Show Log');
		if (choice === 'Select Model…') await this.#select();
		if (choice === 'Show Log') this.#engine.log.show();
	}
}

async function openWalkthrough(): Promise<void> {
	await vscode.commands.executeCommand('workbench.action.openWalkthrough', WALKTHROUGH, false);
}

async function browse(): Promise<string | undefined> {
	const [uri] =
		(await vscode.window.showOpenDialog({
			title: 'Select a model',
			openLabel: 'Use Model',
			filters: { 'GGUF models': ['gguf'], 'All files': ['*'] },
		})) ?? [];
	return uri?.fsPath;
}

async function enterPath(): Promise<string | undefined> {
	const typed = await vscode.window.showInputBox({
		title: 'Path of the model',
		prompt: 'Path of a .gguf file, or of a Hugging Face folder, on the machine the extension runs on',
		placeHolder: path.join(homedir(), 'models', 'gpt-oss-20b.gguf'),
		ignoreFocusOut: true,
		validateInput: (value) => {
			const file = cleanPath(value, homedir());
			if (file === '') return undefined;
			if (!path.isAbsolute(file)) return 'Enter an absolute path.';
			return existsSync(file) ? undefined : 'There is no such file.';
		},
	});
	return typed && cleanPath(typed, homedir());
}
