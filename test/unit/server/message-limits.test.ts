// Clients that send too much, or that never read: memory stays bounded, the error is clear, and other clients do not
// notice.
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Message } from 'vscode-languageserver';
import { ErrorCode } from '../../../engine/protocol';
import { MAX_OPEN_REQUESTS } from '../../../engine/server/client-channel';
import { BoundedMessageReader, MAX_HEADER_BYTES, MAX_MESSAGE_BYTES } from '../../../engine/server/message-reader';
import { LossyMessageWriter, MAX_WAITING_BYTES } from '../../../engine/server/message-writer';
import { serveSocket } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { needs, unix } from '../../support/needs';
import { until } from '../../support/until';
import { answers, fakeOpenedModel } from '../support/fake-opened-model';
import { TestClient } from '../support/lsp-client';

const log = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
const MIB = 2 ** 20;

function framed(message: unknown): string {
	const body = typeof message === 'string' ? message : JSON.stringify(message);
	return `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

describe('reading', () => {
	function start() {
		const input = new PassThrough({ highWaterMark: 256 * MIB });
		const messages: Message[] = [];
		const errors: string[] = [];
		const unreadable: string[] = [];
		const reading = { onUnreadable: (problem: string) => void unreadable.push(problem), mayRead: () => true };
		const reader = new BoundedMessageReader(input, { ...reading, admits: () => true });
		reader.onError(({ message }) => errors.push(message));
		reader.listen((message) => messages.push(message));
		return { input, reader, messages, errors, unreadable };
	}

	test.each<[string, string]>([
		['one after the other', framed({ a: 1 }) + framed({ a: 2 })],
		[
			'a type',
			`Content-Length: 7\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{"a":1}${framed({ a: 2 })}`,
		],
		['small letters and no blank', `content-length:7\r\n\r\n{"a":1}${framed({ a: 2 })}`],
		['garbage between', `${framed({ a: 1 })}garbage\r\n\r\n${framed({ a: 2 })}`],
		['a length that is none', `${framed({ a: 1 })}Content-Length: x\r\n\r\n${framed({ a: 2 })}`],
		['a length below zero', `${framed({ a: 1 })}Content-Length: -5\r\n\r\n{"b":1}${framed({ a: 2 })}`],
		['a length of a half', `${framed({ a: 1 })}Content-Length: 1.5\r\n\r\n{"b":1}${framed({ a: 2 })}`],
		['a length of zero', `${framed({ a: 1 })}Content-Length: 0\r\n\r\n${framed({ a: 2 })}`],
		['no length', `${framed({ a: 1 })}Content-Type: x\r\n\r\n{"b":1}${framed({ a: 2 })}`],
		['no JSON', framed({ a: 1 }) + framed('{"a"') + framed({ a: 2 })],
		['characters of several bytes', framed({ a: 1, b: 'ä€😀' }) + framed({ a: 2 })],
	])('%s, in one piece and byte by byte', async (_, bytes) => {
		for (const size of [bytes.length * 4, 1, 7]) {
			const { input, messages, unreadable } = start();
			const all = Buffer.from(bytes);
			for (let at = 0; at < all.length; at += size) input.write(all.subarray(at, at + size));
			await until(() => messages.length === 2);
			expect(messages).toMatchObject([{ a: 1 }, { a: 2 }]);
			expect(unreadable).toEqual([]);
		}
	});

	test('a message of the largest size', async () => {
		const { input, messages } = start();
		input.write(framed(`"${'x'.repeat(MAX_MESSAGE_BYTES - 2)}"`));
		await until(() => messages.length === 1);
		expect(String(messages[0]).length).toBe(MAX_MESSAGE_BYTES - 2);
	});

	test.each([MAX_MESSAGE_BYTES + 1, 1_200_000_000, 2 ** 53, '9'.repeat(400)])(
		'a message of %s bytes is refused by its header',
		(bytes) => {
			const { input, messages, unreadable } = start();
			input.write(`Content-Length: ${bytes}\r\n\r\n{"jsonrpc`);
			input.write(framed({ a: 1 }));
			expect(unreadable).toEqual([
				expect.stringMatching(`^a message may have at most ${MAX_MESSAGE_BYTES} bytes, not `),
			]);
			expect(messages).toEqual([]);
		},
	);

	test.each<[string, string, RegExp]>([
		['nests without end', '['.repeat(10 * MIB), /lie 512 deep at most/],
		['has objects without end', `[${'{},'.repeat(5 * MIB)}{}]`, /at most 200000 values/],
		['has keys without end', `{${'"a":1,'.repeat(2 * MIB)}"b":1}`, /at most 200000 values/],
	])('a message that %s is refused before it is parsed', async (_, body, problem) => {
		const { input, messages, unreadable } = start();
		input.write(framed(body));
		await until(() => unreadable.length > 0);
		expect(unreadable).toEqual([expect.stringMatching(problem)]);
		expect(messages).toEqual([]);
	});

	test('text may hold what would be too much outside', async () => {
		const { input, messages } = start();
		const text = '[[{"a\\":1},"\\\\",'.repeat(MIB / 4);
		input.write(framed({ text }));
		await until(() => messages.length === 1);
		expect((messages[0] as unknown as { text: string }).text).toBe(text);
	});

	test('a header without end is refused, and what follows is not kept', () => {
		const { input, unreadable } = start();
		const before = process.memoryUsage().arrayBuffers;
		const chunk = Buffer.alloc(MIB, 'x');
		for (let i = 0; i < 200; i++) input.write(chunk);
		expect(unreadable).toEqual([expect.stringContaining(`at most ${MAX_HEADER_BYTES} bytes`)]);
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 * MIB);
	});

	test('of messages in part, all clients together have a limit, which whoever goes beyond it meets', async () => {
		const clients = Array.from({ length: 9 }, start);
		for (const { input } of clients) {
			input.write(`Content-Length: ${MAX_MESSAGE_BYTES}\r\n\r\n`);
			input.write(Buffer.alloc(MAX_MESSAGE_BYTES - 100, 'x'));
		}
		expect(clients.map(({ unreadable }) => unreadable.length)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1]);
		for (const { reader } of clients) reader.dispose();
		const { input, messages } = start();
		input.write(framed({ a: 1 }));
		await until(() => messages.length === 1);
	});

	test('one message a turn is handed over, however many have come', async () => {
		const { input, messages } = start();
		input.write(framed({ a: 1 }).repeat(1000));
		for (let turn = 0; turn < 5; turn++) {
			expect(messages.length).toBeLessThanOrEqual(turn + 1);
			await new Promise((resolve) => setImmediate(resolve));
		}
		await until(() => messages.length === 1000);
	});
});

