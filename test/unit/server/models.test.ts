// What a client sees of models beyond loading them: the list, downloads, too little memory, and a model that sleeps
// when idle.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { NotEnoughMemoryError } from '../../../engine/models/memory-need';
import type { DownloadStatus, EngineSettings, MemoryShortage, ModelList } from '../../../engine/protocol';
import { ErrorCode } from '../../../engine/protocol';
import { serveStreams } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import type { OpenModel } from '../../../engine/services/model-host';
import { FileServer, answers as httpAnswers } from '../../support/file-server';
import { answers, completes, type FakeOpenedModel, fakeOpenedModel } from '../support/fake-opened-model';
import { streamPair, type TestClient } from '../support/lsp-client';

vi.spyOn(process.stderr, 'write').mockImplementation(() => true);

const SHORTAGE: Omit<MemoryShortage, 'path'> = {
	need: { weightBytes: 12e9, cacheBytes: 1e9, scratchBytes: 0.3e9, totalBytes: 13.3e9 },
	memory: { totalBytes: 16e9, availableBytes: 9e9 },
	alternatives: [{ contextTokens: 2048, cacheType: 'q8_0' }],
};

let end: (() => Promise<unknown>) | undefined;
afterEach(async () => {
	await end?.();
	end = undefined;
});

function start(settings: Partial<EngineSettings> = {}) {
	const models: FakeOpenedModel[] = [];
	const opened: string[] = [];
	const open: OpenModel = async (file, { contextTokens, memory }) => {
		opened.push(`${path.basename(file)} ${contextTokens} ${memory?.limit ?? 'none'}`);
		if (file.includes('vanished') && models.length > 0) throw new Error(`there is no file ${file}`);
		const most = memory?.limit === 'machine' ? memory.available.totalBytes : 0;
		if (file.includes('huge') && memory && contextTokens !== 2048) {
			throw new NotEnoughMemoryError({ ...SHORTAGE, path: file }, most);
		}
		const script = file.includes('chat') ? answers('<|channel|>final<|message|>Hello.<|return|>') : completes('text\n');
		const model = fakeOpenedModel(script, { contextTokens: 2000 });
		models.push(model);
		return model;
	};
	const { client, input, output } = streamPair();
	const controller = new AbortController();
	const served = serveStreams(
		input,
		output,
		{ settings: { ...DEFAULT_SETTINGS, ...settings }, open },
		controller.signal,
	);
	end = async () => {
		controller.abort();
		await served;
		client.connection.dispose();
	};
	return { client, models, opened };
}

const ready = (status: { state: string }) => status.state === 'ready';

describe('a model that is too much for the machine', () => {
	test('is refused with what it needs and what would help, and can be loaded so or all the same', async () => {
		const { client, opened } = start();
		await client.initialize();
		const load = (params: object) =>
			client.connection.sendRequest('hearth/loadModel', { path: '/m/huge.gguf', ...params });
		await expect(load({ memoryLimit: 'available' })).rejects.toMatchObject({
			code: ErrorCode.notEnoughMemory,
			message: expect.stringMatching(/needs 13.3 GB of memory, but .* 2048 tokens/),
			data: { ...SHORTAGE, path: '/m/huge.gguf' },
		});
		expect(await load({ memoryLimit: 'available', settings: SHORTAGE.alternatives[0] })).toMatchObject({
			name: 'fake',
		});
		await load({ memoryLimit: 'none' });
		expect(opened).toEqual(['huge.gguf 8192 available', 'huge.gguf 2048 available', 'huge.gguf 8192 none']);
	});

	test('of the settings is measured by the machine, and the status has the same to choose from', async () => {
		const { client, opened } = start();
		await client.initialize({ modelPath: '/m/huge.gguf' });
		const status = await client.until(({ state }) => state === 'error');
		expect(status).toMatchObject({ error: expect.stringContaining('13.3 GB'), shortage: { path: '/m/huge.gguf' } });
		expect(opened).toEqual(['huge.gguf 8192 machine']);
		await client.connection.sendRequest('hearth/loadModel', { path: '/m/good.gguf' });
		expect(await client.until(ready)).not.toHaveProperty('shortage');
	});
});

