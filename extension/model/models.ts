// Lets the user choose a model: the command, the check by loading it, and the one message that is shown when there is
// no model.
import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import {
	type CatalogueModel,
	type ConvertModelResult,
	ErrorCode,
	type FoundModel,
	ListModelsRequest,
	type LoadModelParams,
	LoadModelRequest,
	type MemoryShortage,
	type ModelList,
} from '../../engine/protocol';
import { formatBytes } from '../../engine/units';
import type { EngineConnection } from '../connection/engineConnection';
import { modelFolders } from '../connection/settings';
import { describeError } from '../errors';
import { chooseFolder, convertFolder } from './convertFolder';
import { Downloads } from './downloads';
import { byUsefulness, foundRow, memoryChoices, offeredRow } from './modelItems';
import { type ModelPaths, type RoleChoice, roleChoices, roleInSettings } from './modelRole';
import { addRecent, cleanPath } from './recentModels';

const RECENT_KEY = 'hearth.recentModels';
const NO_PROMPT_KEY = 'hearth.noModelPromptDisabled';
const WALKTHROUGH = 'hearth.hearth#hearth.start';

/**
 * A row of the list. `choose` resolves with the file to load. It resolves without one when it has already done all
 * there was to do.
 */
interface ModelItem extends vscode.QuickPickItem {
	choose?: () => Promise<string | undefined> | string;
}

const FILE_ITEMS: ModelItem[] = [
	{ label: '$(folder-opened) Browse…', description: 'choose a .gguf file', choose: browse },
	{
		label: '$(folder) Convert a Hugging Face folder…',
		description: 'config.json and safetensors',
		choose: chooseFolder,
	},
	{ label: '$(edit) Enter a path…', description: 'type or paste it', choose: enterPath },
];

type LoadParams = Pick<LoadModelParams, 'memoryLimit' | 'settings'>;

export class Models implements vscode.Disposable {
	readonly #context: vscode.ExtensionContext;
	readonly #engine: EngineConnection;
	readonly #downloads: Downloads;
	readonly #subscriptions: vscode.Disposable[];
	#reportedError: string | undefined;
	/** Whether a model is being tried. Whoever tries it reports its failure. */
	#trying = false;

