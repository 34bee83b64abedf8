// The chat in the side bar: an answer streams in, code goes to the editor and to the clipboard, and Stop stops an
// answer.
import type { FrameLocator } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { HANG_MILLISECONDS, recordMilliseconds, stepsOf, VsCode, type Window } from './workbench';

describe('chat', () => {
	let vscode: VsCode;
	let window: Window;
	let chat: FrameLocator;

	/** Sends a message with the keyboard and returns the locator of its answer. */
	async function ask(question: string) {
		await chat.locator('#prompt').click();
		await window.type(question);
		await window.press('Enter');
		await chat.locator('.message.user[data-last]', { hasText: question }).waitFor();
		return chat.locator('.message.assistant[data-last]');
	}

	/**
	 * Opens a new chat and waits for it. A conversation takes the focus when it opens, which would disturb a command
	 * typed before.
	 */
	async function newChat(): Promise<void> {
		await window.runCommand('Hearth: New Chat');
		await chat.locator('#empty').waitFor();
	}

	beforeAll(async () => {
		vscode = await VsCode.start('chat', {
			files: { 'numbers.ts': '// Numbers.\n' },
			settings: {
				'hearth.modelPath': inject('hearth').model,
				'hearth.contextTokens': 131_072,
				'hearth.chat.temperature': 0,
				'hearth.chat.maxTokens': 100_000,
			},
		});
		window = await vscode.openWindow();
		await window.ready();
		await window.openFile('numbers.ts');
		await window.runCommand('Hearth: Focus Chat');
		chat = await window.webview('#prompt');
		await chat.locator('#prompt').waitFor();
		await window.widenSideBar(620);
	});
	afterAll(() => vscode?.close());
	stepsOf(() => vscode);

	test('an answer streams in, with its reasoning folded away', async () => {
		await window.screenshot('chat-empty');
		const askedAt = performance.now();
		const answer = await ask('Write a Fibonacci function.');
		await answer.locator('.waiting').waitFor({ state: 'hidden' });
		recordMilliseconds('chatFirstToken', performance.now() - askedAt);
		await answer.and(chat.locator('[data-state="done"]')).waitFor();
		recordMilliseconds('chatAnswer', performance.now() - askedAt);
		const text = await answer.locator('.body').textContent();
		expect(text).toContain('fibonacci(n: number)');
		expect(text).not.toContain('<|');
		await answer.locator('.reasoning .label', { hasText: 'Thought for' }).waitFor();
		expect(await answer.locator('.reasoning').getAttribute('open')).toBeNull();
		expect(await answer.locator('.stats').textContent()).toContain('tok/s');
		await window.screenshot('chat-answer');
	});

	test('its code goes to the clipboard and into the editor', async () => {
		const block = chat.locator('.message.assistant[data-last] .code-block').first();
		await block.locator('.copy-code').click();
		const clipboard = () => window.page.evaluate(() => navigator.clipboard.readText());
		await expect.poll(clipboard, { timeout: HANG_MILLISECONDS }).toContain('fibonacci');
		await block.locator('.insert-code').click();
		await window.page.locator('.tab.active.dirty', { hasText: 'numbers.ts' }).waitFor();
		await window.save();
		expect(vscode.read('numbers.ts')).toContain('export function fibonacci(n: number): number {');
	});

	test('a second turn, a new chat, and the first one from the history', async () => {
		const answer = await ask('Thank you');
		await answer.and(chat.locator('[data-state="done"]')).waitFor();
		expect(await chat.locator('.message').count()).toBe(4);
		await newChat();
		expect(await chat.locator('.message').count()).toBe(0);
		await window.runCommand('Hearth: Show Chat History');
		await window.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Fibonacci' }).first().click();
		await chat.locator('.message.user', { hasText: 'Write a Fibonacci function.' }).waitFor();
		expect(await chat.locator('.message').count()).toBe(4);
		await chat.locator('#prompt:focus').waitFor();
		await newChat();
	});

	test('Stop stops, and what came until then stays', async () => {
		// The answers of the demo model end too soon to be stopped. A model of random weights rambles until someone stops
		// it.
		await window.runCommand('Hearth: Select Model…');
		await window.enterModelPath(inject('hearth').ramblingModel);
		await window.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Chat and completions' }).click();
		await window.toast('is ready');
		const answer = await ask('Who are you?');
		await answer.locator('.waiting').waitFor({ state: 'hidden' });
		await chat.locator('#stop').click();
		await answer.and(chat.locator('[data-state="stopped"]')).waitFor();
		await chat.locator('#send').waitFor();
		await window.screenshot('chat-stopped');
		await window.ready();
	});

	test('nothing was asked of other hosts, and no page reported an error', async () => {
		expect(await vscode.outsideRequests()).toEqual([]);
		expect(vscode.consoleErrors).toEqual([]);
	});

	test('no process is left', async () => {
		expect(await vscode.close()).toEqual([]);
	});
});
