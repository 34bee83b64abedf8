// The status bar item and its menu: they show model, state and speed at a glance and offer every command.
import * as vscode from 'vscode';
import type { Completions } from '../completion/completions';
import type { EngineConnection } from '../connection/engineConnection';
import { isActive, statusDetails, statusText } from './statusText';

interface MenuItem extends vscode.QuickPickItem {
	command?: string;
	arguments?: unknown[];
}

export function registerStatusBar(engine: EngineConnection, completions: Completions): vscode.Disposable {
	const item = vscode.window.createStatusBarItem('hearth.status', vscode.StatusBarAlignment.Right, 100);
	item.name = 'Hearth';
	item.command = 'hearth.showMenu';

	const language = vscode.languages.createLanguageStatusItem('hearth.completions', [{ language: '*' }]);
	language.name = 'Hearth completions';

	const update = () => {
		const enabled = completions.enabledFor(vscode.window.activeTextEditor?.document);
		const shown = statusText({ engine: engine.view, completionsEnabled: enabled });
		item.text = shown.text;
		item.accessibilityInformation = { label: `Hearth: ${shown.summary}`, role: 'button' };
		item.tooltip = tooltip(engine, completions, shown.summary);
		item.backgroundColor =
			shown.severity === 'none' ? undefined : new vscode.ThemeColor(`statusBarItem.${shown.severity}Background`);
		item.show();

		language.text = enabled ? 'Hearth completions on' : 'Hearth completions off';
		language.command = {
			title: enabled ? 'Turn Off for This Language' : 'Turn On for This Language',
			command: 'hearth.toggleCompletionsForLanguage',
		};
	};
	update();
	return vscode.Disposable.from(
		item,
		language,
		engine.onDidChange(update),
		completions.onDidChange(update),
		vscode.window.onDidChangeActiveTextEditor(update),
		vscode.commands.registerCommand('hearth.showMenu', () => showMenu(engine, completions)),
	);
}

function tooltip(engine: EngineConnection, completions: Completions, summary: string): vscode.MarkdownString {
	const markdown = new vscode.MarkdownString('', true);
	markdown.isTrusted = {
		enabledCommands: [
			'hearth.selectModel',
			'hearth.focusChat',
			'hearth.runBenchmark',
			'hearth.showLog',
			'hearth.restartEngine',
			'hearth.openSettings',
		],
	};
	markdown.appendMarkdown('**');
	markdown.appendText(summary);
	markdown.appendMarkdown('**\n\n');
	const { message, status } = engine.view;
	if (message) {
		markdown.appendText(message);
		markdown.appendMarkdown('\n\n');
	}
	if (status) {
		markdown.appendMarkdown('| | |\n|---|---|\n');
		for (const [label, value] of statusDetails(status)) {
			markdown.appendMarkdown(`| ${label} | `);
			markdown.appendText(value.replaceAll('|', '/'));
			markdown.appendMarkdown(' |\n');
		}
		const { accepted, shown } = completions.counts;
		if (shown > 0) markdown.appendMarkdown(`| Suggestions | ${accepted} of ${shown} accepted in this window |\n`);
		markdown.appendMarkdown('\n');
	}
	markdown.appendMarkdown(
		'[$(folder-opened) Select Model](command:hearth.selectModel) · [$(comment-discussion) Chat](command:hearth.focusChat) · [$(dashboard) Benchmark](command:hearth.runBenchmark)\n\n' +
			'[$(output) Log](command:hearth.showLog) · [$(debug-restart) Restart](command:hearth.restartEngine) · [$(gear) Settings](command:hearth.openSettings)',
	);
	return markdown;
}

async function showMenu(engine: EngineConnection, completions: Completions): Promise<void> {
	const document = vscode.window.activeTextEditor?.document;
	const { summary } = statusText({ engine: engine.view, completionsEnabled: completions.enabledFor(document) });
	const chatText = engine.view.status?.model?.chatText;
	const items: MenuItem[] = [
		{ label: '$(folder-opened) Select Model…', command: 'hearth.selectModel' },
		{
			label: completions.enabled ? '$(circle-slash) Turn Completions Off' : '$(check) Turn Completions On',
			command: 'hearth.toggleCompletions',
		},
	];
	if (document && completions.enabled) {
		items.push({
			label: completions.enabledFor(document)
				? `$(circle-slash) Turn Completions Off for ${document.languageId}`
				: `$(check) Turn Completions On for ${document.languageId}`,
			command: 'hearth.toggleCompletionsForLanguage',
		});
	}
	for (const download of engine.view.status?.downloads ?? []) {
		const { id, name, state } = download;
		if (state === 'done') continue;
		const running = isActive(download);
		items.push({
			label: running ? `$(debug-pause) Pause Download of ${name}` : `$(cloud-download) Resume Download of ${name}`,
			command: running ? 'hearth.pauseDownload' : 'hearth.resumeDownload',
			arguments: [id],
		});
	}
	items.push(
		{ label: '$(question) Why No Suggestion?', command: 'hearth.whyNoSuggestion' },
		{ label: '', kind: vscode.QuickPickItemKind.Separator },
		{
			label: '$(comment-discussion) Open Chat',
			...(chatText !== undefined && { description: chatText }),
			command: 'hearth.focusChat',
		},
		{ label: '$(dashboard) Run Benchmark', command: 'hearth.runBenchmark' },
		{ label: '$(history) Show Benchmark Results', command: 'hearth.showBenchmarks' },
		{ label: '', kind: vscode.QuickPickItemKind.Separator },
		{ label: '$(output) Show Engine Log', command: 'hearth.showLog' },
		{ label: '$(debug-restart) Restart Engine', command: 'hearth.restartEngine' },
		{ label: '$(gear) Open Settings', command: 'hearth.openSettings' },
	);
	const choice = await vscode.window.showQuickPick(items, {
		title: `Hearth — ${summary}`,
		placeHolder: engine.view.message ?? summary,
	});
	if (choice?.command) await vscode.commands.executeCommand(choice.command, ...(choice.arguments ?? []));
}
