import { afterEach, describe, expect, test, vi } from 'vitest';
import { CancellationTokenSource, ProgressType } from 'vscode-jsonrpc';
import type { BenchmarkReport, ChatDelta, ChatResult, EngineSettings } from '../../../engine/protocol';
import { ErrorCode } from '../../../engine/protocol';
import { serveStreams } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import type { OpenModel } from '../../../engine/services/model-host';
import { answers, completes, decodeText, type FakeOpenedModel, fakeOpenedModel } from '../support/fake-opened-model';
import { streamPair } from '../support/lsp-client';

const URI = 'file:///work/src/add.js';
const ONE_LINE = { ...DEFAULT_SETTINGS.completion, multiline: 'never' } as const;
const TARGET = 'function add(first, second) {\n    return first + second;\n}\n';

/** All lines of the log, which goes to standard error. */
const log = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
const logged = () => log.mock.calls.map(([line]) => String(line)).join('');

let end: (() => Promise<unknown>) | undefined;
afterEach(async () => {
	await end?.();
	log.mockClear();
});

function start(
	options: {
		script?: Parameters<typeof fakeOpenedModel>[0];
		model?: Parameters<typeof fakeOpenedModel>[1];
		own?: string;
		/** Models do not open before this resolves. */
		opening?: Promise<void>;
	} = {},
) {
	const models: FakeOpenedModel[] = [];
	const opened: { file: string; contextTokens: unknown; speculation: unknown; repack: unknown }[] = [];
	const open: OpenModel = async (file, { contextTokens, speculation, repack }) => {
		opened.push({ file, contextTokens, speculation, repack });
		if (file.includes('broken')) throw new Error(`${file} is no GGUF file`);
		await options.opening;
		const model = fakeOpenedModel(options.script ?? completes(TARGET), { contextTokens: 2000, ...options.model });
		models.push(model);
		return model;
	};
	const { client, input, output } = streamPair();
	const controller = new AbortController();
	const settings: EngineSettings = { ...DEFAULT_SETTINGS, modelPath: options.own ?? '' };
	const served = serveStreams(input, output, { settings, open }, controller.signal);
	end = async () => {
		controller.abort();
		await served;
		client.connection.dispose();
	};
	return { client, input, served, models, opened };
}

const ready = (status: { state: string }) => status.state === 'ready';

