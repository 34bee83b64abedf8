// A real VS Code with the packaged extension, driven in Chromium. `VsCode` is the server, its browser and its
// processes. `Window` is one VS Code window; its methods are what a user sees and does. Every wait is for a condition.
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

/** Ends a wait that hangs. No result of a test depends on this limit. */
export const HANG_MILLISECONDS = 10 * 60_000;

/** The limit of one try of something that is tried until it works. */
const ATTEMPT_MILLISECONDS = 10_000;

/**
 * The parts of a suggestion. `.suggest-preview-text` is not among them: it has no height, so it never counts as
 * visible.
 */
const GHOST_TEXT = ['.ghost-text-decoration', '.ghost-text-decoration-preview', '.ghost-text']
	.map((name) => `.editor-instance .monaco-editor ${name}`)
	.join(', ');

/** The colour theme of the windows. A picture in another theme has that theme in its name. */
const USUAL_THEME = 'Default Dark Modern';
const theme = process.env['HEARTH_E2E_THEME'] || USUAL_THEME;

/** Settings that make typing and screenshots the same every time. */
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
	/authentication provider 'github'/, // VS Code's own Copilot reports this
	// These come from a window that is closed or reloaded.
	/Long running operations during shutdown are unsupported in the web/,
	/Unable to read file '[^']+' \(Canceled: Canceled\)/, // VS Code reads a file again after a save
	/IndexedDB database '[^']+' is closed/,
	// VS Code limits how long a save may take when the extension host is short of processor time. Hearth takes no part in
	// saving.
	/Aborted onWillSaveTextDocument-event after \d+ms/,
];

type Run = Awaited<ReturnType<typeof startCodeServer>>;

export interface VsCodeOptions {
	/** Files of the workspace by path. */
	files: Record<string, string>;
	/** User settings that come on top of the quiet ones. */
	settings?: Record<string, unknown>;
	/** Environment variables of the server and of all that it starts. */
	variables?: Record<string, string>;
}

export class VsCode {
	readonly folder: string;
	readonly workspace: string;
	/** Errors of the page and its frames, as the browser's console shows them. */
	readonly consoleErrors: string[] = [];
	readonly #run: Run;
	readonly #context: BrowserContext;
	/** Requests to any other host than the server. */
	readonly #foreign: Request[] = [];
	#closed: Promise<{ pid: number; command: string }[]> | undefined;

	private constructor(folder: string, workspace: string, run: Run, context: BrowserContext) {
		this.folder = folder;
		this.workspace = workspace;
		this.#run = run;
		this.#context = context;
	}

	/** Starts VS Code with the extension installed. `name` is the name of its folder below test/output/. */
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

