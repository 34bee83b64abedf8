import { afterEach, expect, test, vi } from 'vitest';
import type { ChatResult, EngineSettings } from '../../../engine/protocol';
import { serveStreams } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import type { OpenModel } from '../../../engine/services/model-host';
import { answers, completes, type FakeOpenedModel, fakeOpenedModel } from '../support/fake-opened-model';
import { streamPair } from '../support/lsp-client';

vi.spyOn(process.stderr, 'write').mockImplementation(() => true);

const URI = 'file:///work/src/add.js';
const TARGET = 'function add(first, second) {\n    return first + second;\n}\n';
const completion: EngineSettings['completion'] = { ...DEFAULT_SETTINGS.completion, multiline: 'never' };

let end: (() => Promise<unknown>) | undefined;
afterEach(() => end?.());

/** A session with toy models, which are kept by file name. `opened` has the options that each was opened with. */
function start(opening: Record<string, Promise<void>> = {}) {
	const models = new Map<string, FakeOpenedModel>();
	const opened: { file: string; contextTokens: unknown; cacheTokens: unknown; draftModelPath: unknown }[] = [];
	const open: OpenModel = async (file, { contextTokens, cacheTokens, draftModelPath, turns }) => {
		opened.push({ file, contextTokens, cacheTokens, draftModelPath });
		if (file.includes('broken')) throw new Error(`${file} is no GGUF file`);
		await opening[file];
		const script = file.includes('code') ? completes(TARGET) : answers('<|channel|>final<|message|>Hello<|return|>');
		const model = fakeOpenedModel(script, { contextTokens: 2000, ...(turns && { turns }) });
		models.set(file, model);
		return model;
	};
	const { client, input, output } = streamPair();
	const controller = new AbortController();
	const served = serveStreams(input, output, { settings: DEFAULT_SETTINGS, open }, controller.signal);
	end = async () => {
		controller.abort();
		await served;
		client.connection.dispose();
	};
	const configure = (hearth: Partial<EngineSettings>) =>
		client.connection.sendNotification('workspace/didChangeConfiguration', { settings: { hearth } });
	const chat = () =>
		client.connection.sendRequest<ChatResult>('hearth/chat', {
			conversationId: 'c',
			messages: [{ role: 'user', content: 'Hi' }],
		});
	return { client, models, opened, configure, chat };
}

test('one model chats, another completes, and the status shows both', async () => {
	const { client, models, opened, chat } = start();
	await client.initialize({ modelPath: '/chat.gguf', completionModelPath: '/code.gguf', completion });
	await client.until((status) => status.model !== undefined && status.completionModel !== undefined);
	await client.open(URI, 'function add(\n');
	expect(await client.complete(URI, 0, 13)).toMatchObject([{ insertText: 'first, second) {' }]);
	expect((await chat()).content).toBe('Hello');
	const kinds = (file: string) => models.get(file)!.native.batches.length;
	expect(kinds('/chat.gguf')).toBeGreaterThan(0);
	expect(kinds('/code.gguf')).toBeGreaterThan(0);

	// The model that completes has room for two completion windows. The model that chats has no room for any.
	const window = 1024 + 256 + 512 + 96 + 512;
	expect(opened.sort((a, b) => a.file.localeCompare(b.file))).toMatchObject([
		{ file: '/chat.gguf', contextTokens: 8192, cacheTokens: 8192 },
		{ file: '/code.gguf', contextTokens: window, cacheTokens: 2 * window },
	]);
	const status = await client.status();
	expect(status.memory.mappedBytes).toBe(2000);
	expect(status.completionModel).toMatchObject({ completionFormat: 'answer opened with the code' });
	expect(status.model).toMatchObject({ chatFormat: 'Harmony', chatText: 'Harmony' });
});