describe('an idle model', () => {
	/** Settings that unload an idle model after two hundredths of a second. */
	const SOON = { unloadAfterMinutes: 0.02 / 60 };
	const asleep = ({ state }: { state: string }) => state === 'unloaded';

	test('is unloaded, and loaded again by a completion and by a chat', async () => {
		const { client, models, opened } = start({ modelPath: '/m/chat.gguf', ...SOON });
		await client.initialize(SOON);
		const status = await client.until(asleep);
		expect(status).toMatchObject({ model: { name: 'fake' }, memory: { mappedBytes: 0, cacheBytes: 0 } });
		expect(models[0]!.native.closed).toBe(true);
		const chat = { conversationId: 'one', messages: [{ role: 'user', content: 'Hi' }], temperature: 0 };
		// Two requests at once wake the model only once.
		const replies = await Promise.all([1, 2].map(() => client.connection.sendRequest('hearth/chat', chat)));
		for (const reply of replies) expect(reply).toMatchObject({ content: 'Hello.' });
		expect(opened.length).toBe(2);
		await client.until(asleep);
		expect(models[1]!.native.closed).toBe(true);
	});

	test('comes back for a completion with the suggestion that was asked for', async () => {
		const { client, opened } = start({ modelPath: '/m/a.gguf', ...SOON });
		await client.initialize({ ...SOON, completion: { ...DEFAULT_SETTINGS.completion, multiline: 'never' } });
		await client.until(asleep);
		await client.open('file:///work/a.js', 'te');
		expect(await client.complete('file:///work/a.js', 0, 2)).toMatchObject([{ insertText: 'xt' }]);
		expect(opened.length).toBe(2);
	});

	test('that cannot be loaded again is an error', async () => {
		const { client } = start({ modelPath: '/m/vanished.gguf', ...SOON });
		await client.initialize(SOON);
		await client.until(asleep);
		await client.open('file:///work/a.js', 'te');
		expect(await client.complete('file:///work/a.js', 0, 2)).toEqual([]);
		expect(await client.status()).toMatchObject({ state: 'error', error: 'there is no file /m/vanished.gguf' });
	});

	test('stays where the setting is 0, and goes for good when it is unloaded', async () => {
		const { client, models } = start({ modelPath: '/m/a.gguf' });
		await client.initialize();
		await client.until(ready);
		const configure = (hearth: object) =>
			client.connection.sendNotification('workspace/didChangeConfiguration', { settings: { hearth } });
		await configure({ ...SOON });
		await client.until(asleep);
		await client.connection.sendRequest('hearth/unloadModel');
		expect((await client.status()).state).toBe('no-model');
		await configure({ unloadAfterMinutes: 0 });
		await client.connection.sendRequest('hearth/loadModel', { path: '/m/a.gguf' });
		await new Promise((resolve) => setTimeout(resolve, 200));
		expect((await client.status()).state).toBe('ready');
		expect(models.map(({ native }) => native.closed)).toEqual([true, false]);
	});
});

