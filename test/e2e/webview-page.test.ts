// Tests the built webview pages alone in a browser, under the same content security policy as in VS Code. The test
// plays the host. It checks what a model may write, how an answer grows, and use by keyboard and screen reader.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BenchmarkReport } from '../../engine/protocol';
import { webviewPage } from '../../extension/webviewPage';
import { findBrowser } from '../../scripts/system.mjs';
import type {
	AssistantEntry,
	ChatSnapshot,
	EngineView,
	HostToBenchmark,
	HostToChat,
	UserEntry,
} from '../../webview/messages';

const ORIGIN = 'http://webview.test';
const assets = path.resolve(import.meta.dirname, '../../dist/webview');

let browser: Browser;
let page: Page;
/** Requests of the page for anything but its own files. */
let outside: string[];
/** Errors and policy violations, as the browser's console shows them. */
let errors: string[];

beforeAll(async () => {
	const executablePath = findBrowser();
	if (!executablePath) throw new Error('no browser found');
	browser = await chromium.launch({
		executablePath,
		chromiumSandbox: process.getuid?.() !== 0,
		args: ['--disable-gpu'],
	});
});

afterAll(() => browser.close());

afterEach(() => page.close());

async function open(name: 'chat' | 'benchmark'): Promise<void> {
	page = await browser.newPage({ viewport: { width: 300, height: 600 } });
	outside = [];
	errors = [];
	page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
	page.on('pageerror', (error) => errors.push(error.message));
	const html = webviewPage({
		title: name,
		cspSource: ORIGIN,
		scriptUri: `${ORIGIN}/${name}.js`,
		styleUri: `${ORIGIN}/${name}.css`,
		nonce: 'nonce',
	});
	await page.route('**/*', (route) => {
		const { origin, pathname } = new URL(route.request().url());
		if (origin !== ORIGIN) {
			outside.push(route.request().url());
			return route.abort();
		}
		if (pathname === '/') return route.fulfill({ contentType: 'text/html', body: html });
		return route.fulfill({ path: path.join(assets, path.basename(pathname)) });
	});
	await page.addInitScript(() => {
		const sent: unknown[] = [];
		Object.assign(window, {
			sent,
			acquireVsCodeApi: () => ({
				postMessage: (message: unknown) => sent.push(message),
				getState: () => undefined,
				setState: () => {},
			}),
		});
	});
	await page.goto(`${ORIGIN}/`);
	expect(await sent()).toEqual([{ type: 'ready' }]);
}

const say = (message: HostToChat | HostToBenchmark) => page.evaluate((data) => window.postMessage(data, '*'), message);
const sent = () => page.evaluate(() => (window as unknown as { sent: { type: string }[] }).sent);
const lastSent = async () => (await sent()).at(-1);
/** Resolves after two frames: what was to be drawn in the next frame has then been drawn. */
const drawn = () =>
	page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));

const question: UserEntry = { role: 'user', id: 'q', content: 'What?', attachments: [] };
const answer = (change: Partial<AssistantEntry>): AssistantEntry => ({
	role: 'assistant',
	id: 'a',
	content: '',
	reasoning: '',
	state: 'done',
	...change,
});
const snapshot = (change: Partial<ChatSnapshot>): HostToChat => ({
	type: 'snapshot',
	snapshot: {
		entries: [],
		attachments: [],
		engine: { state: 'ready' },
		reasoningEffort: 'medium',
		reasoningDisplay: 'collapsed',
		...change,
	},
});