	/** Opens a window on the workspace and waits until the window can be used. */
	async openWindow(): Promise<Window> {
		const blank = this.#context.pages().find((page) => page.url() === 'about:blank');
		const page = blank ?? (await this.#context.newPage());
		await page.goto(`${this.#run.address}/?folder=${encodeURIComponent(this.workspace)}`);
		await page.locator('.monaco-workbench').waitFor();
		await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor();
		return new Window(page);
	}

	/**
	 * Addresses on other hosts that the pages asked for. A webview's own files only look like that; its service worker
	 * serves them.
	 */
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

	/** Process ids of the engines that run. */
	engines(): number[] {
		return processesOf(this.#run.marker)
			.filter(({ command }) => /hearth\.js\s.*\bserve\b/.test(command))
			.map(({ pid }) => pid);
	}

	/** Waits until exactly one engine runs and its process is not `other`. Resolves to its process id. */
	async engineOtherThan(other: number): Promise<number> {
		for (;;) {
			const engines = this.engines();
			if (engines.length === 1 && engines[0] !== undefined && engines[0] !== other) return engines[0];
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
	}

	/** The text of a workspace file as it is on the disk. */
	read(file: string): string {
		return readFileSync(path.join(this.workspace, file), 'utf8');
	}

	/**
	 * Closes the browser, ends the server and waits until every process has gone. Resolves to the processes that stayed.
	 */
	close(): Promise<{ pid: number; command: string }[]> {
		this.#closed ??= this.#context.close().then(() => this.#run.stop(HANG_MILLISECONDS));
		return this.#closed;
	}
}

export class Window {
	readonly page: Page;
	/** The suggestion at the cursor. */
	readonly ghostText: Locator;

	constructor(page: Page) {
		this.page = page;
		this.ghostText = page.locator(GHOST_TEXT);
	}

	/** Waits until Hearth's status bar item says `summary`, which is what a screen reader reads. */
	async status(summary: string): Promise<void> {
		await this.page.locator(`.statusbar-item [aria-label*="Hearth: "][aria-label*="${summary}"]`).first().waitFor();
	}

	/** Waits until the model is loaded and the engine is idle. */
	async ready(): Promise<void> {
		await this.status(', ready');
	}

	/** Opens a workspace file and puts the cursor at its end. */
	async openFile(file: string): Promise<void> {
		const name = path.basename(file);
		await this.#choose('Control+P', name, name);
		await this.page.locator('.tab.active', { hasText: name }).waitFor();
		await this.page.locator('.editor-instance .monaco-editor.focused').waitFor();
		await this.page.keyboard.press('Control+End');
	}

	/** Puts the focus back into the editor. The cursor stays where it was. */
	async focusEditor(): Promise<void> {
		await this.page.keyboard.press('Control+1');
		await this.page.locator('.editor-instance .monaco-editor.focused').waitFor();
	}

	/** Types key by key, as a person does, into whatever has the focus. */
	async type(text: string): Promise<void> {
		await this.page.keyboard.type(text, { delay: 20 });
	}

	async press(key: string): Promise<void> {
		await this.page.keyboard.press(key);
	}

	/** Waits for ghost text and resolves to it, line by line as it is on the screen. */
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
	 * Asks for ghost text by the command and resolves to it. The editor drops a request when the focus moves, which may
	 * happen while the palette closes on a busy machine. The command is then run again, as a person would do.
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
	 * Measures the milliseconds from the last key to the first frame with ghost text. It uses the page's own clock, so
	 * that the round trips between test and browser do not count. Call it before the keys are pressed; the function that
	 * it resolves to waits for the ghost text.
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

	/** Saves the active file, whatever has the focus. */
	async save(): Promise<void> {
		await this.page.locator('.tab.active').click();
		await this.page.keyboard.press('Control+S');
		await this.page.locator('.tab.active.dirty').waitFor({ state: 'detached' });
	}

	/**
	 * Runs a command by its title in the palette. A page that takes the focus late (a new chat does) closes the palette.
	 * The palette is then opened again until the command has been chosen.
	 */
	async runCommand(title: string): Promise<void> {
		await this.#choose('F1', `>${title}`, title);
	}

	/**
	 * Opens the quick input by a key, types a text and chooses the row that reads `row`. It starts again when something
	 * closes the quick input.
	 */
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

	/** Chooses a model by its path in the open list of "Select Model…". */
	async enterModelPath(file: string): Promise<void> {
		await this.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Enter a path' }).click();
		await this.page.locator('.quick-input-widget', { hasText: 'Path of the model' }).waitFor();
		await this.#quickInputBox.fill(file);
		await this.#quickInputBox.press('Enter');
	}

	/** Drags the edge of the side bar to `x` pixels from the left. */
	async widenSideBar(x: number): Promise<void> {
		const box = await this.page.locator('.part.sidebar').boundingBox();
		if (!box) throw new Error('the side bar is closed');
		const y = box.y + box.height / 2;
		await this.page.mouse.move(box.x + box.width + 2, y);
		await this.page.mouse.down();
		await this.page.mouse.move(x, y, { steps: 5 });
		await this.page.mouse.up();
	}

	/** Waits until a notification whose text matches has faded in. */
	async toast(text: string | RegExp): Promise<Locator> {
		const toast = this.page
			.locator('.notifications-toasts .notification-toast.notification-fade-in-done .notification-list-item')
			.filter({ hasText: text })
			.first();
		await toast.waitFor();
		return toast;
	}

	/**
	 * Finds a notification whose text matches in the list of all. A notification that nobody answers moves there after a
	 * while.
	 */
	async listedNotification(text: string | RegExp): Promise<Locator> {
		await this.runCommand('Notifications: Show Notifications');
		const item = this.page
			.locator('.notifications-center.visible .notification-list-item')
			.filter({ hasText: text })
			.first();
		await item.waitFor();
		return item;
	}

	/** The page inside the webview, of Hearth or another extension, that has `selector`. */
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

	/**
	 * Keeps a picture of the window in test/output/. A picture for the README is also renewed there when the run was
	 * asked to.
	 */
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
 * For tests that are the steps of one story. When a step fails, it leaves pictures of all windows and the later steps
 * are skipped.
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
