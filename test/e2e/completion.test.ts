// Inline completions as a user meets them, and the one engine behind all windows.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { linux, needs } from '../support/needs';
import { internetSockets } from './sockets';
import { HANG_MILLISECONDS, recordMilliseconds, stepsOf, VsCode, type Window } from './workbench';

describe('completions', () => {
	let vscode: VsCode;
	let window: Window;

	beforeAll(async () => {
		vscode = await VsCode.start('completion', {
			files: { 'math.ts': '// Sums and sequences.\n', 'second.ts': '// In another window.\n', 'off.ts': '// Off.\n' },
			settings: { 'hearth.modelPath': inject('hearth').model },
		});
		window = await vscode.openWindow();
		await window.ready();
	});
	afterAll(() => vscode?.close());
	stepsOf(() => vscode);

	test('ghost text appears for typed code, and Tab accepts it', async () => {
		await window.openFile('math.ts');
		const elapsed = await window.timeGhostText();
		await window.type('\n// Adds two numbers.\nexport function add(a: number, b: number): number {\n');
		const suggestion = await window.waitForGhostText();
		recordMilliseconds('ghostText', await elapsed());
		expect(suggestion).toContain('return a + b;');
		await window.screenshot('completion-suggested');

		await window.press('Tab');
		const saved = async () => {
			await window.save();
			return vscode.read('math.ts');
		};
		await expect.poll(saved, { timeout: HANG_MILLISECONDS }).toContain('number {\n\treturn a + b;\n}');
		await window.screenshot('completion-accepted');
	});

	test('Escape hides it, the command asks for it again', async () => {
		await window.press('End');
		await window.type(
			'\n\n// Waits for the given time.\nexport function sleep(milliseconds: number): Promise<void> {\n',
		);
		const suggestion = await window.waitForGhostText();
		await window.press('Escape');
		await window.waitForNoGhostText();
		expect(await window.askForGhostText()).toBe(suggestion);
		await window.press('Escape');
		await window.save();
	});

	test('turned off there is none, and a command says why; turned on again there is', async () => {
		await window.openFile('off.ts');
		await window.runCommand('Hearth: Toggle Completions');
		await window.status('completions are off');
		await window.type('// Adds two numbers.\nexport function add(a: number, b: number): number {\n');
		await window.runCommand('Trigger Inline Suggestion');
		await window.runCommand('Hearth: Why No Suggestion?');
		const why = await window.toast('Completions are turned off');
		expect(await window.ghostText.count()).toBe(0);
		await window.screenshot('completions-off');
		await why.getByRole('button', { name: 'Turn On' }).click();
		await window.ready();
		await window.focusEditor();
		expect(await window.askForGhostText()).toContain('return');
		await window.press('Escape');
		await window.save();
	});

	test('a second window uses the same engine', async () => {
		const [first, ...others] = vscode.engines();
		expect(others).toEqual([]);
		const second = await vscode.openWindow();
		await second.ready();
		expect(vscode.engines()).toEqual([first]);
		await second.openFile('second.ts');
		await second.type('// Adds two numbers.\nexport function add(a: number, b: number): number {\n');
		expect(await second.waitForGhostText()).toContain('return a + b;');
		await second.press('Escape');
		await second.save();
		await second.page.close();
		expect(vscode.engines()).toEqual([first]);
	});

	test('an engine killed with -9 comes back and completes', async () => {
		const [engine] = vscode.engines();
		if (engine === undefined) throw new Error('no engine runs');
		const killedAt = performance.now();
		process.kill(engine, 'SIGKILL');
		await vscode.engineOtherThan(engine);
		await window.ready();
		recordMilliseconds('engineRestart', performance.now() - killedAt);
		expect(await window.askForGhostText()).toContain('return');
		await window.press('Escape');
	});

	test('the engine has no network socket', needs(linux), () => {
		expect(vscode.engines().flatMap(internetSockets)).toEqual([]);
	});

	test('nothing was asked of other hosts, and no page reported an error', async () => {
		expect(await vscode.outsideRequests()).toEqual([]);
		expect(vscode.consoleErrors).toEqual([]);
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