describe('what a model writes', () => {
	const HOSTILE = [
		'<script>window.pwned = 1</script><img src="https://evil.example/a.png" onerror="window.pwned = 1">',
		'![x](https://evil.example/b.png) [js](javascript:window.pwned=1) [ok](https://example.com/x) <svg onload=alert(1)>',
		'<form action="https://evil.example"><button>Log in</button></form>',
		'| a |\n|--:|\n| <b style="color:red">1</b> |',
		'```html\n<script>window.pwned = 1</script>\n```',
		'```"><img src=x onerror=window.pwned=1>\ncode\n```',
	].join('\n\n');

	it('never becomes script, picture, form, style or request', async () => {
		await open('chat');
		const hostile = answer({ content: HOSTILE, reasoning: HOSTILE, reasoningMilliseconds: 10 });
		await say(snapshot({ entries: [{ ...question, content: HOSTILE }, hostile], reasoningDisplay: 'expanded' }));
		await page.locator('.message.assistant .body table').waitFor();
		expect(await page.locator('#messages').locator('script, img, svg, form, iframe, [style], [onerror]').count()).toBe(
			0,
		);
		const links = await page.locator('.body a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
		expect(links).toContain('https://example.com/x');
		expect(links.filter((link) => !link?.startsWith('https://'))).toEqual([]);
		expect(await page.evaluate(() => 'pwned' in window)).toBe(false);
		expect(outside).toEqual([]);
		expect(errors).toEqual([]);
	});

	it('opens links through the host only', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ content: '[ok](https://example.com/x)' })] }));
		await page.locator('.body a').click();
		expect(await lastSent()).toEqual({ type: 'open-link', href: 'https://example.com/x' });
		expect(page.url()).toBe(`${ORIGIN}/`);
		expect(outside).toEqual([]);
	});

	it('leads to files, which the host opens, and to nothing that runs', async () => {
		await open('chat');
		const links: [markdown: string, href: string | null][] = [
			['src/a.ts', 'src/a.ts'],
			['./src/a.ts:12', './src/a.ts:12'],
			['a.ts:12', 'a.ts:12'],
			['../a.ts#L12', '../a.ts#L12'],
			['<my file.ts>', 'my%20file.ts'],
			['/etc/hosts', '/etc/hosts'],
			['C:\\\\src\\\\a.ts', 'C:%5Csrc%5Ca.ts'],
			['file:///src/a.ts', 'file:///src/a.ts'],
			['mailto:a@b.example', 'mailto:a@b.example'],
			['command:workbench.action.quit', null],
			['vscode://x/y', null],
			['//evil.example/x', null],
			['blob:x', null],
		];
		const content = links.map(([to], i) => `[link ${i}](${to})`).join(' ');
		await say(snapshot({ entries: [question, answer({ content })] }));
		for (const [i, [to, href]] of links.entries()) {
			const before = (await sent()).length;
			const link = page.locator('.body').getByText(`link ${i}`, { exact: true });
			if (href !== null && i % 2 === 0) await link.press('Enter');
			else await link.click();
			expect((await sent()).slice(before), to).toEqual(href === null ? [] : [{ type: 'open-link', href }]);
		}
		expect(page.url()).toBe(`${ORIGIN}/`);
		expect(outside).toEqual([]);
		expect(errors).toEqual([]);
	});

	it('cannot move the page to another base, nor send a form', async () => {
		await open('chat');
		await page.evaluate(() => {
			document.head.insertAdjacentHTML('beforeend', '<base href="https://evil.example/">');
			document.body.insertAdjacentHTML('beforeend', '<form id="evil" action="https://evil.example/"></form>');
			(document.getElementById('evil') as HTMLFormElement).submit();
		});
		await expect.poll(() => errors.filter((text) => text.includes('form-action')).length).toBe(1);
		expect(errors.filter((text) => text.includes('base-uri')).length).toBe(1);
		expect(await page.evaluate(() => document.baseURI)).toBe(`${ORIGIN}/`);
		expect(page.url()).toBe(`${ORIGIN}/`);
		expect(outside).toEqual([]);
	});

	it('shows formulas as they were written', async () => {
		await open('chat');
		const content = 'So \\(a_1 * b_1\\) and\n\n\\[\n  x = \\{1\\}\n\\]';
		await say(snapshot({ entries: [question, answer({ content })] }));
		await page.locator('.formula').waitFor();
		expect(await page.locator('.body p').allTextContents()).toEqual([
			'So \\(a_1 * b_1\\) and',
			'\\[\n  x = \\{1\\}\n\\]',
		]);
		expect(await page.locator('.body code').count()).toBe(0);
	});

	it('is refused by the policy even where the sanitiser would fail', async () => {
		await open('chat');
		await page.evaluate(() => {
			document.body.insertAdjacentHTML('beforeend', '<img src="https://evil.example/c.png"><i style="color:red">x</i>');
			const script = document.createElement('script');
			script.textContent = 'window.pwned = 1';
			document.body.append(script);
		});
		await drawn();
		expect(await page.evaluate(() => 'pwned' in window)).toBe(false);
		expect(outside).toEqual([]);
		expect(errors.filter((text) => text.includes('Content Security Policy')).length).toBeGreaterThanOrEqual(3);
	});
});

