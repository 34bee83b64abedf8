// "Self-Test": runs the engine's self-test with progress, shows its verdict and, on request, the report to attach to a bug.
import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import {
	WorkDoneProgress,
	type WorkDoneProgressBegin,
	type WorkDoneProgressEnd,
	type WorkDoneProgressReport,
} from 'vscode-languageclient/node';
import { SelfTestRequest, type SelfTestResult } from '../../engine/protocol';
import type { Engine } from '../connection/engine';
import { describeError } from '../errors';

export class SelfTest implements vscode.Disposable {
	readonly #engine: Engine;
	readonly #command: vscode.Disposable;
	#running = false;

	constructor(engine: Engine) {
		this.#engine = engine;
		this.#command = vscode.commands.registerCommand('hearth.selfTest', () => this.#run());
	}

	dispose(): void {
		this.#command.dispose();
	}

	async #run(): Promise<void> {
		if (this.#running) {
			void vscode.window.showInformationMessage('Hearth: a self-test is running already.');
			return;
		}
		this.#running = true;
		try {
			const result = await vscode.window.withProgress(
				{ location: vscode.ProgressLocation.Notification, title: 'Hearth self-test', cancellable: true },
				(progress, cancellation) => this.#test(progress, cancellation),
			);
			if (result) await show(result);
		} catch (error) {
			const choice = await vscode.window.showErrorMessage(
				`Hearth: the self-test could not run. ${describeError(error).message}`,
				'Show Log',
			);
			if (choice) this.#engine.log.show();
		} finally {
			this.#running = false;
		}
	}

	/** Undefined when the user cancelled. */
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
}

async function show({ passed, summary, markdown }: SelfTestResult): Promise<void> {
	const message = `Hearth: ${summary}`;
	const choice = passed
		? await vscode.window.showInformationMessage(message, 'Show Report')
		: await vscode.window.showErrorMessage(message, 'Show Report');
	if (!choice) return;
	const document = await vscode.workspace.openTextDocument({ language: 'markdown', content: markdown });
	await vscode.window.showTextDocument(document);
}
