// The command "Run Benchmark" and the report page that it opens.
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import * as vscode from 'vscode';
import {
	WorkDoneProgress,
	type WorkDoneProgressBegin,
	type WorkDoneProgressEnd,
	type WorkDoneProgressReport,
} from 'vscode-languageclient/node';
import { type BenchmarkReport, BenchmarkRequest } from '../../engine/protocol';
import type { BenchmarkToHost, HostToBenchmark } from '../../webview/messages';
import { setting } from '../configuration';
import type { EngineConnection } from '../connection/engineConnection';
import { describeError } from '../errors';
import { createNonce, webviewPage } from '../webviewPage';
import { ReportStore } from './reportStore';

export class Benchmarks implements vscode.Disposable {
	readonly #extensionUri: vscode.Uri;
	readonly #engine: EngineConnection;
	readonly #store: ReportStore;
	readonly #subscriptions: vscode.Disposable[];
	#running = false;

	constructor(context: vscode.ExtensionContext, engine: EngineConnection) {
		this.#extensionUri = context.extensionUri;
		this.#engine = engine;
		this.#store = new ReportStore(path.join(context.globalStorageUri.fsPath, 'benchmarks'));
		this.#subscriptions = [
			vscode.commands.registerCommand('hearth.runBenchmark', () => this.#run()),
			vscode.commands.registerCommand('hearth.showBenchmarks', () => this.#chooseSaved()),
		];
	}

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	async #run(): Promise<void> {
		if (this.#engine.settings.modelPath === '' && !this.#engine.view.status?.model) {
			const choice = await vscode.window.showInformationMessage(
				'Hearth: choose a model first; the benchmark measures it on this machine.',
				'Select Model…',
			);
			if (choice) await vscode.commands.executeCommand('hearth.selectModel');
			return;
		}
		if (this.#running) {
			void vscode.window.showInformationMessage('Hearth: a benchmark is running already.');
			return;
		}
		this.#running = true;
		try {
			const report = await vscode.window.withProgress(
				{ location: vscode.ProgressLocation.Notification, title: 'Hearth benchmark', cancellable: true },
				(progress, cancellation) => this.#measure(progress, cancellation),
			);
			if (report) await this.#show(await this.#store.save(report), report);
		} catch (error) {
			void this.#sayWhyNot(error);
		} finally {
			this.#running = false;
		}
	}

	async #sayWhyNot(error: unknown): Promise<void> {
		const choice = await vscode.window.showErrorMessage(
			`Hearth: the benchmark failed. ${describeError(error).message}`,
			'Show Log',
		);
		if (choice) this.#engine.log.show();
	}

	/** Resolves to undefined when the user cancelled. */
	async #measure(
		progress: vscode.Progress<{ message?: string; increment?: number }>,
		cancellation: vscode.CancellationToken,
	): Promise<BenchmarkReport | undefined> {
		const token = randomUUID();
		let shown = 0;
		const report = (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => {
			const percentage = 'percentage' in value ? (value.percentage ?? shown) : shown;
			progress.report({ ...(value.message && { message: value.message }), increment: Math.max(0, percentage - shown) });
			shown = Math.max(shown, percentage);
		};
		const tests = setting('benchmark.tests');
		const prompt = setting('benchmark.promptTokens');
		const streams = setting('benchmark.batchStreams');
		const parameters = {
			tests,
			prompt: tests === 'all' ? [prompt, prompt * 8] : prompt,
			generate: setting('benchmark.generateTokens'),
			batch: tests === 'all' ? [1, 4, 8].filter((fewer) => fewer < streams).concat(streams) : streams,
			length: setting('benchmark.batchTokens'),
			repeat: setting('benchmark.repetitions'),
		};
		try {
			await this.#engine.settled(cancellation);
			return await this.#engine.requestWithProgress(
				BenchmarkRequest,
				{ ...parameters, workDoneToken: token },
				{ type: WorkDoneProgress.type, token, report },
				cancellation,
			);
		} catch (error) {
			if (cancellation.isCancellationRequested) return undefined;
			throw error;
		}
	}

	async #chooseSaved(): Promise<void> {
		const runs = await this.#store.list();
		if (runs.length === 0) {
			const choice = await vscode.window.showInformationMessage(
				'Hearth: no benchmark has been run yet.',
				'Run Benchmark',
			);
			if (choice) await this.#run();
			return;
		}
		const choice = await vscode.window.showQuickPick(
			runs.map((run) => ({
				label: new Date(run.createdAt).toLocaleString(),
				description: `${run.model}, ${run.kernels}`,
				id: run.id,
			})),
			{ title: 'Benchmark results' },
		);
		const report = choice && (await this.#store.load(choice.id));
		if (choice && report) await this.#show(choice.id, report);
	}

	async #show(id: string, report: BenchmarkReport): Promise<void> {
		const earlier = (await this.#store.list()).filter((run) => run.id !== id);
		const assets = vscode.Uri.joinPath(this.#extensionUri, 'dist', 'webview');
		const panel = vscode.window.createWebviewPanel(
			'hearth.benchmark',
			`Benchmark: ${report.model.name}`,
			vscode.ViewColumn.Active,
			{ enableScripts: true, localResourceRoots: [assets], enableFindWidget: true },
		);
		panel.iconPath = vscode.Uri.joinPath(this.#extensionUri, 'media', 'icon.png');
		const post = (message: HostToBenchmark) => panel.webview.postMessage(message);
		panel.webview.onDidReceiveMessage(async (message: BenchmarkToHost) => {
			switch (message.type) {
				case 'ready':
					await post({ type: 'report', report, id, earlier });
					return;
				case 'compare': {
					const baseline = await this.#store.load(message.id);
					await post({ type: 'baseline', id: message.id, ...(baseline && { report: baseline }) });
					return;
				}
				case 'copy':
					await vscode.env.clipboard.writeText(message.text);
					await post({ type: 'copied', ok: true });
					return;
				case 'run-again':
					return this.#run();
				case 'open-file':
					await vscode.window.showTextDocument(vscode.Uri.file(this.#store.fileOf(id)));
					return;
			}
		});
		panel.webview.html = webviewPage({
			title: 'Hearth Benchmark',
			cspSource: panel.webview.cspSource,
			scriptUri: panel.webview.asWebviewUri(vscode.Uri.joinPath(assets, 'benchmark.js')).toString(),
			styleUri: panel.webview.asWebviewUri(vscode.Uri.joinPath(assets, 'benchmark.css')).toString(),
			nonce: createNonce(),
		});
	}
}