describe('an answer without text', () => {
	const notice = { message: 'The model ended its turn without an answer.', actions: ['retry' as const] };

	it('says so, and is tried again by keyboard', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ state: 'streaming' })] }));
		await say({ type: 'entry', entry: answer({ reasoning: 'Hm.', reasoningMilliseconds: 10, notice }) });
		const outcome = page.locator('.message.assistant .outcome');
		await outcome.waitFor();
		expect(await outcome.textContent()).toContain(notice.message);
		expect(await page.locator('#announcer').textContent()).toBe(notice.message);
		await outcome.getByRole('button', { name: 'Try Again' }).focus();
		await page.keyboard.press('Enter');
		expect(await lastSent()).toEqual({ type: 'action', action: 'retry' });
		expect(errors).toEqual([]);
	});

	it('offers that only for the last one', async () => {
		await open('chat');
		const entries = [question, answer({ notice }), { ...question, id: 'q2' }, answer({ id: 'a2', notice })];
		await say(snapshot({ entries }));
		await page.locator('[data-id="a2"] .outcome').waitFor();
		expect(await page.locator('[data-id="a"] .outcome').textContent()).toContain(notice.message);
		expect(
			await page.locator('[data-action="retry"]').evaluateAll((all) => all.map((a) => a.checkVisibility())),
		).toEqual([false, true]);
	});
});

describe('a preamble', () => {
	it('is shown before the answer while both stream, and in the end', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ state: 'streaming' })] }));
		await say({ type: 'delta', id: 'a', reasoning: '', preamble: 'I **look**.', content: '' });
		await page.locator('.preamble strong').waitFor();
		expect(await page.locator('.waiting').isVisible()).toBe(false);
		await say({ type: 'delta', id: 'a', reasoning: '', content: 'Done.' });
		await say({ type: 'entry', entry: answer({ preamble: 'I **look**.', content: 'Done.' }) });
		await drawn();
		const text = (await page.locator('.message.assistant').textContent()) ?? '';
		expect(text.indexOf('I look.')).toBeGreaterThan(-1);
		expect(text.indexOf('Done.')).toBeGreaterThan(text.indexOf('I look.'));
		await say({ type: 'entry', entry: answer({ content: 'I **look**.' }) });
		await drawn();
		expect(await page.locator('.preamble').isVisible()).toBe(false);
		expect(await page.locator('.message.assistant .markdown:visible').allInnerTexts()).toEqual(['I look.']);
	});
});