describe('writing', () => {
	function start() {
		const pending: (() => void)[] = [];
		const output = new Writable({ write: (_, __, done) => void pending.push(done) });
		const counts = { stuck: 0, drained: 0 };
		const writer = new LossyMessageWriter(output, {
			onWrite: () => {},
			onDrain: () => counts.drained++,
			onStuck: () => counts.stuck++,
		});
		const read = async () => {
			while (pending.length > 0) {
				pending.shift()!();
				await new Promise((resolve) => setImmediate(resolve));
			}
		};
		return { writer, counts, read };
	}
	const message = { jsonrpc: '2.0', text: 'x'.repeat(MIB) } as Message;

	test('to a client that never reads ends', async () => {
		const { writer, counts } = start();
		for (let i = 0; i < 200; i++) void writer.write(message);
		await new Promise((resolve) => setImmediate(resolve));
		expect(counts).toEqual({ stuck: 1, drained: 0 });
		// The client now counts as one that has gone.
		await writer.write(message);
	});

	test('to one that reads late says when it has caught up', async () => {
		const { writer, counts, read } = start();
		const writes = Array.from({ length: MAX_WAITING_BYTES / MIB - 2 }, () => writer.write(message));
		await new Promise((resolve) => setImmediate(resolve));
		expect(writer.congested).toBe(true);
		await read();
		await Promise.all(writes);
		expect(counts).toEqual({ stuck: 0, drained: 1 });
		expect(writer.congested).toBe(false);
	});
});

