// The benchmark, from the command palette to its report.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { recordMilliseconds, stepsOf, VsCode, type Window } from './workbench';

describe('benchmark', () => {
	let vscode: VsCode;
	let window: Window;

	beforeAll(async () => {
		vscode = await VsCode.start('benchmark', {
			files: { 'a.txt': '' },
			settings: {
				'hearth.modelPath': inject('hearth').model,
				'hearth.benchmark.promptTokens': 128,
				'hearth.benchmark.generateTokens': 32,
				'hearth.benchmark.batchStreams': 4,
				'hearth.benchmark.batchTokens': 16,
				'hearth.benchmark.repetitions': 2,
			},
		});
		window = await vscode.openWindow();
		await window.ready();
	});
	afterAll(() => vscode?.close());
	stepsOf(() => vscode);

	test('runs from the palette to a report with a table and a chart', async () => {
		const startedAt = performance.now();
		await window.runCommand('Hearth: Run Benchmark');
		const report = await window.webview('table');
		recordMilliseconds('benchmark', performance.now() - startedAt);
		const table = await report.locator('table').first().textContent();
		for (const name of ['pp128', 'tg32', 'b4x16']) expect(table).toContain(name);
		await report.locator('svg').first().waitFor();
		await window.screenshot('benchmark-report');
	});

	test('the report is saved and can be opened again', async () => {
		await window.page.keyboard.press('Control+F4');
		await window.runCommand('Hearth: Show Benchmark Results');
		await window.page.locator('.quick-input-list .monaco-list-row').first().waitFor();
		await window.press('Enter');
		await (await window.webview('table')).locator('table', { hasText: 'pp128' }).first().waitFor();
	});

	test('nothing was asked of other hosts, and no page reported an error', async () => {
		expect(await vscode.outsideRequests()).toEqual([]);
		expect(vscode.consoleErrors).toEqual([]);
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
