// A real model, if a small one: its ghost text, and how long it takes to appear once what is before it is in the cache.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { recordMilliseconds, stepsOf, VsCode, type Window } from './workbench';

/** Lines that SmolLM2 has something to add to, as typed up to the cursor. */
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

const { smollm2 } = inject('hearth');

describe.skipIf(!smollm2)('SmolLM2-135M-Instruct', () => {
	let vscode: VsCode;
	let window: Window;

	beforeAll(async () => {
		vscode = await VsCode.start('small-model', {
			files: { 'helpers.ts': '// Small helpers.\n' },
			settings: { 'hearth.modelPath': smollm2, 'hearth.completions.multiline': 'never' },
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

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