describe('an answer that grows', () => {
	const TEXT = readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8');

	it('ends as if it had come at once, and leaves finished blocks alone on the way', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ content: TEXT })] }));
		const whole = await page.locator('.body.markdown').evaluate((body) => body.innerHTML);

		await say(snapshot({ entries: [question, answer({ state: 'streaming' })] }));
		let kept = 0;
		for (let at = 0; at < TEXT.length; at += 97) {
			await say({ type: 'delta', id: 'a', reasoning: '', content: TEXT.slice(at, at + 97) });
			await drawn();
			// A mark on each finished block later shows whether the block is still the same element.
			kept = await page.locator('.body.markdown').evaluate((body) => {
				const blocks = [...body.children].filter((child) => !child.classList.contains('tail'));
				for (const block of blocks) Object.assign(block, { seen: true });
				return blocks.length;
			});
		}
		expect(kept).toBeGreaterThan(5);
		await say({ type: 'entry', entry: answer({ content: TEXT }) });
		await page.locator('.message.assistant[data-state="done"]').waitFor();
		const body = page.locator('.body.markdown');
		expect(await body.evaluate((node) => node.innerHTML)).toBe(whole);
		const same = await body.evaluate((node) => [...node.children].filter((child) => 'seen' in child).length);
		expect(same).toBe(kept);
		expect(errors).toEqual([]);
	});

	it('shows reasoning while it lasts and how long it took', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ state: 'streaming' })] }));
		await page.locator('.waiting').waitFor();
		await say({ type: 'delta', id: 'a', reasoning: 'Let me *see*', content: '' });
		await page.locator('.reasoning .label', { hasText: /^Thinking… \d+ s$/ }).waitFor();
		expect(await page.locator('.waiting').isVisible()).toBe(false);
		expect(await page.locator('.reasoning-body').isVisible()).toBe(false);
		await say({
			type: 'entry',
			entry: answer({ content: 'So.', reasoning: 'Let me *see*', reasoningMilliseconds: 3210 }),
		});
		await page.locator('.reasoning summary', { hasText: 'Thought for 3.2 s' }).click();
		expect(await page.locator('.reasoning-body em').textContent()).toBe('see');
	});

	it('stays where the reader has scrolled to, and follows at the end', async () => {
		await open('chat');
		const long = 'Line.\n\n'.repeat(60);
		await say(snapshot({ entries: [question, answer({ state: 'streaming' })] }));
		await say({ type: 'delta', id: 'a', reasoning: '', content: long });
		await drawn();
		const below = () => page.locator('#messages').evaluate((m) => m.scrollHeight - m.scrollTop - m.clientHeight);
		expect(await below()).toBeLessThan(2);
		await page.locator('#messages').evaluate((m) => m.scrollTo(0, 0));
		await page.locator('#to-end').waitFor();
		await say({ type: 'delta', id: 'a', reasoning: '', content: long });
		await drawn();
		expect(await page.locator('#messages').evaluate((m) => m.scrollTop)).toBe(0);
		await page.locator('#to-end').click();
		await page.locator('#to-end').waitFor({ state: 'hidden' });
		expect(await below()).toBeLessThan(2);
	});
});

