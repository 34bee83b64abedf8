// The entry point of the extension: it makes the parts, attaches them to the one engine and lets go of the engine at
// the end.
import * as vscode from 'vscode';
import { Benchmarks } from './benchmark/benchmark';
import { ChatView } from './chat/chatView';
import { Completions } from './completion/completions';
import { EngineConnection } from './connection/engineConnection';
import { Models } from './model/models';
import { SelfTest } from './selftest/selfTest';
import { registerStatusBar } from './status/statusBar';

let engine: EngineConnection | undefined;

export function activate(context: vscode.ExtensionContext): void {
	const completions = new Completions();
	const owner = new EngineConnection(context.extension, {
		provideInlineCompletionItems: completions.provide,
		sendRequest: completions.send,
	});
	engine = owner;
	completions.attach(owner);
	const models = new Models(context, owner);
	context.subscriptions.push(
		owner,
		completions,
		models,
		registerStatusBar(owner, completions),
		new ChatView(context, owner),
		new Benchmarks(context, owner),
		new SelfTest(owner),
		vscode.commands.registerCommand('hearth.showLog', () => owner.log.show()),
		vscode.commands.registerCommand('hearth.restartEngine', () => restart(owner)),
		vscode.commands.registerCommand('hearth.openSettings', () =>
			vscode.commands.executeCommand('workbench.action.openSettings', '@ext:hearth.hearth'),
		),
	);
	// Without a model the engine has nothing to do, so it is started when the user chooses one.
	if (owner.settings.modelPath === '') void models.promptWithoutModel();
	else owner.start().catch(() => {});
	void models.offerUnfinishedDownload();
}

export async function deactivate(): Promise<void> {
	await engine?.disconnect();
}

async function restart(owner: EngineConnection): Promise<void> {
	try {
		await vscode.window.withProgress(
			{ location: vscode.ProgressLocation.Window, title: 'Restarting the Hearth engine' },
			() => owner.restart(),
		);
	} catch (error) {
		const choice = await vscode.window.showErrorMessage(
			`Hearth: ${error instanceof Error ? error.message : String(error)}`,
			'Show Log',
		);
		if (choice) owner.log.show();
	}
}
