// The first minutes: what the package holds, the message when no model is set, a file that is no model, and the demo
// model.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { stepsOf, VsCode, type Window } from './workbench';

describe('first run', () => {
	let vscode: VsCode;
	let window: Window;

	beforeAll(async () => {
		vscode = await VsCode.start('first-run', { files: { 'notes.gguf': 'This is a text.\n' } });
		window = await vscode.openWindow();
	});
	afterAll(() => vscode?.close());
	stepsOf(() => vscode);

	test('the package holds what runs and nothing else', () => {
		const extensions = path.join(vscode.folder, 'extensions');
		const [folder] = readdirSync(extensions).filter((name) => name.startsWith('hearth.hearth-'));
		if (!folder) throw new Error(`not installed: ${readdirSync(extensions)}`);
		const files = readdirSync(path.join(extensions, folder), { recursive: true }).map(String);
		expect(files.filter((file) => /\.(map|ts|o|d)$|node_modules|^test|^docs|^scripts/.test(file))).toEqual([]);
		expect(files).toEqual(expect.arrayContaining(['package.json', 'readme.md', 'LICENSE.txt', 'dist', 'media']));
		expect(files).toEqual(
			expect.arrayContaining(['extension.js', 'hearth.js', 'native/hearth.node'].map((file) => `dist/${file}`)),
		);
	});

	test('without a model a message says so, its button leads to choosing one, and no engine runs', async () => {
		const message = await window.toast('Hearth needs a model file');
		await window.status('No model chosen');
		await window.screenshot('no-model');
		expect(vscode.engines()).toEqual([]);
		await message.getByRole('button', { name: 'Select Model…' }).click();
		await window.page.locator('.quick-input-widget', { hasText: 'Select a model' }).waitFor();
	});

	test('a file that is no model is refused with the reason', async () => {
		await window.enterModelPath(path.join(vscode.workspace, 'notes.gguf'));
		await window.toast('notes.gguf is not a GGUF file');
		await window.screenshot('model-refused');
	});

	test('a model is loaded and remembered', async () => {
		const message = await window.toast('notes.gguf is not a GGUF file');
		await message.getByRole('button', { name: 'Select Model…' }).click();
		await window.enterModelPath(inject('hearth').model);
		await window.toast('is ready');
		await window.ready();
		await window.screenshot('model-ready');
		await window.page.reload();
		await window.ready();
	});

	test('the log shows what the engine says', async () => {
		await window.runCommand('Hearth: Show Engine Log');
		await window.page.locator('.part.panel .view-line', { hasText: 'socket' }).first().waitFor();
		await window.screenshot('log');
	});

	test('nothing was asked of other hosts, and no page reported an error', async () => {
		expect(await vscode.outsideRequests()).toEqual([]);
		// VS Code writes error notifications to the console, too. This test provoked one of them.
		const unexpected = vscode.consoleErrors.filter((error) => !error.includes('is not a GGUF file'));
		expect(unexpected).toEqual([]);
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