test('a model for completions comes and goes without a reload of the other', async () => {
	const { client, models, opened, configure } = start();
	await client.initialize({ modelPath: '/chat-code.gguf', completion });
	await client.until((status) => status.state === 'ready');
	await client.open(URI, 'function add(\n');
	expect(await client.complete(URI, 0, 13)).toHaveLength(1);
	await configure({ modelPath: '/chat-code.gguf', completionModelPath: '/code.gguf', completion });
	await client.until((status) => status.completionModel !== undefined);
	await configure({ modelPath: '/chat-code.gguf', completionModelPath: '', completion });
	await client.until((status) => status.completionModel === undefined);
	// The status changes before the model's last step has ended.
	await client.until(() => models.get('/code.gguf')!.native.closed);
	expect(models.get('/chat-code.gguf')!.native.closed).toBe(false);
	expect(opened.map(({ file }) => file)).toEqual(['/chat-code.gguf', '/code.gguf']);
	await client.insert(URI, 1, 0, 'function add(');
	expect(await client.complete(URI, 1, 13)).toBeDefined();
});

test('where the model for completions cannot be loaded, the other one completes, and the status says why', async () => {
	const { client } = start();
	await client.initialize({ modelPath: '/chat-code.gguf', completionModelPath: '/broken.gguf', completion });
	await client.until((status) => status.state === 'ready' && status.error !== undefined);
	expect((await client.status()).error).toBe('/broken.gguf is no GGUF file');
	await client.open(URI, 'function add(\n');
	expect(await client.complete(URI, 0, 13)).toMatchObject([{ insertText: 'first, second) {' }]);
});

test('a model for completions alone chats too, if it can', async () => {
	const { client, chat } = start();
	await client.initialize({ completionModelPath: '/code.gguf', completion });
	await client.until((status) => status.state === 'ready');
	expect((await chat()).stopReason).toBe('stop');
});

test('a model is loaded for the role it is asked for', async () => {
	const { client, models } = start();
	await client.initialize({ modelPath: '/chat.gguf', completion });
	await client.until((status) => status.state === 'ready');
	await client.connection.sendRequest('hearth/loadModel', { path: '/code.gguf', role: 'completion' });
	await client.open(URI, 'function add(\n');
	expect(await client.complete(URI, 0, 13)).toHaveLength(1);
	await client.connection.sendRequest('hearth/unloadModel');
	expect([...models.values()].map(({ native }) => native.closed)).toEqual([true, true]);
});

/** Holds the opening of a file until `open` is called. */
function held(file: string): { opening: Record<string, Promise<void>>; open: () => void } {
	let open = () => {};
	const opening = {
		[file]: new Promise<void>((resolve) => {
			open = resolve;
		}),
	};
	return { opening, open };
}

test('completions are there before the large model is, which is begun last', async () => {
	const { opening, open } = held('/chat.gguf');
	const { client, opened, chat } = start(opening);
	await client.initialize({ modelPath: '/chat.gguf', completionModelPath: '/code.gguf', completion });
	const status = await client.until(({ completionModel }) => completionModel !== undefined);
	expect(status).toMatchObject({ state: 'loading', loading: ['chat'] });
	expect(opened.map(({ file }) => file)).toEqual(['/code.gguf', '/chat.gguf']);
	await client.open(URI, 'function add(\n');
	expect(await client.complete(URI, 0, 13)).toMatchObject([{ insertText: 'first, second) {' }]);
	await expect(chat()).rejects.toThrow('still loading');
	open();
	const ready = await client.until(({ state }) => state === 'ready');
	expect(ready.loading).toBeUndefined();
	expect((await chat()).content).toBe('Hello');
});

test('chat does not wait for the model that completes, nor completions for the one that is replaced', async () => {
	const { opening, open } = held('/code.gguf');
	const { client, chat } = start(opening);
	await client.initialize({ modelPath: '/chat.gguf', completionModelPath: '/code.gguf', completion });
	await client.until(({ model }) => model !== undefined);
	expect((await chat()).content).toBe('Hello');
	await client.open(URI, 'function add(\n');
	// The model that chats completes meanwhile.
	expect(await client.complete(URI, 0, 13)).toBeDefined();
	expect(await client.status()).toMatchObject({ state: 'loading', loading: ['completion'] });
	open();
	await client.until(({ state }) => state === 'ready');
	expect(await client.complete(URI, 0, 13)).toMatchObject([{ insertText: 'first, second) {' }]);
});
