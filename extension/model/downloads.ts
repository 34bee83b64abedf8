// Downloads as the user sees them: asked for once, shown with their progress, paused, resumed, and offered again after
// a restart. The engine downloads, so that every window sees the same download.

import { homedir } from 'node:os';
import * as vscode from 'vscode';
import {
	type CatalogueModel,
	DownloadSizeRequest,
	type DownloadStatus,
	type ModelList,
	StartDownloadRequest,
	StopDownloadRequest,
} from '../../engine/protocol';
import { formatBytes } from '../../engine/units';
import type { EngineConnection } from '../connection/engineConnection';
import { modelFolders } from '../connection/settings';
import { describeError } from '../errors';
import { downloadText, isActive, percentDone } from '../status/statusText';
import { downloadTerms } from './modelItems';

/** Key of the download that was begun and neither finished nor given up. It is offered again when VS Code starts. */
const UNFINISHED_KEY = 'hearth.unfinishedDownload';

interface Unfinished {
	id: string;
	name: string;
}

export class Downloads implements vscode.Disposable {
	readonly #context: vscode.ExtensionContext;
	readonly #engine: EngineConnection;
	readonly #finished: (path: string, model: DownloadStatus) => Promise<void>;
	readonly #subscriptions: vscode.Disposable[];
	/** Ids of the downloads whose progress this window shows. */
	readonly #followed = new Set<string>();

	/** @param finished - called with the path of the model, in the window that shows the download */
	constructor(
		context: vscode.ExtensionContext,
		engine: EngineConnection,
		finished: (path: string, model: DownloadStatus) => Promise<void>,
	) {
		this.#context = context;
		this.#engine = engine;
		this.#finished = finished;
		this.#subscriptions = [
			vscode.commands.registerCommand('hearth.pauseDownload', (id: string) => this.#stop(id, false)),
			vscode.commands.registerCommand('hearth.resumeDownload', (id: string) =>
				this.#run(id, this.#status(id)?.name ?? id),
			),
		];
	}

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	/** Asks whether to download a model, shows what speaks for and against it, and downloads it if the user agrees. */
	async offer(model: CatalogueModel, list: ModelList): Promise<void> {
		try {
			const fileBytes = model.fileBytes ?? (await this.#askForSize(model));
			const missing = fileBytes - (model.partialBytes ?? 0) - list.freeDiskBytes;
			if (missing > 0) {
				const choice = await vscode.window.showErrorMessage(
					`${model.name} has ${formatBytes(fileBytes)}, but the disk of ${list.downloadFolder} has only ${formatBytes(list.freeDiskBytes)} free. Free some space or choose another folder.`,
					'Choose Folder…',
				);
				if (choice) await vscode.commands.executeCommand('workbench.action.openSettings', 'hearth.downloadFolder');
				return;
			}
			const { title, detail, button } = downloadTerms(model, fileBytes, list);
			const choice = await vscode.window.showInformationMessage(title, { modal: true, detail }, button, 'Show Page');
			if (choice === 'Show Page') await vscode.env.openExternal(vscode.Uri.parse(model.page));
			if (choice === button) await this.#run(model.id, model.name);
		} catch (error) {
			void vscode.window.showErrorMessage(`Hearth: ${describeError(error).message}`);
		}
	}

	/** After a restart: asks whether to continue the download that had not finished. */
	async offerUnfinished(): Promise<void> {
		const unfinished = this.#context.globalState.get<Unfinished>(UNFINISHED_KEY);
		if (!unfinished) return;
		const { id, name } = unfinished;
		const choice = await vscode.window.showInformationMessage(
			`The download of ${name} has not finished.`,
			'Resume',
			'Discard',
			'Later',
		);
		if (choice === 'Resume') await this.#run(id, name);
		if (choice === 'Discard') await this.#stop(id, true);
	}

	async #askForSize({ id, name, host }: CatalogueModel): Promise<number> {
		const { fileBytes } = await vscode.window.withProgress(
			{
				location: vscode.ProgressLocation.Notification,
				title: `Asking ${host} for the size of ${name}`,
				cancellable: true,
			},
			(_progress, token) => this.#engine.request(DownloadSizeRequest, { id, network: this.#engine.network }, token),
		);
		return fileBytes;
	}

