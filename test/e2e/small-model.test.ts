// A small real model: its ghost text, how soon that appears once the text before the cursor is in the cache, its chat
// and its benchmark. The README's pictures are taken here. The demo model of the other tests would not be honest in
// them: it recites what it was made to know, at a speed that no useful model has.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/needs';
import { smollm2, smollm2Model } from '../support/real-model';
import { recordMilliseconds, stepsOf, VsCode, type Window } from './workbench';

/** Lines that SmolLM2 has something to add to, as a user types them up to the cursor. */
const LINES = [
	'export const secondsPerHour = 60 * ',
	'export let count: number = ',
	'export const now = new ',
	'export function isEmpty(text: string): boolean { return text.',
	'export function square(x: number): number { return ',
	'export const half = (x: number) => x ',
	'export function area(width: number, height: number): number { return ',
	'export const largest = Math.',
	'export function twice(x: number): number { return ',
];

describe('SmolLM2-135M-Instruct', needs(smollm2Model), () => {
	let vscode: VsCode;
	let window: Window;

	beforeAll(async () => {
		vscode = await VsCode.start('small-model', {
			files: { 'helpers.ts': '// Small helpers.\n', 'math.ts': '// Sums and sequences.\n' },
			settings: {
				'hearth.modelPath': smollm2,
				'hearth.completions.multiline': 'never',
				'hearth.chat.temperature': 0,
				'hearth.benchmark.tests': 'quick',
				'hearth.benchmark.repetitions': 2,
			},
		});
		window = await vscode.openWindow();
		await window.ready();
	});
	afterAll(() => vscode?.close());
	stepsOf(() => vscode);

	test('completes a line of TypeScript', async () => {
		await window.openFile('helpers.ts');
		await window.press('Control+End');
		await window.type('\nexport function add(a: number, b: number): number { return a ');
		expect(await window.waitForGhostText()).toContain('+ b;');
		await window.press('Tab');
	});

	test('completes more lines, timed with a warm prefix', async () => {
		const times: number[] = [];
		for (const line of LINES) {
			await window.press('Escape');
			await window.press('End');
			const elapsed = await window.timeGhostText();
			await window.type(`\n${line}`);
			expect((await window.waitForGhostText()).trim()).not.toBe('');
			times.push(await elapsed());
			await window.press('Tab');
		}
		const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
		recordMilliseconds('smallModelGhostTextMedian', median);
		await window.screenshot('small-model');
	});

	test('completes the body of a function', async () => {
		await window.openFile('math.ts');
		await window.press('Control+End');
		await window.type('\n// Adds two numbers.\nexport function add(a: number, b: number): number {\n');
		expect(await window.waitForGhostText()).toContain('return a + b;');
		await window.screenshot('completion', { forReadme: true });
		await window.press('Tab');
		await window.save();
	});

	test('answers in the chat', async () => {
		await window.runCommand('Hearth: Focus Chat');
		const chat = await window.webview('#prompt');
		await chat.locator('#prompt').waitFor();
		await window.widenSideBar(620);
		await chat.locator('#prompt').click();
		await window.type('Write a TypeScript function that reverses a string.');
		await window.press('Enter');
		const answer = chat.locator('.message.assistant[data-last][data-state="done"]');
		await answer.waitFor();
		expect(await answer.locator('.body').textContent()).toContain(".split('').reverse().join('')");
		await window.screenshot('chat', { forReadme: true });
	});

	test('is measured by the benchmark', async () => {
		await window.runCommand('Hearth: Run Benchmark');
		const report = await window.webview('table');
		await report.locator('svg').first().waitFor();
		await window.press('Control+B'); // closes the side bar, which shows nothing of interest here
		await window.page.locator('.part.sidebar').waitFor({ state: 'hidden' });
		await window.screenshot('benchmark', { forReadme: true });
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
