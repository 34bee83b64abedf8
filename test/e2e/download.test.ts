// A model of the catalogue: the user agrees to it, it is downloaded with progress from a host on this machine, paused,
// resumed, verified and loaded.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { FileServer } from '../support/file-server';
import { stepsOf, VsCode, type Window } from './workbench';

describe('a download', () => {
	const model = readFileSync(inject('hearth').model);
	const folder = mkdtempSync(path.join(os.tmpdir(), 'hearth-download-'));
	let server: FileServer;
	let vscode: VsCode;
	let window: Window;

	beforeAll(async () => {
		server = await FileServer.start(model);
		const catalogue = path.join(folder, 'catalogue.json');
		const entry = {
			...{ id: 'demo', name: 'Demo model', summary: 'knows a few functions by heart', license: 'MIT' },
			...{ page: 'https://models.example/demo', uses: ['chat', 'completion'] },
			...{ architecture: 'gpt-oss', matrixTypes: ['MXFP4', 'Q8_0', 'F32'] },
			files: [{ url: server.url, bytes: model.length, sha256: server.sha256 }],
		};
		writeFileSync(catalogue, JSON.stringify({ models: [entry] }));
		vscode = await VsCode.start('download', {
			files: { 'math.ts': '// Sums.\n' },
			// 0.1 minutes are six seconds.
			settings: { 'hearth.unloadAfterMinutes': 0.1 },
			variables: { HEARTH_CATALOGUE: catalogue },
		});
		window = await vscode.openWindow();
	});
	afterAll(async () => {
		await vscode?.close();
		await server?.close();
		rmSync(folder, { recursive: true, force: true });
	});
	stepsOf(() => vscode);

	const row = (text: string) => window.page.locator('.quick-input-list .monaco-list-row', { hasText: text }).first();

	test('is offered where a model is chosen, and fetches nothing before it is agreed to', async () => {
		const message = await window.toast('Hearth needs a model file');
		await message.getByRole('button', { name: 'Select Model…' }).click();
		await row('Demo model').waitFor();
		await window.screenshot('download-offered');
		await row('Demo model').click();
		const dialog = window.page.locator('.monaco-dialog-box', { hasText: 'Download Demo model?' });
		await dialog.waitFor();
		const terms = await dialog.textContent();
		for (const term of ['MB from 127.0.0.1', 'Licence: MIT', 'are free']) expect(terms).toContain(term);
		await window.screenshot('download-terms');
		expect(server.requests).toEqual([]);
	});

	test('shows its progress in a notification and in the status bar', async () => {
		// The host sends half of the file and then nothing until the test goes on.
		server.misbehave.push((_request, response) => {
			response.writeHead(200, { etag: server.tag, 'content-length': String(model.length) });
			response.write(model.subarray(0, model.length >> 1));
		});
		await window.page.getByRole('button', { name: 'Download', exact: true }).click();
		await window.toast(/Downloading Demo model.*(49|50) % of/);
		await window.status('downloading Demo model');
		await window.screenshot('download-progress');
	});

	test('is paused, and offered again after a restart', async () => {
		const progress = await window.toast('Downloading Demo model');
		await progress.getByRole('button', { name: 'Cancel' }).click();
		await window.toast(/Demo model is paused at (49|50) %/);
		await window.screenshot('download-paused');
		await window.page.reload();
		const unfinished = await window.toast('The download of Demo model has not finished');
		await unfinished.getByRole('button', { name: 'Resume' }).click();
		await window.toast('is ready');
		expect(server.requests.map(({ range }) => range)).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d+-$/)]);
	});

	test('is then the model in use, whole and in its place', async () => {
		const file = path.join(vscode.folder, 'home', '.local', 'share', 'hearth', 'models', 'model.gguf');
		expect(readFileSync(file).equals(model)).toBe(true);
		await window.runCommand('Hearth: Select Model…');
		await row('downloaded by Hearth').waitFor();
		expect(await row('downloaded by Hearth').textContent()).toMatch(/Hearth demo.*gpt-oss.*in use.*fits: needs/);
		await window.screenshot('download-in-use');
		await window.press('Escape');
	});

	test('is unloaded when idle, and comes back for a completion', async () => {
		await window.status('idle (unloaded)');
		await window.screenshot('model-idle');
		await window.openFile('math.ts');
		await window.type('\n// Adds two numbers.\nexport function add(a: number, b: number): number {\n');
		expect(await window.waitForGhostText()).toContain('return a + b;');
		await window.screenshot('model-awake');
		await window.press('Escape');
		await window.save();
	});

	test('nothing was asked of other hosts, and no page reported an error', async () => {
		expect(await vscode.outsideRequests()).toEqual([]);
		expect(vscode.consoleErrors).toEqual([]);
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
