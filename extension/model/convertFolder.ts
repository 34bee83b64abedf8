// Converts a Hugging Face folder to a model file, with progress and a way to cancel.
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import * as vscode from 'vscode';
import {
	WorkDoneProgress,
	type WorkDoneProgressBegin,
	type WorkDoneProgressEnd,
	type WorkDoneProgressReport,
} from 'vscode-languageclient/node';
import { ConvertModelRequest, type ConvertModelResult } from '../../engine/protocol';
import type { EngineConnection } from '../connection/engineConnection';

/** Lets the user choose a folder. Resolves to undefined when the user chose none. */
export async function chooseFolder(): Promise<string | undefined> {
	const [uri] =
		(await vscode.window.showOpenDialog({
			title: 'Select the folder of a Hugging Face model',
			openLabel: 'Convert and Use',
			canSelectFiles: false,
			canSelectFolders: true,
		})) ?? [];
	return uri?.fsPath;
}

/**
 * Resolves to the model file made of `folder`. The folder is converted unless that was done before. Resolves to
 * undefined when the user cancelled.
 * @throws what the engine says when the folder cannot be converted
 */
export async function convertFolder(engine: EngineConnection, folder: string): Promise<ConvertModelResult | undefined> {
	return vscode.window.withProgress(
		{
			location: vscode.ProgressLocation.Notification,
			title: `Converting ${path.basename(folder)}`,
			cancellable: true,
		},
		async (progress, cancellation) => {
			const token = randomUUID();
			let shown = 0;
			const report = (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => {
				const percentage = 'percentage' in value ? (value.percentage ?? shown) : shown;
				progress.report({ message: `${percentage} %`, increment: Math.max(0, percentage - shown) });
				shown = Math.max(shown, percentage);
			};
			try {
				return await engine.requestWithProgress(
					ConvertModelRequest,
					{ path: folder, workDoneToken: token },
					{ type: WorkDoneProgress.type, token, report },
					cancellation,
				);
			} catch (error) {
				if (cancellation.isCancellationRequested) return undefined;
				throw error;
			}
		},
	);
}