describe('downloads', () => {
	const folder = mkdtempSync(path.join(os.tmpdir(), 'hearth-test-'));
	const model = Buffer.alloc(2_000_000, 'model');
	let server: FileServer;

	beforeAll(async () => {
		server = await FileServer.start(model);
		const entry = {
			...{ id: 'm', name: 'M', summary: 's', page: 'https://x.example', uses: ['chat'], architecture: 'gpt-oss' },
			...{ matrixTypes: ['Q8_0'], files: [{ url: server.url, sha256: server.sha256 }] },
		};
		const pair = { ...entry, id: 'pair', files: [{ url: server.url }, { url: server.url.replace('model', 'other') }] };
		writeFileSync(path.join(folder, 'catalogue.json'), JSON.stringify({ models: [entry, pair] }));
		vi.stubEnv('HEARTH_CATALOGUE', path.join(folder, 'catalogue.json'));
	});
	afterAll(async () => {
		vi.unstubAllEnvs();
		await server.close();
		rmSync(folder, { recursive: true, force: true });
	});

	const of = (status: { downloads?: DownloadStatus[] }, id = 'm') =>
		status.downloads?.find((download) => download.id === id);
	const send = <T>(client: TestClient, method: string, params: object = {}) =>
		client.connection.sendRequest<T>(`hearth/${method}`, { id: 'm', folder, ...params });

	test('are started, paused, listed, resumed and joined, with their progress in every status', async () => {
		const { client } = start();
		await client.initialize();
		expect(await send(client, 'downloadSize')).toEqual({ fileBytes: model.length });
		// The download is so slow that no machine misses the middle of it.
		server.bytesPerSecond = 200_000;
		expect(await send(client, 'startDownload')).toMatchObject({ name: 'M', state: 'connecting' });
		await client.until((status) => (of(status)?.receivedBytes ?? 0) > 0 && of(status)!.bytesPerSecond > 0);
		await send(client, 'stopDownload', { discard: false });
		const paused = of(await client.status())!;
		expect(paused).toMatchObject({ state: 'paused', totalBytes: model.length, bytesPerSecond: 0 });
		const { catalogue } = await send<ModelList>(client, 'listModels', { folders: [], downloadFolder: folder });
		expect(catalogue[0]).toMatchObject({
			id: 'm',
			partialBytes: paused.receivedBytes,
			host: expect.stringContaining('127.0.0.1'),
		});

		await send(client, 'startDownload');
		const joined = await send<DownloadStatus>(client, 'startDownload');
		expect(joined.state).not.toBe('paused');
		server.bytesPerSecond = undefined;
		const done = of(await client.until((status) => of(status)?.state === 'done'))!;
		expect(done).toMatchObject({ path: path.join(folder, 'model.gguf'), receivedBytes: model.length });
		expect(readFileSync(done.path!).equals(model)).toBe(true);
		expect(server.requests.filter(({ method }) => method === 'GET').length).toBe(2);
		const listed = async () =>
			(await send<ModelList>(client, 'listModels', { folders: [], downloadFolder: folder })).catalogue[0];
		expect(await listed()).toMatchObject({ path: done.path });
		expect(await listed()).not.toHaveProperty('unverified');
		// The file now has the same size and other bytes. It has to be verified before it counts.
		writeFileSync(done.path!, Buffer.alloc(model.length, 'other'));
		expect(await listed()).toMatchObject({ path: done.path, unverified: true, partialBytes: model.length });
		await send(client, 'startDownload');
		const failed = await client.until((status) => of(status)?.state === 'failed');
		expect(of(failed)?.error).toContain('is there already and is another file');
	});

	test('that fail say why, and what has arrived can be discarded', async () => {
		rmSync(path.join(folder, 'model.gguf'), { force: true });
		const { client } = start();
		await client.initialize();
		server.misbehave.push(httpAnswers(404));
		await send(client, 'startDownload');
		const failed = await client.until((status) => of(status)?.state === 'failed');
		expect(of(failed)?.error).toContain('no such file any more (404)');
		await send(client, 'stopDownload', { discard: true });
		expect(await client.status()).not.toHaveProperty('downloads');
		await expect(send(client, 'startDownload', { id: 'nothing' })).rejects.toMatchObject({
			code: ErrorCode.downloadFailed,
			message: 'there is no model "nothing"; there are m, pair',
		});
	});

	test('of several files go into a folder of their own', async () => {
		const { client } = start();
		await client.initialize();
		expect(await send(client, 'downloadSize', { id: 'pair' })).toEqual({ fileBytes: 2 * model.length });
		await send(client, 'startDownload', { id: 'pair' });
		const done = of(await client.until((status) => of(status, 'pair')?.state === 'done'), 'pair')!;
		expect(done).toMatchObject({ path: path.join(folder, 'pair'), totalBytes: 2 * model.length });
		for (const name of ['model.gguf', 'other.gguf']) {
			expect(readFileSync(path.join(folder, 'pair', name)).equals(model)).toBe(true);
		}
	});

	test('end with the engine, and the next one continues', async () => {
		rmSync(path.join(folder, 'model.gguf'), { force: true });
		const first = start();
		await first.client.initialize();
		server.bytesPerSecond = 200_000;
		await send(first.client, 'startDownload');
		await first.client.until((status) => (of(status)?.receivedBytes ?? 0) > 100_000);
		await end?.();
		server.bytesPerSecond = undefined;
		const second = start();
		await second.client.initialize();
		await send(second.client, 'startDownload');
		await second.client.until((status) => of(status)?.state === 'done');
		expect(server.requests.at(-1)?.range).toMatch(/^bytes=\d{6,}-$/);
	});

	test('a catalogue that cannot be used is named', async () => {
		const file = path.join(folder, 'bad.json');
		vi.stubEnv('HEARTH_CATALOGUE', file);
		const { client } = start();
		await client.initialize();
		for (const [text, reason] of [
			['{', 'HEARTH_CATALOGUE'],
			['{}', 'it has no list "models"'],
			[
				'{"models":[{"id":"../x","name":"","page":"","summary":"","architecture":"","uses":[],"matrixTypes":[],"files":[]}]}',
				'cannot be an id',
			],
		] as const) {
			writeFileSync(file, text);
			await expect(send(client, 'startDownload')).rejects.toThrow(reason);
		}
		for (const place of [folder, '/dev/zero']) {
			if (place !== folder && process.platform === 'win32') continue;
			vi.stubEnv('HEARTH_CATALOGUE', place);
			await expect(send(client, 'startDownload')).rejects.toThrow(`${place} cannot be used: it is no file`);
		}
		vi.stubEnv('HEARTH_CATALOGUE', path.join(folder, 'catalogue.json'));
	});
});