describe('a session', () => {
	test('offers inline completion and incremental synchronisation', async () => {
		const { client } = start();
		expect(await client.initialize()).toMatchObject({
			capabilities: { inlineCompletionProvider: {}, textDocumentSync: { openClose: true, change: 2 } },
			serverInfo: { name: 'hearth' },
		});
	});

	test('completes the document as edited', async () => {
		const { client, models } = start();
		await client.initialize({ modelPath: '/models/a.gguf', completion: ONE_LINE });
		await client.until(ready);
		await client.open(URI, 'function add(\n');
		expect(await client.complete(URI, 0, 13)).toEqual([
			{
				insertText: 'first, second) {',
				range: { start: { line: 0, character: 13 }, end: { line: 0, character: 13 } },
			},
		]);
		await client.insert(URI, 0, 13, 'first, second) {');
		await client.insert(URI, 1, 0, '    return first');
		expect(await client.complete(URI, 1, 16)).toEqual([
			{ insertText: ' + second;', range: { start: { line: 1, character: 16 }, end: { line: 1, character: 16 } } },
		]);
		expect((await client.status()).lastCompletion).toMatchObject({
			outcome: 'shown',
			promptTokens: expect.any(Number),
		});
		expect(models[0]!.native.batches.map((batch) => decodeText(batch.tokens)).join('')).toContain(
			' src/add.js\nLanguage: javascript',
		);
	});

	test("completes what is selected in the editor's own suggestion list", async () => {
		const { client } = start({ own: '/models/a.gguf' });
		await client.initialize({ completion: ONE_LINE });
		await client.until(ready);
		await client.open(URI, 'function a)');
		const range = { start: { line: 0, character: 9 }, end: { line: 0, character: 10 } };
		expect(await client.complete(URI, 0, 10, { selectedCompletionInfo: { range, text: 'add(' } })).toEqual([
			{ insertText: 'add(first, second) {', range: { start: range.start, end: { line: 0, character: 11 } } },
		]);
	});

	test('without a model there is no suggestion, and a chat says what to do', async () => {
		const { client } = start();
		await client.initialize();
		await client.open(URI, 'x');
		expect(await client.complete(URI, 0, 1)).toEqual([]);
		await expect(client.connection.sendRequest('hearth/chat', chatParams('Hi'))).rejects.toMatchObject({
			code: ErrorCode.noModel,
			message: 'no model is chosen; choose a GGUF file first',
		});
		expect(await client.status()).toMatchObject({
			state: 'no-model',
			active: { completion: 0, chat: 0, benchmark: 0 },
		});
	});

	test('a model that cannot be loaded is an error of the request and of the status, and another one can be', async () => {
		const { client } = start();
		await client.initialize();
		await expect(client.connection.sendRequest('hearth/loadModel', { path: '/broken.gguf' })).rejects.toMatchObject({
			code: ErrorCode.modelLoadFailed,
			message: '/broken.gguf is no GGUF file',
		});
		expect(await client.status()).toMatchObject({ state: 'error', error: '/broken.gguf is no GGUF file' });
		expect(await client.connection.sendRequest('hearth/loadModel', { path: '/good.gguf' })).toMatchObject({
			name: 'fake',
			contextLength: 2000,
		});
		expect(await client.status()).toMatchObject({ state: 'ready', model: { name: 'fake' } });
		expect(client.requested).toContain('window/workDoneProgress/create');
	});

	test('a model that cannot be loaded leaves the one in use, which answers meanwhile', async () => {
		const { client, models, opened } = start();
		await client.initialize({ modelPath: '/good.gguf', completion: ONE_LINE });
		await client.until(ready);
		await expect(client.connection.sendRequest('hearth/loadModel', { path: '/broken.gguf' })).rejects.toMatchObject({
			code: ErrorCode.modelLoadFailed,
		});
		expect(await client.status()).toMatchObject({ state: 'ready', model: { name: 'fake' } });
		expect((await client.status()).error).toBeUndefined();

		const configure = (modelPath: string) =>
			client.connection.sendNotification('workspace/didChangeConfiguration', {
				settings: { hearth: { modelPath, completion: ONE_LINE } },
			});
		await configure('/broken.gguf');
		const told = await client.until(({ error }) => error !== undefined);
		expect(told).toMatchObject({ state: 'ready', error: '/broken.gguf is no GGUF file', model: { name: 'fake' } });
		await client.open(URI, 'function add(');
		expect(await client.complete(URI, 0, 13)).toMatchObject([{ insertText: 'first, second) {' }]);
		await configure('/good.gguf');
		await client.until((status) => ready(status) && status.error === undefined);
		expect(models.map(({ native }) => native.closed)).toEqual([false]);
		expect(opened.map(({ file }) => file)).toEqual(['/good.gguf', '/broken.gguf', '/broken.gguf']);
	});

	test('says that it is loading as soon as it knows the model', async () => {
		let open = () => {};
		const opening = new Promise<void>((resolve) => {
			open = resolve;
		});
		const { client } = start({ opening });
		await client.initialize({ modelPath: '/a.gguf' });
		expect((await client.status()).state).toBe('loading');
		await expect(client.connection.sendRequest('hearth/chat', chatParams('Hi'))).rejects.toThrow('still loading');
		open();
		await client.until(ready);
		expect(client.statuses.map(({ state }) => state)).not.toContain('no-model');
	});

	test('what makes it faster can be switched off', async () => {
		const { client, opened } = start();
		await client.initialize({ modelPath: '/a.gguf', speculation: false, repackWeights: false });
		await client.until(ready);
		await client.connection.sendNotification('workspace/didChangeConfiguration', {
			settings: { hearth: { modelPath: '/a.gguf', speculation: true, repackWeights: true } },
		});
		await client.until((status) => ready(status) && opened.length === 2);
		expect(opened.map(({ speculation, repack }) => [speculation, repack])).toEqual([
			[false, false],
			[true, true],
		]);
	});

	test('a change of settings loads, reloads and unloads', async () => {
		const { client, models, opened } = start();
		const configure = (settings: object) =>
			client.connection.sendNotification('workspace/didChangeConfiguration', { settings: { hearth: settings } });
		await client.initialize();
		await configure({ modelPath: '/a.gguf' });
		await client.until(ready);
		await configure({ modelPath: '/a.gguf', completion: { maxTokens: 5 } });
		await configure({ modelPath: '/a.gguf', contextTokens: 1000 });
		await client.until((status) => ready(status) && models.length === 2);
		expect(models[0]!.native.closed).toBe(true);
		await configure({ modelPath: '' });
		await client.until((status) => status.state === 'no-model');
		expect(opened.map(({ contextTokens }) => contextTokens)).toEqual([8192, 1000]);
		expect(models[1]!.native.closed).toBe(true);
	});

	test('streams a chat and can stop it', async () => {
		const text = `<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>${'word '.repeat(900)}`;
		// The answer waits in its middle until it has been stopped, so the test works on a machine of any speed.
		const gate = holdAt(300);
		const model = { onStep: gate.onStep, speculation: false };
		const { client } = start({ own: '/a.gguf', script: answers(text), model });
		await client.initialize();
		await client.until(ready);
		const deltas: ChatDelta[] = [];
		const cancellation = new CancellationTokenSource();
		client.connection.onProgress(new ProgressType<ChatDelta>(), 'chat-1', (delta) => {
			deltas.push(delta);
		});
		const answer = client.connection.sendRequest<ChatResult>(
			'hearth/chat',
			{ ...chatParams('Hi'), partialResultToken: 'chat-1' },
			cancellation.token,
		);
		const told = () => client.statuses.some((status) => status.state === 'busy' && status.active.chat === 1);
		await client.until(() => deltas.length > 10 && told());
		cancellation.cancel();
		gate.open();
		const result = await answer;
		expect(result).toMatchObject({ stopReason: 'canceled', reasoning: 'Hm.' });
		expect(deltas.map((delta) => delta.text).join('')).toBe(`Hm.${result.content}`);
		await client.until((status) => ready(status) && status.active.chat === 0);
	});

	test('a prompt longer than the context has its own error code', async () => {
		const { client } = start({ own: '/a.gguf', model: { contextTokens: 300 } });
		await client.initialize();
		await client.until(ready);
		await expect(client.connection.sendRequest('hearth/chat', chatParams('long '.repeat(500)))).rejects.toMatchObject({
			code: ErrorCode.contextOverflow,
		});
	});

	test('runs a benchmark with progress', async () => {
		const { client } = start({ own: '/a.gguf' });
		await client.initialize();
		await client.until(ready);
		const progress: { kind: string; percentage?: number }[] = [];
		client.connection.onProgress(new ProgressType<{ kind: string }>(), 'bench', (value) => {
			progress.push(value);
		});
		const params = { prompt: 50, generate: 5, batch: 4, length: 6, repeat: 2, workDoneToken: 'bench' };
		const report = await client.connection.sendRequest<BenchmarkReport>('hearth/benchmark', params);
		expect(report.results.map(({ test }) => test)).toEqual(['load', 'forward', 'pp50', 'tg5', 'b4x6']);
		expect(report.machine.features).toEqual(['toy']);
		expect(progress[0]).toMatchObject({ kind: 'begin' });
		expect(progress.at(-1)).toEqual({ kind: 'end' });
		expect(progress.length).toBe(2 + 1 + 4 * 2);
	});

	test('a benchmark can be cancelled, and only one runs at a time', async () => {
		const { client } = start({ own: '/a.gguf', model: { onStep: () => tick() } });
		await client.initialize();
		await client.until(ready);
		const cancellation = new CancellationTokenSource();
		const params = { prompt: 50, generate: 1500, batch: 1, length: 1, repeat: 50 };
		const running = client.connection.sendRequest('hearth/benchmark', params, cancellation.token);
		await client.until((status) => status.active.benchmark === 1);
		await expect(client.connection.sendRequest('hearth/benchmark', params)).rejects.toThrow('running already');
		cancellation.cancel();
		await expect(running).rejects.toMatchObject({ code: -32800, message: 'the benchmark was cancelled' });
		await client.until(ready);
	});

	test('malformed messages are logged and the next request is answered', async () => {
		const { client, input } = start();
		await client.initialize();
		input.write('garbage\r\n\r\n');
		input.write('Content-Length: 7\r\n\r\n{"a": x');
		input.write('Content-Length: 2\r\n\r\n[]');
		await client.connection.sendNotification('textDocument/didChange', { nonsense: true });
		await client.connection.sendNotification('textDocument/didOpen');
		await expect(client.connection.sendRequest('textDocument/inlineCompletion', { position: 5 })).rejects.toThrow();
		await expect(client.connection.sendRequest('hearth/chat', 'text')).rejects.toThrow();
		await expect(client.connection.sendRequest('no/such/method')).rejects.toMatchObject({ code: -32601 });
		expect((await client.status()).state).toBe('no-model');
		expect(logged()).toMatch(/malformed message: .*garbage/);
	});

	test('settings of the wrong type are ignored', async () => {
		const { client } = start();
		await client.initialize({ modelPath: 5, completion: 'x', chat: null } as never);
		expect((await client.status()).state).toBe('no-model');
	});

	test('shutdown and exit end it cleanly, with the model closed', async () => {
		const { client, served, models } = start({ own: '/a.gguf' });
		await client.initialize();
		await client.until(ready);
		await client.connection.sendRequest('shutdown');
		await client.connection.sendNotification('exit');
		expect(await served).toBe(true);
		expect(models[0]!.native.closed).toBe(true);
	});

	test('a client that goes in the middle of an answer leaves nothing running', async () => {
		const gate = holdAt(20);
		const { client, input, served, models } = start({
			own: '/a.gguf',
			script: answers(`<|channel|>final<|message|>${'word '.repeat(300)}`),
			model: { onStep: gate.onStep, speculation: false },
		});
		await client.initialize();
		await client.until(ready);
		client.connection.sendRequest('hearth/chat', chatParams('Hi')).catch(() => {});
		await client.until((status) => status.active.chat === 1);
		input.end();
		gate.open();
		expect(await served).toBe(false);
		expect(models[0]!.engine.busy).toBe(false);
		expect(models[0]!.native.closed).toBe(true);
	});
});

function chatParams(content: string): object {
	return { conversationId: 'one', messages: [{ role: 'user', content }], temperature: 0 };
}

/** Steps that take a millisecond. The `count`th step and all later ones wait for `open`. */
function holdAt(count: number): { onStep: () => Promise<void>; open: () => void } {
	let open = () => {};
	const opened = new Promise<void>((resolve) => {
		open = resolve;
	});
	let steps = 0;
	return { onStep: () => (++steps < count ? tick() : opened.then(tick)), open };
}

function tick(): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, 1));
}