describe('writing', () => {
	it('sends with Enter, breaks the line with Shift+Enter, and leaves Enter to an input method', async () => {
		await open('chat');
		await say(snapshot({}));
		const prompt = page.locator('#prompt');
		await prompt.focus();
		await page.keyboard.type('one');
		await page.keyboard.press('Shift+Enter');
		await page.keyboard.type('two');
		await prompt.dispatchEvent('keydown', { key: 'Enter', isComposing: true });
		expect(await lastSent()).toEqual({ type: 'ready' });
		await page.keyboard.press('Enter');
		expect(await lastSent()).toEqual({ type: 'send', text: 'one\ntwo' });
		expect(await prompt.inputValue()).toBe('');
		await page.keyboard.press('Enter');
		expect((await sent()).filter(({ type }) => type === 'send')).toHaveLength(1);
	});

	it('stops with Escape, and sends nothing while an answer comes', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ state: 'streaming' })] }));
		await page.locator('#stop').waitFor();
		await page.locator('#prompt').fill('more');
		await page.keyboard.press('Enter');
		expect((await sent()).some(({ type }) => type === 'send')).toBe(false);
		await page.keyboard.press('Escape');
		expect(await lastSent()).toEqual({ type: 'stop' });
	});

	it('edits the last message in place of it; Escape leaves that first', async () => {
		await open('chat');
		await say(snapshot({ entries: [question, answer({ content: 'So.' })] }));
		await page.locator('.message.user .edit').click();
		expect(await page.locator('#prompt').inputValue()).toBe('What?');
		await page.keyboard.press('Escape');
		expect(await page.locator('#editing').isVisible()).toBe(false);
		await page.locator('.message.user .edit').click();
		await page.keyboard.press('End');
		await page.keyboard.type('!');
		await page.keyboard.press('Enter');
		expect(await lastSent()).toEqual({ type: 'send', text: 'What?!', replaces: 'q' });
	});

	it('copies and inserts code through the host, to the letter', async () => {
		await open('chat');
		const code = 'if (a < b) {\n\treturn "&amp;";\n}';
		await say(snapshot({ entries: [question, answer({ content: `\`\`\`ts\n${code}\n\`\`\`\n` })] }));
		await page.locator('.copy-code').click();
		expect(await lastSent()).toEqual({ type: 'copy', text: code });
		await say({ type: 'copied', ok: true });
		await page.locator('.copy-code .codicon-check').waitFor();
		await page.locator('.insert-code').click();
		expect(await lastSent()).toEqual({ type: 'insert', text: code });
	});
});

describe('the reasoning effort', () => {
	const engine = (model: object): EngineView => ({
		state: 'ready',
		status: { model } as unknown as NonNullable<EngineView['status']>,
	});

	it('is offered for a model to which it makes a difference only', async () => {
		await open('chat');
		const effort = page.locator('#effort');
		await say(snapshot({ engine: { state: 'starting' } }));
		await drawn();
		expect(await effort.isVisible()).toBe(false);
		await say({ type: 'engine', engine: engine({ name: 'gpt-oss', takesReasoningEffort: true }) });
		await effort.waitFor();
		await effort.selectOption('high');
		expect(await lastSent()).toEqual({ type: 'reasoning-effort', effort: 'high' });
		// While the engine starts again, it is not known whether there is another model.
		await say({ type: 'engine', engine: { state: 'restarting' } });
		await drawn();
		expect(await effort.isVisible()).toBe(true);
		await say({ type: 'engine', engine: engine({ name: 'SmolLM2' }) });
		await effort.waitFor({ state: 'hidden' });
		await say(snapshot({ engine: engine({ name: 'SmolLM2' }) }));
		await drawn();
		expect(await effort.isVisible()).toBe(false);
	});
});

describe('without an engine', () => {
	it('begins with a button to choose a model, and cannot send', async () => {
		await open('chat');
		await say(snapshot({ engine: { state: 'off' } }));
		await page.locator('#prompt').fill('hello');
		expect(await page.locator('#send').isDisabled()).toBe(true);
		await page.locator('#select-model').click();
		expect(await lastSent()).toEqual({ type: 'action', action: 'select-model' });
		await say({ type: 'engine', engine: { state: 'ready' } });
		expect(await page.locator('#select-model').count()).toBe(0);
		expect(await page.locator('#send').isEnabled()).toBe(true);
	});

	it('says what is wrong and offers what helps', async () => {
		await open('chat');
		await say(snapshot({ engine: { state: 'error', message: 'The file is cut off.' } }));
		await page.locator('#engine-notice', { hasText: 'The file is cut off.' }).waitFor();
		await page.locator('#engine-notice [data-action="show-log"]').click();
		expect(await lastSent()).toEqual({ type: 'action', action: 'show-log' });
		const failed = answer({ state: 'error', error: { message: 'It stopped.', actions: ['retry'] } });
		await say(snapshot({ entries: [question, failed] }));
		await page.locator('.error[role="alert"]', { hasText: 'It stopped.' }).waitFor();
		await page.locator('.error [data-action="retry"]').click();
		expect(await lastSent()).toEqual({ type: 'action', action: 'retry' });
	});
});

