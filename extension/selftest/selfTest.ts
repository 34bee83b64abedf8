// "Self-Test": runs the engine's self-test with progress and shows its verdict and its report. The user can copy the
// report, or save it to attach it to a bug.
import { randomUUID } from 'node:crypto';
import { homedir } from 'node:os';
import * as vscode from 'vscode';
import {
	WorkDoneProgress,
	type WorkDoneProgressBegin,
	type WorkDoneProgressEnd,
	type WorkDoneProgressReport,
} from 'vscode-languageclient/node';
import { SelfTestRequest, type SelfTestResult } from '../../engine/protocol';
import type { EngineConnection } from '../connection/engineConnection';
import { describeError } from '../errors';

/** Address of the report's document. VS Code shows the document like any Markdown and never asks to save it. */
const REPORT = vscode.Uri.parse('hearth-selftest:/Hearth Self-Test.md');

export class SelfTest implements vscode.Disposable {
	readonly #engine: EngineConnection;
	readonly #reportChanged = new vscode.EventEmitter<vscode.Uri>();
	readonly #subscriptions: vscode.Disposable[];
	#report = '';
	#running = false;

	constructor(engine: EngineConnection) {
		this.#engine = engine;
		this.#subscriptions = [
			this.#reportChanged,
			vscode.commands.registerCommand('hearth.selfTest', () => this.#run()),
			vscode.workspace.registerTextDocumentContentProvider(REPORT.scheme, {
				onDidChange: this.#reportChanged.event,
				provideTextDocumentContent: () => this.#report,
			}),
		];
	}

	dispose(): void {
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	async #run(): Promise<void> {
		if (this.#running) {
			void vscode.window.showInformationMessage('Hearth: a self-test is running already.');
			return;
		}
		this.#running = true;
		let result: SelfTestResult | undefined;
		try {
			result = await vscode.window.withProgress(
				{ location: vscode.ProgressLocation.Notification, title: 'Hearth self-test', cancellable: true },
				(progress, cancellation) => this.#test(progress, cancellation),
			);
		} catch (error) {
			void this.#sayWhyNot(error);
		} finally {
			// The messages below wait for answers that may never come, so the test counts as ended here.
			this.#running = false;
		}
		if (result) await this.#show(result);
	}

	/** Resolves to undefined when the user cancelled. */
	async #test(
		progress: vscode.Progress<{ message?: string }>,
		cancellation: vscode.CancellationToken,
	): Promise<SelfTestResult | undefined> {
		const token = randomUUID();
		const report = (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => {
			if (value.message) progress.report({ message: value.message });
		};
		try {
			return await this.#engine.requestWithProgress(
				SelfTestRequest,
				{ workDoneToken: token },
				{ type: WorkDoneProgress.type, token, report },
				cancellation,
			);
		} catch (error) {
			if (cancellation.isCancellationRequested) return undefined;
			throw error;
		}
	}
	async #show({ passed, summary, markdown }: SelfTestResult): Promise<void> {
		this.#report = markdown;
		this.#reportChanged.fire(REPORT);
		try {
			await vscode.commands.executeCommand('markdown.showPreview', REPORT);
		} catch {
			// This fails when VS Code's own Markdown extension is turned off.
			await vscode.window.showTextDocument(REPORT);
		}
		const show = passed ? vscode.window.showInformationMessage : vscode.window.showErrorMessage;
		const choice = await show(`Hearth: ${summary}`, 'Copy Report', 'Save Report…');
		if (choice === 'Copy Report') {
			await vscode.env.clipboard.writeText(markdown);
			vscode.window.setStatusBarMessage('Hearth: the report is in the clipboard.', 5000);
		} else if (choice === 'Save Report…') {
			await saveReport(markdown);
		}
	}

	async #sayWhyNot(error: unknown): Promise<void> {
		const choice = await vscode.window.showErrorMessage(
			`Hearth: the self-test could not run. ${describeError(error).message}`,
			'Show Log',
		);
		if (choice) this.#engine.log.show();
	}
}

async function saveReport(markdown: string): Promise<void> {
	const folder = vscode.workspace.workspaceFolders?.[0]?.uri ?? vscode.Uri.file(homedir());
	const file = await vscode.window.showSaveDialog({
		title: 'Save the self-test’s report',
		defaultUri: vscode.Uri.joinPath(folder, 'hearth-selftest.md'),
		filters: { Markdown: ['md'] },
	});
	if (!file) return;
	try {
		await vscode.workspace.fs.writeFile(file, new TextEncoder().encode(markdown));
	} catch (error) {
		void vscode.window.showErrorMessage(`Hearth: the report could not be saved. ${describeError(error).message}`);
	}
}
