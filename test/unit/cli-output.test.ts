// Output that cannot be written: to a full disk (/dev/full is one), to a reader that has gone, and to one that never
// reads.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundleCli } from '../support/cli';
import { fullDevice, needs } from '../support/needs';
import { TestClient } from './support/lsp-client';

const root = path.join(__dirname, '..', '..');
let directory: string;
let hearth: string;
let model: string;

beforeAll(async () => {
	directory = mkdtempSync(path.join(os.tmpdir(), 'hearth-output-'));
	model = path.join(directory, 'tiny.gguf');
	hearth = await bundleCli(directory);
	expect(await run(['synth', model, '--preset', 'tiny', '--context', '2048'])).toMatchObject({ code: 0 });
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/**
 * What happens to a stream: it is read, its reader closes it at once, it is a device that is always full, or nobody
 * reads it.
 */
type Where = 'read' | 'closed' | 'full' | 'unread';

function start(args: string[], stdout: Where = 'read', stderr: Where = 'read'): ChildProcess {
	const full = openSync('/dev/full', 'w');
	const at = (where: Where): number | 'pipe' => (where === 'full' ? full : 'pipe');
	try {
		const env = { ...process.env, HEARTH_NATIVE: path.join(root, 'dist', 'native', 'hearth.node') };
		const child = spawn(process.execPath, [hearth, ...args], {
			env,
			cwd: directory,
			stdio: ['pipe', at(stdout), at(stderr)],
		});
		for (const [stream, where] of [
			[child.stdout, stdout],
			[child.stderr, stderr],
		] as const) {
			if (where === 'closed') stream!.destroy();
			if (where === 'unread') stream!.pause();
		}
		return child;
	} finally {
		closeSync(full);
	}
}

async function run(args: string[], stdout: Where = 'read', stderr: Where = 'read', input = '') {
	const child = start(args, stdout, stderr);
	let told = '';
	if (stderr === 'read') {
		child.stderr!.setEncoding('utf8').on('data', (chunk) => {
			told += chunk;
		});
	}
	if (stdout === 'read') child.stdout!.resume();
	child.stdin!.on('error', () => {}).end(input);
	const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
	return { code, stderr: told };
}

const COMMANDS: [string, () => string[], string?][] = [
	['no command', () => ['--help']],
	['a version', () => ['--version']],
	['help', () => ['generate', '--help']],
	['generate', () => ['generate', model, '--prompt', 'x', '--max-tokens', '20']],
	['generate as JSON', () => ['generate', model, '--prompt', 'x', '--max-tokens', '3', '--json']],
	['generate as a chat', () => ['generate', model, '--prompt', 'x', '--chat', '--max-tokens', '20']],
	['info', () => ['info', model]],
	['info as JSON', () => ['info', model, '--json']],
	['models', () => ['models', '--json']],
	['tokenize', () => ['tokenize', model], 'some text'],
	['detokenize', () => ['detokenize', model], '1 2 3'],
	['synth', () => ['synth', path.join(directory, 'two.gguf'), '--preset', 'tiny']],
	['bench', () => ['bench', model, '--prompt', '4', '--generate', '2', '--batch', '1', '--repeat', '1']],
	['profile', () => ['profile', model, '--prompt', '4', '--generate', '2']],
];

describe('output', needs(fullDevice), () => {
	test.each(COMMANDS)('of %s to a full disk is an error of one line', async (_, args, input) => {
		const { code, stderr } = await run(args(), 'full', 'read', input);
		expect(stderr).toMatch(
			/(^|\n)hearth[a-z ]*: cannot write to standard output: ENOSPC: no space left on device.*\n$/,
		);
		expect(stderr).not.toMatch(/^ +at /m);
		expect(code).toBe(1);
	});

	test.each(COMMANDS)('of %s to a reader that has gone ends quietly', async (_, args, input) => {
		const { code, stderr } = await run(args(), 'closed', 'read', input);
		expect(stderr).not.toMatch(/EPIPE|^ +at |hearth/m);
		expect(code).toBe(0);
	});

	test.each(['full', 'closed'] as const)(
		'messages to a %s standard error are lost, the result is not',
		async (where) => {
			expect(
				await run(['generate', model, '--prompt', 'x', '--chat', '--max-tokens', '9'], 'read', where),
			).toMatchObject({
				code: 0,
			});
			expect(await run(['generate', 'none.gguf', '--prompt', 'x'], 'read', where)).toMatchObject({ code: 1 });
			expect(await run(['info'], where, where)).toMatchObject({ code: 1 });
		},
	);
});

describe("the engine's log", needs(fullDevice), () => {
	test.each(['full', 'closed', 'unread'] as const)(
		'to a standard error that is %s ends and holds up nobody',
		async (where) => {
			const socket = path.join(directory, `${where}.sock`);
			const child = start(['serve', '--socket', socket, '--linger', '0'], 'read', where);
			const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
			try {
				const connection = await connect(socket, ended);
				const client = new TestClient(connection, connection);
				await client.initialize();
				// Each of these messages makes a line of the log. All lines together are far more than a pipe holds.
				for (let i = 0; i < 2000; i++) {
					await client.connection.sendNotification('textDocument/didOpen', { wrong: i });
					await client.connection.sendNotification('$/setTrace', { value: 'x'.repeat(1000) });
				}
				for (let i = 0; i < 20; i++) expect((await client.status()).state).toBe('no-model');
				connection.destroy();
				expect(await ended).toBe(0);
			} finally {
				child.kill('SIGKILL');
			}
		},
	);

	test('an answer that cannot be written ends the engine of that client without a stack', async () => {
		const child = start(['serve', '--stdio'], 'full');
		let stderr = '';
		child.stderr!.setEncoding('utf8').on('data', (chunk) => {
			stderr += chunk;
		});
		child.stdin!.on('error', () => {});
		const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'hearth/status' });
		child.stdin!.write(`Content-Length: ${body.length}\r\n\r\n${body}`);
		expect(await new Promise((resolve) => child.once('close', resolve))).toBe(1);
		expect(stderr).toContain('ENOSPC');
		expect(stderr).not.toMatch(/fatal|^ +at /m);
	});
});

async function connect(socketPath: string, ended: Promise<number | null>): Promise<net.Socket> {
	let code: number | null | undefined;
	void ended.then((ending) => {
		code = ending;
	});
	while (code === undefined) {
		const socket = net.connect(socketPath);
		const connected = await new Promise<boolean>((resolve) => {
			socket.once('connect', () => resolve(true));
			socket.once('error', () => resolve(false));
		});
		if (connected) return socket;
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	throw new Error(`the engine ended with ${code}`);
}
