// A real VS Code with the packaged extension, driven in Chromium: `VsCode` is the server, its browser and its processes;
// `Window` is one VS Code window and speaks of what a user sees and does. Every wait is on a condition.
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
	type BrowserContext,
	chromium,
	type FrameLocator,
	type Locator,
	type Page,
	type Request,
} from 'playwright-core';
import { afterAll, afterEach, beforeEach, inject } from 'vitest';
import { quietSettings, startCodeServer, writeUserSettings } from '../../scripts/code-server.mjs';
import { processesOf } from '../../scripts/processes.mjs';
import { findBrowser } from '../../scripts/system.mjs';
import { skipNow } from '../support/needs';

const root = path.resolve(import.meta.dirname, '../..');
const output = path.join(root, 'test', 'output');

/** Ends a wait that hangs; no outcome depends on it. */
export const HANG_MILLISECONDS = 10 * 60_000;

/** One try of something that is tried again until it works. */
const ATTEMPT_MILLISECONDS = 10_000;

/** Parts of a suggestion. Not `.suggest-preview-text`: it has no height, so it never counts as visible. */
const GHOST_TEXT = ['.ghost-text-decoration', '.ghost-text-decoration-preview', '.ghost-text']
	.map((name) => `.editor-instance .monaco-editor ${name}`)
	.join(', ');

/** Colours of the windows; pictures of other than the usual ones have their name. */
const USUAL_THEME = 'Default Dark Modern';
const theme = process.env['HEARTH_E2E_THEME'] || USUAL_THEME;

/** What makes typing and screenshots the same every time. */
const steadySettings = {
	'workbench.colorTheme': theme,
	'files.autoSave': 'off',
	'files.simpleDialog.enable': true,
	'git.enabled': false,
	'editor.inlineSuggest.minShowDelay': 0,
	'editor.quickSuggestions': { other: 'off', comments: 'off', strings: 'off' },
	'editor.suggestOnTriggerCharacters': false,
	'editor.wordBasedSuggestions': 'off',
	'editor.parameterHints.enabled': false,
	'editor.insertSpaces': false,
	'editor.detectIndentation': false,
	'editor.minimap.enabled': false,
	'editor.cursorBlinking': 'solid',
};

/** Errors that this VS Code reports without any extension's doing. */
const knownErrors = [
	/^Failed to load resource: the server responded with a status of 404/,
	/authentication provider 'github'/, // the built-in Copilot's
	// A window that is closed or reloaded.
	/Long running operations during shutdown are unsupported in the web/,
	/Unable to read file '[^']+' \(Canceled: Canceled\)/, // read anew after a save, as the file's watcher tells
	/IndexedDB database '[^']+' is closed/,
	// VS Code's own limit on an extension host that is short of processor time; we take no part in saving.
	/Aborted onWillSaveTextDocument-event after \d+ms/,
];

type Run = Awaited<ReturnType<typeof startCodeServer>>;

export interface VsCodeOptions {
	/** Files of the workspace by path. */
	files: Record<string, string>;
	/** User settings on top of the quiet ones. */
	settings?: Record<string, unknown>;
	/** Environment variables of the server and all it starts. */
	variables?: Record<string, string>;
}

export class VsCode {
	readonly folder: string;
	readonly workspace: string;
	/** Errors of the page and its frames, as the browser's console shows them. */
	readonly consoleErrors: string[] = [];
	readonly #run: Run;
	readonly #context: BrowserContext;
	/** Requests to any host but the server itself. */
	readonly #foreign: Request[] = [];
	#closed: Promise<{ pid: number; command: string }[]> | undefined;

	private constructor(folder: string, workspace: string, run: Run, context: BrowserContext) {
		this.folder = folder;
		this.workspace = workspace;
		this.#run = run;
		this.#context = context;
	}

