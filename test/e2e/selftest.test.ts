// The self-test, from the command palette to its report, on a machine without Metal. The CPU's kernels are checked all
// the same.
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadNative } from '../../native/index';
import { recordMilliseconds, stepsOf, VsCode, type Window } from './workbench';

describe('self-test', () => {
	let vscode: VsCode;
	let window: Window;
	const sets = loadNative()
		.cpuInfo()
		.kernels.filter((set) => set !== 'reference');

	beforeAll(async () => {
		// No model is set: the self-test makes a small one.
		vscode = await VsCode.start('selftest', { files: { 'a.txt': '' } });
		window = await vscode.openWindow();
		await window.toast('Hearth needs a model file');
	});
	afterAll(() => vscode?.close());
	stepsOf(() => vscode);

	test('runs from the palette and says that there is no Metal, and what was checked', async () => {
		const startedAt = performance.now();
		await window.runCommand('Hearth: Self-Test');
		const message = await window.toast(/All \d+ checks of .* passed/);
		recordMilliseconds('selfTest', performance.now() - startedAt);
		const text = (await message.textContent()) ?? '';
		for (const set of sets) expect(text).toContain(`the CPU's ${set} kernels`);
		expect(text).toContain('Metal is not used: Metal is part of macOS only.');
	});

	test('the report has every kernel set with its deviation and speed', async () => {
		const preview = await window.webview('table', 'vscode.markdown-language-features');
		await preview.locator('h1', { hasText: 'Hearth self-test' }).waitFor();
		expect(await preview.locator('h3').allInnerTexts()).toEqual(sets.map((set) => `The CPU's ${set} kernels`));
		const rows = preview.locator('table', { hasText: 'GB/s' }).locator('tbody tr');
		const kernels = (await rows.allInnerTexts()).map((row) => row.split('\t').map((cell) => cell.trim()));
		expect(kernels.length).toBeGreaterThan(20 * sets.length);
		for (const [name, , verdict, error, allowed, , speed] of kernels) {
			expect(verdict, name).toBe('ok');
			expect(Number(error), name).toBeLessThanOrEqual(Number(allowed));
			expect(speed, name).toMatch(/^\d+\.\d+$/);
		}
		await window.screenshot('selftest');
	});

	test('while its message stands another run is possible, and can be cancelled', async () => {
		await window.runCommand('Hearth: Self-Test');
		const progress = await window.toast('Hearth self-test');
		await progress.getByRole('button', { name: 'Cancel' }).click();
		await progress.waitFor({ state: 'detached' });
	});

	test('the report can be copied', async () => {
		const message = await window.listedNotification(/All \d+ checks of/);
		await message.getByRole('button', { name: 'Copy Report' }).click();
		const clipboard = () => window.page.evaluate(() => navigator.clipboard.readText());
		while ((await clipboard()) === '') await window.page.waitForTimeout(100);
		expect(await clipboard()).toMatch(/^# Hearth self-test\n\nAll \d+ checks of /);
	});

	test('the report can be saved', async () => {
		await window.runCommand('Hearth: Self-Test');
		const message = await window.listedNotification(/All \d+ checks of .* passed/);
		await message.getByRole('button', { name: 'Save Report…' }).click();
		await window.page.locator('.quick-input-widget', { hasText: 'Save the self-test' }).waitFor();
		await window.press('Enter');
		while (!existsSync(`${vscode.workspace}/hearth-selftest.md`)) await window.page.waitForTimeout(100);
		await window.page.locator('.explorer-folders-view .monaco-list-row', { hasText: 'hearth-selftest.md' }).waitFor();
		expect(vscode.read('hearth-selftest.md')).toMatch(/^# Hearth self-test\n/);
	});

	test('nothing was asked of other hosts, and no page reported an error', async () => {
		expect(await vscode.outsideRequests()).toEqual([]);
		expect(vscode.consoleErrors).toEqual([]);
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