	/** Starts or continues a download and shows its progress until it ends in one way or another. */
	async #run(id: string, name: string): Promise<void> {
		if (this.#followed.has(id)) return;
		this.#followed.add(id);
		let ended: DownloadStatus | undefined;
		try {
			await this.#context.globalState.update(UNFINISHED_KEY, { id, name });
			ended = await vscode.window.withProgress(
				{ location: vscode.ProgressLocation.Notification, title: `Downloading ${name}`, cancellable: true },
				(progress, token) => this.#follow(id, progress, token),
			);
		} catch (error) {
			void vscode.window.showErrorMessage(`Hearth: ${describeError(error).message}`);
		} finally {
			this.#followed.delete(id);
		}
		if (ended) await this.#tellEnd(ended);
	}

	/** Resolves with the last status of the download. A cancellation pauses the download. */
	async #follow(
		id: string,
		progress: vscode.Progress<{ message?: string; increment?: number }>,
		token: vscode.CancellationToken,
	): Promise<DownloadStatus> {
		const folder = this.#folder;
		const start = () => this.#engine.request(StartDownloadRequest, { id, network: this.#engine.network, ...folder });
		let shown = 0;
		const show = (status: DownloadStatus) => {
			const done = percentDone(status) ?? 0;
			progress.report({ message: downloadText(status), increment: Math.max(0, done - shown) });
			shown = Math.max(shown, done);
		};
		const stopping = token.onCancellationRequested(() => void this.#stop(id, false));
		try {
			const first = await start();
			show(first);
			if (!isActive(first)) return first;
			let { processId } = this.#engine.view.status ?? {};
			return await new Promise<DownloadStatus>((resolve, reject) => {
				const changed = this.#engine.onDidChange(({ state, status }) => {
					const own = status?.downloads?.find((download) => download.id === id);
					if (own) {
						show(own);
						if (!isActive(own)) finish(() => resolve(own));
					} else if (state === 'failed') {
						finish(() => reject(new Error('the engine stopped; the download goes on when it runs again')));
					} else if (status && status.processId !== processId) {
						// This is another engine, after a crash or a restart. It continues where the last engine stopped.
						({ processId } = status);
						start().catch((error) => finish(() => reject(error)));
					}
				});
				const finish = (settle: () => void) => {
					changed.dispose();
					settle();
				};
			});
		} finally {
			stopping.dispose();
		}
	}

	async #tellEnd(status: DownloadStatus): Promise<void> {
		const { id, name, state, path } = status;
		if (state === 'done' && path !== undefined) {
			await this.#context.globalState.update(UNFINISHED_KEY, undefined);
			await this.#finished(path, status);
			return;
		}
		const choice =
			state === 'failed'
				? await vscode.window.showErrorMessage(
						`The download of ${name} stopped: ${status.error ?? 'it failed'}.`,
						'Try Again',
						'Discard',
						'Show Log',
					)
				: await vscode.window.showInformationMessage(
						`The download of ${name} is ${downloadText(status)}.`,
						'Resume',
						'Discard',
					);
		if (choice === 'Resume' || choice === 'Try Again') await this.#run(id, name);
		if (choice === 'Discard') await this.#stop(id, true);
		if (choice === 'Show Log') this.#engine.log.show();
	}

	async #stop(id: string, discard: boolean): Promise<void> {
		try {
			await this.#engine.request(StopDownloadRequest, { id, discard, ...this.#folder });
			if (discard) await this.#context.globalState.update(UNFINISHED_KEY, undefined);
		} catch (error) {
			void vscode.window.showErrorMessage(`Hearth: ${describeError(error).message}`);
		}
	}

	get #folder(): { folder?: string } {
		const configuration = vscode.workspace.getConfiguration('hearth');
		const { downloadFolder } = modelFolders((key) => configuration.get(key), homedir());
		return downloadFolder === undefined ? {} : { folder: downloadFolder };
	}

	#status(id: string): DownloadStatus | undefined {
		return this.#engine.view.status?.downloads?.find((download) => download.id === id);
	}
}