	/** Starts VS Code with the extension installed; `name` names its folder under test/output/. */
	static async start(name: string, options: VsCodeOptions): Promise<VsCode> {
		const { workbench, installed } = inject('hearth');
		const folder = path.join(output, name);
		rmSync(folder, { recursive: true, force: true });
		cpSync(installed, folder, { recursive: true });
		const workspace = path.join(folder, 'workspace');
		for (const [file, text] of Object.entries(options.files)) {
			mkdirSync(path.dirname(path.join(workspace, file)), { recursive: true });
			writeFileSync(path.join(workspace, file), text);
		}
		writeUserSettings(folder, { ...quietSettings, ...steadySettings, ...options.settings });
		const home = path.join(folder, 'home');
		mkdirSync(home);
		const run = await startCodeServer(workbench, {
			folder,
			variables: {
				HOME: home,
				XDG_CONFIG_HOME: path.join(home, '.config'),
				XDG_DATA_HOME: path.join(home, '.local', 'share'),
				XDG_STATE_HOME: path.join(home, '.local', 'state'),
				XDG_CACHE_HOME: path.join(home, '.cache'),
				...options.variables,
			},
		});
		try {
			const executablePath = findBrowser();
			if (!executablePath) throw new Error('no browser found');
			const context = await chromium.launchPersistentContext(path.join(folder, 'browser-profile'), {
				executablePath,
				headless: true,
				chromiumSandbox: process.getuid?.() !== 0,
				viewport: { width: 1280, height: 800 },
				locale: 'en-US',
				permissions: ['clipboard-read', 'clipboard-write'],
				env: { ...process.env, ...run.marker, HOME: home },
				args: [
					'--disable-gpu',
					'--disable-quic',
					'--disable-dev-shm-usage',
					'--no-first-run',
					'--disable-background-networking',
					'--disable-component-update',
					'--disable-sync',
				],
			});
			context.setDefaultTimeout(HANG_MILLISECONDS);
			const vscode = new VsCode(folder, workspace, run, context);
			context.on('request', (request) => {
				const { protocol, origin } = new URL(request.url());
				if (/^(https?|wss?):$/.test(protocol) && origin !== run.address) vscode.#foreign.push(request);
			});
			context.on('console', (message) => {
				const text = message.text();
				if (message.type() === 'error' && !knownErrors.some((known) => known.test(text))) {
					vscode.consoleErrors.push(text);
				}
			});
			context.on('weberror', (error) => vscode.consoleErrors.push(error.error().message));
			return vscode;
		} catch (error) {
			await run.stop(0);
			throw error;
		}
	}