describe('screen readers', () => {
	it('hear states, not tokens, and find a name on every control', async () => {
		await open('chat');
		const attachments = [{ id: 'f', label: 'a.ts', languageId: 'typescript' }];
		await say(snapshot({ entries: [question, answer({ state: 'streaming' })], attachments }));
		const log = page.getByRole('log', { name: 'Conversation' });
		expect(await log.getAttribute('aria-busy')).toBe('true');
		await say({ type: 'delta', id: 'a', reasoning: '', content: 'So it is.' });
		await page.locator('#announcer', { hasText: 'Answering' }).waitFor({ state: 'attached' });
		await say({ type: 'entry', entry: answer({ content: '```js\n1\n```' }) });
		await page.locator('#announcer', { hasText: 'Answer complete' }).waitFor({ state: 'attached' });
		expect(await log.getAttribute('aria-busy')).toBe('false');
		const unnamed = await page
			.locator('button, select, textarea')
			.evaluateAll((all) =>
				all.filter((control) => !control.getAttribute('aria-label') && !control.textContent?.trim()),
			);
		expect(unnamed).toEqual([]);
		await page.getByRole('button', { name: 'Remove a.ts' }).click();
		expect(await lastSent()).toEqual({ type: 'detach', id: 'f' });
	});
});

describe('the benchmark report', () => {
	const report = (speed: number): BenchmarkReport => ({
		createdAt: '2026-01-02T03:04:05.000Z',
		version: '0.1.0',
		machine: { cpu: 'CPU', cores: 2, memoryBytes: 24e9, platform: 'linux', features: ['avx2'] },
		model: { name: '<b>model</b>', path: '/m', fileBytes: 1e9, parameterCount: 1e9, bytesPerToken: 1e8 },
		backend: 'cpu',
		kernels: 'avx2',
		threads: 2,
		results: [
			{ test: 'load', engine: 'hearth', milliseconds: { mean: 900, stddev: 0, samples: [900] } },
			{
				test: 'pp512',
				engine: 'hearth',
				tokensPerSecond: { mean: speed, stddev: 1, samples: [speed] },
				milliseconds: { mean: 512_000 / speed, stddev: 10, samples: [] },
			},
		],
		memory: { peakBytes: 2e9, averageBytes: 1e9, mappedBytes: 1e9 },
	});

	it('shows table and chart, compares with another run, and copies both ways', async () => {
		await open('benchmark');
		const earlier = [{ id: 'old', createdAt: '2026-01-01T00:00:00.000Z', model: 'model', kernels: 'avx2' }];
		await say({ type: 'report', report: report(100), id: 'new', earlier });
		await page.getByRole('heading', { name: 'Benchmark of <b>model</b>' }).waitFor();
		expect(await page.locator('tr[data-test="pp512"] .speed').textContent()).toBe('100.0 ± 1.0');
		expect(await page.locator('.chart .bar').count()).toBe(1);
		await page.locator('#compare').selectOption('old');
		expect(await lastSent()).toEqual({ type: 'compare', id: 'old' });
		await say({ type: 'baseline', id: 'old', report: report(50) });
		expect(await page.locator('tr[data-test="pp512"] .against').textContent()).toBe('2.00× faster');
		expect(await page.locator('.chart .bar').count()).toBe(2);
		await page.locator('#copy-markdown').click();
		expect(await lastSent()).toMatchObject({ type: 'copy', text: expect.stringContaining('| pp512 | 100.0 ± 1.0 |') });
		await page.locator('#copy-json').click();
		const json = (await lastSent()) as unknown as { text: string };
		expect(JSON.parse(json.text)).toEqual(report(100));
		expect(errors).toEqual([]);
		expect(outside).toEqual([]);
	});
});