describe('on a socket', needs(unix), () => {
	let directory: string;
	let stop: () => Promise<void>;
	let opened: () => void;

	beforeEach(() => {
		directory = mkdtempSync(path.join(os.tmpdir(), 'hearth-limits-'));
		const opening = new Promise<void>((resolve) => {
			opened = resolve;
		});
		const controller = new AbortController();
		const open = async () => {
			await opening;
			return fakeOpenedModel(answers('<|channel|>final<|message|>Hello<|return|>'), { contextTokens: 2000 });
		};
		const file = path.join(directory, 'engine.sock');
		const served = serveSocket(file, 60, { settings: DEFAULT_SETTINGS, open }, controller.signal);
		stop = async () => {
			opened();
			controller.abort();
			await served;
		};
	});
	afterEach(async () => {
		await stop();
		rmSync(directory, { recursive: true, force: true });
	});

	async function connect(): Promise<net.Socket> {
		for (;;) {
			const socket = net.connect(path.join(directory, 'engine.sock'));
			const connected = await new Promise<boolean>((resolve) => {
				socket.once('connect', () => resolve(true));
				socket.once('error', () => resolve(false));
			});
			if (connected) return socket.on('error', () => {});
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
	}

	async function bystander(): Promise<TestClient> {
		const socket = await connect();
		const client = new TestClient(socket, socket);
		await client.initialize();
		return client;
	}

	test.each([
		['a message that is too long', 'Content-Length: 1200000000\r\n\r\n', /a message may have at most 16777216 bytes/],
		['a header without end', 'x'.repeat(2 * MAX_HEADER_BYTES), /the header of a message may have at most 8192 bytes/],
	])('%s is answered, its connection closed, and nobody else notices', async (_, begin, problem) => {
		const other = await bystander();
		const socket = await connect();
		let said = '';
		socket.setEncoding('utf8').on('data', (text) => {
			said += text;
		});
		const closed = new Promise((resolve) => socket.once('close', resolve));
		const before = process.memoryUsage().arrayBuffers;
		socket.write(begin);
		const chunk = Buffer.alloc(MIB, 'x');
		for (let i = 0; i < 300 && socket.writable; i++) {
			await new Promise((resolve) => socket.write(chunk, resolve));
		}
		expect((await other.status()).state).toBe('no-model');
		await closed;
		expect(said).toMatch(problem);
		expect(JSON.parse(said.slice(said.indexOf('{')))).toMatchObject({ id: null, error: { code: -32600 } });
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * MIB);
	});

	test('a client that asks and asks and does not read is asked for no more, and gets all its answers when it reads', async () => {
		const other = await bystander();
		const socket = await connect();
		socket.pause();
		const count = 20_000;
		for (let id = 0; id < count; id++) socket.write(framed({ jsonrpc: '2.0', id, method: 'hearth/status' }));
		for (let i = 0; i < 50; i++) expect((await other.status()).state).toBe('no-model');
		// By far not all of the requests have been read. The rest waits at the client.
		expect(socket.writableLength).toBeGreaterThan(0);
		let answered = 0;
		const all = new Promise<void>((resolve) => {
			socket.setEncoding('utf8').on('data', (text: string) => {
				answered += text.split('"jsonrpc"').length - 1;
				if (answered >= count) resolve();
			});
		});
		socket.resume();
		await all;
		socket.destroy();
	});

	test('a client with too many open requests is told so', async () => {
		const client = await bystander();
		await client.connection.sendNotification('workspace/didChangeConfiguration', {
			settings: { hearth: { modelPath: '/a.gguf' } },
		});
		// The model does not load until the test lets it.
		const errors: { code: number; message: string }[] = [];
		const loads = Array.from({ length: MAX_OPEN_REQUESTS + 50 }, () =>
			client.connection.sendRequest('hearth/loadModel', { path: '/a.gguf' }).catch((error) => errors.push(error)),
		);
		while (errors.length < 50) await new Promise((resolve) => setImmediate(resolve));
		opened();
		await Promise.all(loads);
		expect(errors.length).toBe(50);
		for (const error of errors) {
			expect(error).toMatchObject({ code: ErrorCode.overloaded, message: expect.stringContaining('wait for answers') });
		}
		expect((await client.status()).state).toBe('ready');
	});
});

test('what was lost is logged', () => {
	expect(log.mock.calls.map(([line]) => String(line)).join('')).toMatch(
		/a client went before it was answered: it left \d+ bytes/,
	);
});