	/** Opens a window on the workspace and waits until it can be used. */
	async openWindow(): Promise<Window> {
		const blank = this.#context.pages().find((page) => page.url() === 'about:blank');
		const page = blank ?? (await this.#context.newPage());
		await page.goto(`${this.#run.address}/?folder=${encodeURIComponent(this.workspace)}`);
		await page.locator('.monaco-workbench').waitFor();
		await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor();
		return new Window(page);
	}

	/** Addresses on other hosts that were asked for. A webview's own files only look so: its service worker serves them. */
	async outsideRequests(): Promise<string[]> {
		const outside: string[] = [];
		for (const request of this.#foreign) {
			if (!(await request.response())?.fromServiceWorker()) outside.push(request.url());
		}
		return outside;
	}

	/** Keeps a picture of every window in test/output/. */
	async screenshotWindows(name: string): Promise<void> {
		for (const [index, page] of this.#context.pages().entries()) {
			await page.screenshot({ path: path.join(output, `${name}-${index}.png`) });
		}
	}

	/** Process ids of the living engines. */
	engines(): number[] {
		return processesOf(this.#run.marker)
			.filter(({ command }) => /hearth\.js\s.*\bserve\b/.test(command))
			.map(({ pid }) => pid);
	}

	/** Waits until exactly one engine lives and it is not `other`; returns its process id. */
	async engineOtherThan(other: number): Promise<number> {
		for (;;) {
			const engines = this.engines();
			if (engines.length === 1 && engines[0] !== undefined && engines[0] !== other) return engines[0];
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
	}

	/** The text of a file of the workspace as it is on disk. */
	read(file: string): string {
		return readFileSync(path.join(this.workspace, file), 'utf8');
	}

	/** Closes the browser, ends the server and waits until every process has gone; returns those that stayed. */
	close(): Promise<{ pid: number; command: string }[]> {
		this.#closed ??= this.#context.close().then(() => this.#run.stop(HANG_MILLISECONDS));
		return this.#closed;
	}
}

export class Window {
	readonly page: Page;
	/** The suggestion shown at the cursor. */
	readonly ghostText: Locator;

	constructor(page: Page) {
		this.page = page;
		this.ghostText = page.locator(GHOST_TEXT);
	}

	/** Waits until our status bar item says `summary` (what a screen reader reads). */
	async status(summary: string): Promise<void> {
		await this.page.locator(`.statusbar-item [aria-label*="Hearth: "][aria-label*="${summary}"]`).first().waitFor();
	}

	/** Waits until the model is loaded and the engine idle. */
	async ready(): Promise<void> {
		await this.status(', ready');
	}

	/** Opens a file of the workspace with the cursor at its end. */
	async openFile(file: string): Promise<void> {
		const name = path.basename(file);
		await this.#choose('Control+P', name, name);
		await this.page.locator('.tab.active', { hasText: name }).waitFor();
		await this.page.locator('.editor-instance .monaco-editor.focused').waitFor();
		await this.page.keyboard.press('Control+End');
	}

	/** Puts the focus back into the editor, the cursor where it was. */
	async focusEditor(): Promise<void> {
		await this.page.keyboard.press('Control+1');
		await this.page.locator('.editor-instance .monaco-editor.focused').waitFor();
	}

	/** Types as a person does, key by key, into what has the focus. */
	async type(text: string): Promise<void> {
		await this.page.keyboard.type(text, { delay: 20 });
	}

	async press(key: string): Promise<void> {
		await this.page.keyboard.press(key);
	}

	/** Waits for ghost text and returns it, line by line as it is on the screen. */
	async waitForGhostText(): Promise<string> {
		await this.ghostText.first().waitFor({ state: 'visible' });
		const pieces = await this.ghostText.evaluateAll((elements) =>
			elements
				.filter((element) => element.children.length === 0 || !element.querySelector('[class*="ghost-text"]'))
				.map((element) => ({ text: element.textContent ?? '', box: element.getBoundingClientRect() }))
				.map(({ text, box }) => ({ text, top: Math.round(box.top), left: box.left })),
		);
		const lines = new Map<number, typeof pieces>();
		for (const piece of pieces) lines.set(piece.top, [...(lines.get(piece.top) ?? []), piece]);
		return [...lines]
			.sort(([a], [b]) => a - b)
			.map(([, line]) => line.sort((a, b) => a.left - b.left))
			.map((line) => line.map(({ text }) => text).join(''))
			.join('\n')
			.replaceAll('\u00a0', ' ');
	}

	/**
	 * Asks for ghost text by the command and returns it. The editor drops what it asked for when the focus moves, as it may while
	 * the palette closes on a busy machine: then it is asked again, as a person would.
	 */
	async askForGhostText(): Promise<string> {
		const giveUp = performance.now() + HANG_MILLISECONDS;
		for (;;) {
			await this.runCommand('Trigger Inline Suggestion');
			try {
				await this.ghostText.first().waitFor({ state: 'visible', timeout: ATTEMPT_MILLISECONDS });
				return await this.waitForGhostText();
			} catch (error) {
				if (performance.now() > giveUp) throw error;
			}
		}
	}

	/**
	 * Milliseconds from the last key to the first frame with ghost text, by the page's own clock: what a test's round trips to
	 * the browser take is not in it. Called before the keys are pressed; the result waits for the ghost text.
	 */
	async timeGhostText(): Promise<() => Promise<number>> {
		const timer = await this.page.evaluateHandle((selector) => {
			let keyAt = Number.NaN;
			let shown: (milliseconds: number) => void = () => {};
			let done = new Promise<number>(() => {});
			const look = () => {
				if (!document.querySelector(selector)) return;
				const since = keyAt;
				requestAnimationFrame(() => {
					if (since === keyAt) shown(performance.now() - since);
				});
			};
			const observer = new MutationObserver(look);
			const onKey = (event: KeyboardEvent) => {
				keyAt = event.timeStamp;
				done = new Promise((resolve) => {
					shown = resolve;
				});
			};
			window.addEventListener('keydown', onKey, true);
			observer.observe(document.body, { subtree: true, childList: true, attributes: true });
			return {
				async wait() {
					const milliseconds = await done;
					observer.disconnect();
					window.removeEventListener('keydown', onKey, true);
					return milliseconds;
				},
			};
		}, GHOST_TEXT);
		return () => timer.evaluate((running) => running.wait());
	}

	async waitForNoGhostText(): Promise<void> {
		await this.ghostText.first().waitFor({ state: 'detached' });
	}

	/** Saves the active file, wherever the focus is. */
	async save(): Promise<void> {
		await this.page.locator('.tab.active').click();
		await this.page.keyboard.press('Control+S');
		await this.page.locator('.tab.active.dirty').waitFor({ state: 'detached' });
	}

	/**
	 * Runs a command by its title in the palette. A page that takes the focus late (a new chat does) closes the palette: then
	 * it is opened again, until the command has been chosen.
	 */
	async runCommand(title: string): Promise<void> {
		await this.#choose('F1', `>${title}`, title);
	}

	/** Opens the quick input by a key, types, and takes the row that reads `row`; again, if something closes it. */
	async #choose(key: string, text: string, row: string): Promise<void> {
		const giveUp = performance.now() + HANG_MILLISECONDS;
		for (;;) {
			try {
				await this.page.keyboard.press(key);
				await this.#quickInputBox.waitFor({ timeout: ATTEMPT_MILLISECONDS });
				await this.#quickInputBox.fill(text, { timeout: ATTEMPT_MILLISECONDS });
				const rows = this.page.locator('.quick-input-list .monaco-list-row');
				const exact = rows.filter({ has: this.page.getByText(row, { exact: true }) });
				await exact.first().click({ timeout: ATTEMPT_MILLISECONDS });
				return;
			} catch (error) {
				if (performance.now() > giveUp) throw error;
			}
		}
	}

	get #quickInputBox(): Locator {
		return this.page.locator('.quick-input-widget:visible input').first();
	}

	/** Chooses a model by its path, from the open list of "Select Model…". */
	async enterModelPath(file: string): Promise<void> {
		await this.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Enter a path' }).click();
		await this.page.locator('.quick-input-widget', { hasText: 'Path of the model' }).waitFor();
		await this.#quickInputBox.fill(file);
		await this.#quickInputBox.press('Enter');
	}

	/** Drags the side bar's edge to `x` pixels from the left. */
	async widenSideBar(x: number): Promise<void> {
		const box = await this.page.locator('.part.sidebar').boundingBox();
		if (!box) throw new Error('the side bar is closed');
		const y = box.y + box.height / 2;
		await this.page.mouse.move(box.x + box.width + 2, y);
		await this.page.mouse.down();
		await this.page.mouse.move(x, y, { steps: 5 });
		await this.page.mouse.up();
	}

	/** Waits for a notification whose text matches, faded in. */
	async toast(text: string | RegExp): Promise<Locator> {
		const toast = this.page
			.locator('.notifications-toasts .notification-toast.notification-fade-in-done .notification-list-item')
			.filter({ hasText: text })
			.first();
		await toast.waitFor();
		return toast;
	}

	/** A notification whose text matches, in the list of all: messages without an answer go there after a while. */
	async listedNotification(text: string | RegExp): Promise<Locator> {
		await this.runCommand('Notifications: Show Notifications');
		const item = this.page
			.locator('.notifications-center.visible .notification-list-item')
			.filter({ hasText: text })
			.first();
		await item.waitFor();
		return item;
	}

	/** The page inside a webview of the extension, or of another one: the page that has `selector`. */
	async webview(selector: string, extension = 'hearth.hearth'): Promise<FrameLocator> {
		const frames = this.page.locator(`iframe.webview.ready[src*="extensionId=${extension}&"]`);
		for (;;) {
			for (let i = 0; i < (await frames.count()); i++) {
				const inner = frames.nth(i).contentFrame().frameLocator('iframe#active-frame');
				if ((await inner.locator(selector).count()) > 0) return inner;
			}
			await this.page.waitForTimeout(100);
		}
	}

	/** Keeps a picture of the window in test/output/; the README's are renewed when asked for. */
	async screenshot(name: string, options: { forReadme?: boolean } = {}): Promise<void> {
		const usual = theme === USUAL_THEME;
		const file = path.join(output, usual ? `${name}.png` : `${name} (${theme}).png`);
		await this.page.screenshot({ path: file });
		if (options.forReadme && usual && inject('hearth').updateImages) {
			copyFileSync(file, path.join(root, 'docs', 'images', `${name}.png`));
		}
	}
}

/** Keeps a figure of this run in test/output/e2e.json. */
export function recordMilliseconds(name: string, milliseconds: number): void {
	const file = path.join(output, 'e2e.json');
	const figures = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
	figures[name] = Math.round(milliseconds);
	writeFileSync(file, `${JSON.stringify(figures, undefined, '\t')}\n`);
}

/**
 * For tests that are the steps of one story: the first that fails leaves pictures of all windows, and the rest are
 * skipped.
 */
export function stepsOf(vscode: () => VsCode | undefined): void {
	let begun = false;
	let failed = false;
	beforeEach((context) => {
		begun = true;
		if (failed) skipNow(context, 'after a step that failed');
	});
	afterEach(async ({ task }) => {
		if (task.result?.state !== 'fail') return;
		failed = true;
		await vscode()?.screenshotWindows(`failed-${task.name.replaceAll(/\W+/g, '-')}`);
	});
	afterAll(async () => {
		if (!begun) await vscode()?.screenshotWindows('failed-to-begin');
	});
}