	constructor(context: vscode.ExtensionContext, engine: EngineConnection) {
		this.#context = context;
		this.#engine = engine;
		this.#downloads = new Downloads(context, engine, (file, { name }) => this.#downloaded(file, name));
		this.#subscriptions = [
			this.#downloads,
			vscode.commands.registerCommand('hearth.selectModel', () => this.#select()),
			vscode.commands.registerCommand('hearth.downloadModel', () => this.#select({ onlyDownloads: true })),
			vscode.commands.registerCommand('hearth.openWalkthrough', () => openWalkthrough()),
			engine.onDidChange((view) => {
				void vscode.commands.executeCommand(
					'setContext',
					'hearth.modelReady',
					view.state === 'ready' || view.state === 'busy' || view.state === 'unloaded',
				);
				const shortage = view.status?.shortage;
				if (view.state === 'error') this.#report(view.message ?? 'The engine reported an error.', shortage);
				// The model of the settings could not be loaded, and the engine kept the model in use.
				else if (view.state === 'ready' && view.message !== undefined) this.#report(view.message, shortage);
				else if (view.state === 'ready') this.#reportedError = undefined;
			}),
		];
	}

	/** After a restart: continues the download that was begun if the user wants that. */
	offerUnfinishedDownload(): Promise<void> {
		return this.#downloads.offerUnfinished();
	}

	/** Says once per window that a model has to be chosen, until the user asks not to be told again. */
	async promptWithoutModel(): Promise<void> {
		if (this.#engine.settings.modelPath !== '' || this.#context.globalState.get<boolean>(NO_PROMPT_KEY)) return;
		const choice = await vscode.window.showInformationMessage(
			'Hearth needs a model file (GGUF) to complete code and to chat. It runs on this machine alone.',
			'Select Model…',
			'Download…',
			'Don’t Ask Again',
		);
		if (choice === 'Select Model…') await this.#select();
		if (choice === 'Download…') await this.#select({ onlyDownloads: true });
		if (choice === 'Don’t Ask Again') await this.#context.globalState.update(NO_PROMPT_KEY, true);
	}

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	/** Shows the list. Entries that are known at once appear at once; what the engine finds is added when it arrives. */
	async #select({ onlyDownloads = false } = {}): Promise<void> {
		const picker = vscode.window.createQuickPick<ModelItem>();
		picker.title = onlyDownloads ? 'Download a model' : 'Select a model';
		picker.placeholder = 'Looking for models on this machine…';
		picker.matchOnDescription = true;
		picker.matchOnDetail = true;
		picker.keepScrollPosition = true;
		picker.items = onlyDownloads ? [] : [...FILE_ITEMS, ...this.#recentItems([])];
		picker.busy = true;
		const listing = new vscode.CancellationTokenSource();
		void this.#list(listing.token).then(
			(list) => {
				picker.items = onlyDownloads ? this.#offeredItems(list) : this.#allItems(list);
				picker.placeholder = onlyDownloads
					? 'Nothing is fetched before you agree'
					: 'A model of this machine, or one to download';
				picker.busy = false;
			},
			(error) => {
				if (listing.token.isCancellationRequested) return;
				this.#engine.log.error(`Looking for models: ${describeError(error).message}`);
				picker.placeholder = `Models could not be listed: ${describeError(error).message}`;
				picker.busy = false;
			},
		);
		const chosen = await new Promise<ModelItem | undefined>((resolve) => {
			picker.onDidAccept(() => resolve(picker.selectedItems[0]));
			picker.onDidHide(() => resolve(undefined));
			picker.show();
		});
		listing.cancel();
		picker.dispose();
		const file = await chosen?.choose?.();
		if (file) await this.#use(file);
	}

	#list(token: vscode.CancellationToken): Promise<ModelList> {
		const configuration = vscode.workspace.getConfiguration('hearth');
		return this.#engine.request(
			ListModelsRequest,
			modelFolders((key) => configuration.get(key), homedir()),
			token,
		);
	}

	/**
	 * All rows. The first rows keep their places: if the list moved under the mouse, the user would click the wrong row.
	 */
	#allItems(list: ModelList): ModelItem[] {
		const found = [...list.found].sort(byUsefulness);
		const offered = this.#offeredItems(list);
		return [
			...FILE_ITEMS,
			...(found.length > 0 ? [separator('On this machine')] : []),
			...found.map((model) => this.#foundItem(model, list)),
			...this.#recentItems(found),
			...(offered.length > 0 ? [separator('Download…'), ...offered] : []),
		];
	}

	#foundItem(model: FoundModel, { memory }: ModelList): ModelItem {
		return {
			...foundRow(model, memory, model.path === this.#engine.settings.modelPath),
			choose: () => {
				if (model.problem === undefined) return model.path;
				void vscode.window.showWarningMessage(`${model.name} cannot be run: ${model.problem}.`);
				return '';
			},
		};
	}

	/** Models that can be downloaded and are not here yet. */
	#offeredItems(list: ModelList): ModelItem[] {
		return list.catalogue
			.filter(({ path: there, unverified }) => there === undefined || unverified)
			.map((model: CatalogueModel) => ({
				...offeredRow(model, list.memory),
				choose: async () => {
					if (model.problem === undefined) await this.#downloads.offer(model, list);
					else void vscode.window.showWarningMessage(`${model.name} cannot be run: ${model.problem}.`);
					return undefined;
				},
			}));
	}

	/** Files chosen before that the engine did not find by itself. */
	#recentItems(found: FoundModel[]): ModelItem[] {
		const current = this.#engine.settings.modelPath;
		const recent = this.#recent.filter((file) => existsSync(file) && !found.some((model) => model.path === file));
		return [
			...(recent.length > 0 ? [separator('Recent')] : []),
			...recent.map((file) => ({
				label: path.basename(file),
				description: path.dirname(file),
				...(file === current && { detail: '$(check) in use' }),
				choose: () => file,
			})),
		];
	}

	/** A model has arrived. The first model is taken into use; any other model only if the user wants it. */
	async #downloaded(file: string, name: string): Promise<void> {
		if (this.#engine.settings.modelPath === '') return this.#use(file);
		const choice = await vscode.window.showInformationMessage(`${name} is complete and verified.`, 'Use Model');
		if (choice) await this.#use(file);
	}

	get #recent(): string[] {
		return this.#context.globalState.get<string[]>(RECENT_KEY, []);
	}

	/**
	 * Loads the model, which checks it, and keeps it in the settings when it can be used. When there is not enough memory
	 * now, the model is loaded only if the user wants it all the same.
	 */
	async #use(
		file: string,
		{ memoryLimit = 'available', settings }: Partial<LoadParams> = {},
		choice?: RoleChoice,
	): Promise<void> {
		if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) {
			const converted = await this.#convert(file);
			if (converted?.draftHead) await this.#useDraft(converted.path);
			else if (converted) await this.#use(converted.path, { memoryLimit, ...(settings && { settings }) }, choice);
			return;
		}
		const chosen = choice ?? (await askRole(file, this.#engine.settings));
		if (!chosen) return;
		const { role, changes } = chosen;
		if (!role) {
			await this.#engine.changeSettings({ ...changes });
			return;
		}
		this.#trying = true;
		let shortage: MemoryShortage | undefined;
		try {
			const model = await vscode.window.withProgress(
				{ location: vscode.ProgressLocation.Notification, title: `Loading ${path.basename(file)}` },
				() =>
					this.#engine.request(LoadModelRequest, {
						...{ path: file, role, memoryLimit },
						settings: { ...settings, ...changes },
					}),
			);
			await this.#context.globalState.update(RECENT_KEY, addRecent(this.#recent, file));
			await this.#engine.changeSettings({ ...settings, ...changes });
			void vscode.window.showInformationMessage(
				`${model.name} is ready (${formatBytes(model.fileBytes)}, loaded in ${(model.loadMilliseconds / 1000).toFixed(1)} s).`,
			);
		} catch (error) {
			// The engine's status will carry the same error in a moment; the user must not be told twice.
			this.#reportedError = error instanceof Error ? error.message : String(error);
			shortage = shortageOf(error);
			const { message } = describeError(error);
			if (!shortage) void this.#showLoadError(message.includes(file) ? message : `${file}: ${message}`);
		} finally {
			this.#trying = false;
		}
		if (shortage) await this.#askForMemory(shortage, { modal: true, choice: chosen });
	}

	/** Lets the user choose what to do about a model that needs too much memory. */
	async #askForMemory(
		shortage: MemoryShortage,
		{ modal, choice: chosen }: { modal: boolean; choice?: RoleChoice },
	): Promise<void> {
		const { message, detail, choices } = memoryChoices(shortage);
		const label = await vscode.window.showWarningMessage(
			message,
			modal ? { modal, detail } : {},
			...choices.map((choice) => choice.label),
		);
		const choice = choices.find((candidate) => candidate.label === label);
		const { path: file } = shortage;
		if (choice?.load) await this.#use(file, choice.load, chosen ?? roleInSettings(file, this.#engine.settings));
		else if (choice) await this.#select();
	}

	/** Lets a draft head draft for the model in use. The engine loads that model again for it. */
	async #useDraft(file: string): Promise<void> {
		await this.#engine.changeSettings({ draftModelPath: file });
		void vscode.window.showInformationMessage(`${path.basename(file)} guesses ahead for your model from now on.`);
	}

	/**
	 * Makes a model file of a Hugging Face folder. Resolves to undefined when the user cancelled or was told why it
	 * cannot be made.
	 */
	async #convert(folder: string): Promise<ConvertModelResult | undefined> {
		try {
			return await convertFolder(this.#engine, folder);
		} catch (error) {
			const { message } = describeError(error);
			await this.#showLoadError(message.includes(folder) ? message : `${folder}: ${message}`);
			return undefined;
		}
	}

	/**
	 * Tells the user that a model could not be loaded, at start or after a change of settings. It tells each error once.
	 */
	#report(message: string, shortage?: MemoryShortage): void {
		if (this.#trying || message === this.#reportedError) return;
		this.#reportedError = message;
		void (shortage ? this.#askForMemory(shortage, { modal: false }) : this.#showLoadError(message));
	}

	async #showLoadError(message: string): Promise<void> {
		const choice = await vscode.window.showErrorMessage(`Hearth: ${message}`, 'Select Model…', 'Show Log');
		if (choice === 'Select Model…') await this.#select();
		if (choice === 'Show Log') this.#engine.log.show();
	}
}

function separator(label: string): ModelItem {
	return { label, kind: vscode.QuickPickItemKind.Separator };
}

/** What an error of the engine says about memory. Undefined when the error is about something else. */
function shortageOf(error: unknown): MemoryShortage | undefined {
	const { code, data } = error as { code?: unknown; data?: MemoryShortage };
	return code === ErrorCode.notEnoughMemory ? data : undefined;
}

/** Asks what a model is for, if there is another model already. */
async function askRole(file: string, current: ModelPaths): Promise<RoleChoice | undefined> {
	const choices = roleChoices(file, current, (other) => path.basename(other));
	if (choices.length === 1) return choices[0];
	return vscode.window.showQuickPick(choices, { title: `Use ${path.basename(file)} for` });
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
