import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { serveSocket } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { checkSocketPath } from '../../../engine/server/socket';
import { needs, unix } from '../../support/needs';
import { completes, type FakeOpenedModel, fakeOpenedModel } from '../support/fake-opened-model';
import { TestClient } from '../support/lsp-client';

vi.spyOn(process.stderr, 'write').mockImplementation(() => true);

let directory: string;
const running: { controller: AbortController; served: Promise<void> }[] = [];

beforeEach(() => {
	directory = mkdtempSync(path.join(os.tmpdir(), 'hearth-test-'));
});

afterEach(async () => {
	for (const { controller, served } of running.splice(0)) {
		controller.abort();
		await served.catch(() => {});
	}
	rmSync(directory, { recursive: true, force: true });
});

function serve(socketPath: string, lingerSeconds = 60) {
	const models: FakeOpenedModel[] = [];
	const open = async () => {
		const model = fakeOpenedModel(completes('one two three four'));
		models.push(model);
		return model;
	};
	const controller = new AbortController();
	const served = serveSocket(socketPath, lingerSeconds, { settings: DEFAULT_SETTINGS, open }, controller.signal);
	served.catch(() => {});
	running.push({ controller, served });
	return { served, models };
}

async function connect(socketPath: string): Promise<{ client: TestClient; socket: net.Socket }> {
	for (;;) {
		const socket = net.connect(socketPath);
		const connected = await new Promise<boolean>((resolve) => {
			socket.once('connect', () => resolve(true));
			socket.once('error', () => resolve(false));
		});
		if (connected) return { client: new TestClient(socket, socket), socket };
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
}

describe('the socket path', () => {
	test.each(['\\\\.\\pipe\\hearth', '\\\\?\\pipe\\Hearth Ä', '\\\\.\\PIPE\\x'])('on Windows %s is a pipe', (name) => {
		expect(() => checkSocketPath(name, 'win32')).not.toThrow();
	});

	test.each(['C:\\Temp\\engine.sock', '/tmp/engine.sock', '\\\\.\\pipe\\', '\\\\server\\pipe\\x'])(
		'on Windows %s is none',
		(name) => {
			expect(() => checkSocketPath(name, 'win32')).toThrow(
				`on Windows the engine listens on a named pipe, \\\\.\\pipe\\NAME, not on ${name}`,
			);
		},
	);

	test('elsewhere its bytes are limited, not its characters', () => {
		expect(() => checkSocketPath(`/tmp/${'x'.repeat(98)}`, 'linux')).not.toThrow();
		expect(() => checkSocketPath(`/tmp/${'ä'.repeat(98)}`, 'darwin')).toThrow('too long (at most 103 bytes)');
	});
});

// Sockets are files with permissions here. Windows has named pipes instead.
describe('the socket', needs(unix), () => {
	test('two clients share one model, and either may go', async () => {
		const file = path.join(directory, 'private', 'engine.sock');
		const { models } = serve(file);
		const one = await connect(file);
		const two = await connect(file);
		await one.client.initialize({ modelPath: '/a.gguf' });
		await one.client.until((status) => status.state === 'ready');
		await two.client.initialize({ modelPath: '/a.gguf' });
		await two.client.open('file:///work/a.txt', 'one two', 'plaintext');
		expect(await two.client.complete('file:///work/a.txt', 0, 7)).toMatchObject([{ insertText: ' three four' }]);
		await one.client.open('file:///work/a.txt', 'one', 'plaintext');
		expect(await one.client.complete('file:///work/a.txt', 0, 3)).toMatchObject([{ insertText: ' two three four' }]);
		expect(models.length).toBe(1);
		expect((await one.client.status()).processId).toBe(process.pid);

		await one.client.connection.sendRequest('shutdown');
		await one.client.connection.sendNotification('exit');
		await new Promise((resolve) => one.socket.once('close', resolve));
		expect((await two.client.status()).state).toBe('ready');
		expect(models[0]!.native.closed).toBe(false);
	});

	test("a new window's settings do not replace the model others use; a change of its settings does", async () => {
		const file = path.join(directory, 'engine.sock');
		const { models } = serve(file);
		const one = await connect(file);
		await one.client.initialize({ modelPath: '/a.gguf' });
		await one.client.until((status) => status.state === 'ready');
		const two = await connect(file);
		await two.client.initialize({ modelPath: '/b.gguf' });
		expect((await two.client.status()).state).toBe('ready');
		expect(models.length).toBe(1);
		await two.client.connection.sendNotification('workspace/didChangeConfiguration', {
			settings: { hearth: { modelPath: '/c.gguf' } },
		});
		await one.client.until((status) => status.state === 'ready' && models.length === 2);
	});

	test('a window that gives up its own model takes away none that others use', async () => {
		const file = path.join(directory, 'engine.sock');
		const { models } = serve(file);
		const one = await connect(file);
		await one.client.initialize({ modelPath: '/a.gguf' });
		await one.client.until((status) => status.state === 'ready');
		const two = await connect(file);
		await two.client.initialize({ modelPath: '/b.gguf' });
		const configure = (client: typeof one.client, modelPath: string) =>
			client.connection.sendNotification('workspace/didChangeConfiguration', { settings: { hearth: { modelPath } } });
		await configure(two.client, '');
		expect((await two.client.status()).state).toBe('ready');
		expect(models[0]!.native.closed).toBe(false);
		await configure(one.client, '');
		await one.client.until((status) => status.state === 'no-model');
		expect(models[0]!.native.closed).toBe(true);
	});

	test('its path may have spaces and any script', async () => {
		const file = path.join(directory, 'Ann Ä 模', 'engine one.sock');
		serve(file);
		const { client } = await connect(file);
		await client.initialize();
		expect((await client.status()).state).toBe('no-model');
	});

	test('only the user can reach it', async () => {
		const file = path.join(directory, 'private', 'engine.sock');
		serve(file);
		await connect(file);
		expect(statSync(file).mode & 0o777).toBe(0o600);
		expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
	});

	test('ends when its last client has gone for the given time, and takes its file along', async () => {
		const file = path.join(directory, 'engine.sock');
		const { served, models } = serve(file, 0.05);
		const { client, socket } = await connect(file);
		await client.initialize({ modelPath: '/a.gguf' });
		await client.until((status) => status.state === 'ready');
		socket.destroy();
		await served;
		expect(models[0]!.native.closed).toBe(true);
		expect(statSync(file, { throwIfNoEntry: false })).toBeUndefined();
	});

	test('a client that comes back in time keeps it', async () => {
		const file = path.join(directory, 'engine.sock');
		const { models } = serve(file, 3600);
		const first = await connect(file);
		await first.client.initialize({ modelPath: '/a.gguf' });
		await first.client.until((status) => status.state === 'ready');
		first.socket.destroy();
		const second = await connect(file);
		await second.client.initialize({ modelPath: '/a.gguf' });
		expect((await second.client.status()).state).toBe('ready');
		expect(models.length).toBe(1);
	});

	test('a client that dies with questions open does not harm the others', async () => {
		const file = path.join(directory, 'engine.sock');
		const unhandled: unknown[] = [];
		const note = (error: unknown) => unhandled.push(error);
		process.on('unhandledRejection', note);
		serve(file);
		const other = await connect(file);
		await other.client.initialize({ modelPath: '/a.gguf' });
		await other.client.until((status) => status.state === 'ready');
		for (let i = 0; i < 10; i++) {
			const { client, socket } = await connect(file);
			await client.initialize();
			for (let question = 0; question < 20; question++) client.status().catch(() => {});
			await new Promise((resolve) => setImmediate(resolve));
			socket.destroy();
		}
		for (let i = 0; i < 20; i++) expect((await other.client.status()).state).toBe('ready');
		process.off('unhandledRejection', note);
		expect(unhandled).toEqual([]);
	});

	test('a second engine on the same socket is refused', async () => {
		const file = path.join(directory, 'engine.sock');
		serve(file);
		const { client } = await connect(file);
		await expect(serve(file).served).rejects.toThrow(`another engine is already listening on ${file}`);
		await client.initialize();
		expect((await client.status()).state).toBe('no-model');
	});

	test('a file that a killed engine left behind is replaced', async () => {
		const file = path.join(directory, 'engine.sock');
		// The socket file is bound under another name and then moved, so closing the server does not remove it, just as
		// kill -9 does not.
		const stale = net.createServer();
		await new Promise<void>((resolve) => stale.listen(`${file}.0`, resolve));
		const { renameSync } = await import('node:fs');
		renameSync(`${file}.0`, file);
		await new Promise((resolve) => stale.close(resolve));
		expect(statSync(file).isSocket()).toBe(true);
		serve(file);
		const { client } = await connect(file);
		await client.initialize();
		expect((await client.status()).state).toBe('no-model');
	});

	test('a file that is no socket is left alone', async () => {
		const file = path.join(directory, 'engine.sock');
		writeFileSync(file, 'precious');
		await expect(serve(file).served).rejects.toThrow('exists and is no socket');
		expect(statSync(file).size).toBe(8);
	});

	test('a path too long for a socket is a clear error', async () => {
		await expect(serve(path.join(directory, 'x'.repeat(120))).served).rejects.toThrow('too long');
	});
});
