// Engines that start at once, and engines that are killed while they start: in the end, exactly one listens.
import { type ChildProcess, spawn } from 'node:child_process';
import {
	chmodSync,
	lstatSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	renameSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { listen } from '../../../engine/server/socket';
import { withStartLock } from '../../../engine/server/start-lock';
import { needs, notRoot, unix } from '../../support/needs';

let directory: string;
let script: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
	script = path.join(mkdtempSync(path.join(os.tmpdir(), 'hearth-listen-')), 'listen.js');
	await build({
		stdin: {
			// The process says whether it listens, and listens until its standard input ends. With `killAt`, it kills itself
			// at that call of the file system.
			contents: `
				const fs = require('node:fs');
				const [, , socketPath, killAt] = process.argv;
				let calls = 0;
				for (const name of ['symlinkSync', 'readdirSync', 'rmSync', 'readlinkSync', 'lstatSync', 'mkdirSync']) {
					const call = fs[name];
					fs[name] = (...args) => {
						if (++calls === Number(killAt)) process.kill(process.pid, 'SIGKILL');
						return call(...args);
					};
				}
				const { listen } = require('./engine/server/socket');
				process.stdin.resume();
				process.stdin.on('end', () => process.exit(0));
				listen(socketPath, (socket) => socket.on('error', () => {}).end(String(process.pid))).then(
					() => console.log('listening'),
					(error) => { console.log(error.message); process.exit(1); },
				);
			`,
			resolveDir: path.resolve(__dirname, '..', '..', '..'),
		},
		outfile: script,
		bundle: true,
		platform: 'node',
		target: 'node20',
	});
});
afterAll(() => rmSync(path.dirname(script), { recursive: true, force: true }));

beforeEach(() => {
	directory = mkdtempSync(path.join(os.tmpdir(), 'hearth-race-'));
});
afterEach(async () => {
	for (const child of children.splice(0)) await ended(child);
	rmSync(directory, { recursive: true, force: true });
});

function start(socketPath: string, killAt = 0): { child: ChildProcess; said: Promise<string> } {
	const child = spawn(process.execPath, [script, socketPath, String(killAt)], { stdio: ['pipe', 'pipe', 'inherit'] });
	children.push(child);
	const said = new Promise<string>((resolve) => {
		child.stdout!.setEncoding('utf8').once('data', (line: string) => resolve(line.trim()));
		child.once('close', () => resolve(''));
	});
	return { child, said };
}

async function ended(child: ChildProcess): Promise<void> {
	child.kill('SIGKILL');
	if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
}

/** Leaves a socket file that nobody listens on, as kill -9 does. */
async function stale(socketPath: string): Promise<void> {
	const server = net.createServer();
	await new Promise<void>((resolve) => server.listen(`${socketPath}.0`, resolve));
	renameSync(`${socketPath}.0`, socketPath);
	await new Promise((resolve) => server.close(resolve));
}

/** The id of the process that listens on a socket. */
function listener(socketPath: string): Promise<number> {
	return new Promise((resolve, reject) => {
		let said = '';
		net
			.connect(socketPath)
			.on('data', (chunk) => {
				said += chunk;
			})
			.on('end', () => resolve(Number(said)))
			.on('error', reject);
	});
}

describe('engines that start at once', needs(unix), () => {
	test.each([1, 2, 3])('over a stale socket: one listens, the others say so (%i)', async () => {
		const socketPath = path.join(directory, 'engine.sock');
		await stale(socketPath);
		const started = Array.from({ length: 8 }, () => start(socketPath));
		const said = await Promise.all(started.map((each) => each.said));
		const winners = started.filter((_, i) => said[i] === 'listening');
		expect(winners.length).toBe(1);
		expect(new Set(said)).toEqual(new Set(['listening', `another engine is already listening on ${socketPath}`]));
		expect(await listener(socketPath)).toBe(winners[0]!.child.pid);
		// One link of the lock is all that stays.
		expect(readdirSync(directory).filter((name) => name !== 'engine.sock')).toHaveLength(1);
	});

	test('kill -9 at any point leaves nothing that the next one cannot get over', async () => {
		const socketPath = path.join(directory, 'engine.sock');
		let killed = 0;
		for (let at = 1; ; at++) {
			await stale(socketPath);
			const { child, said } = start(socketPath, at);
			if ((await said) !== '') {
				await ended(child);
				break;
			}
			expect(child.signalCode).toBe('SIGKILL');
			killed++;
			const others = [start(socketPath), start(socketPath)];
			const outcome = await Promise.all(others.map((each) => each.said));
			expect(outcome.filter((line) => line === 'listening')).toHaveLength(1);
			for (const other of others) await ended(other.child);
		}
		expect(killed).toBeGreaterThan(6);
	});

	test('while others are killed, one listens in the end', async () => {
		const socketPath = path.join(directory, 'engine.sock');
		for (let round = 0; round < 4; round++) {
			const started = Array.from({ length: 6 }, (_, i) => start(socketPath, i % 2 === 0 ? round * 3 + i + 1 : 0));
			const said = await Promise.all(started.map((each) => each.said));
			const winners = started.filter((_, i) => said[i] === 'listening');
			expect(winners.length).toBe(1);
			expect(await listener(socketPath)).toBe(winners[0]!.child.pid);
			for (const { child } of started) await ended(child);
		}
	});
});

describe('the lock of the start', needs(unix), () => {
	const file = () => path.join(directory, 'engine.sock.lock');

	test('is held by one at a time', async () => {
		let inside = 0;
		let done = 0;
		await Promise.all(
			Array.from({ length: 12 }, () =>
				withStartLock(file(), async () => {
					expect(++inside).toBe(1);
					await new Promise((resolve) => setTimeout(resolve, 2));
					inside--;
					done++;
				}),
			),
		);
		expect(done).toBe(12);
		expect(readdirSync(directory)).toHaveLength(1);
	});

	test('is given back where the work fails', async () => {
		await expect(withStartLock(file(), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
		expect(await withStartLock(file(), async () => 'yes')).toBe('yes');
	});

	test.each<[string, (file: string) => void]>([
		['a process that has ended', (name) => symlinkSync('4194303.77', `${name}.3`)],
		["another process with a dead one's number", (name) => symlinkSync(`${process.ppid}.1`, `${name}.1`)],
		['garbage', (name) => symlinkSync('garbage', `${name}.9`)],
		['a file', (name) => writeFileSync(`${name}.2`, 'precious')],
		['a folder', (name) => mkdirSync(`${name}.2`)],
		['names that are none of its own', (name) => writeFileSync(`${name}.x`, '')],
		['many that were left', (name) => [1, 2, 5, 11].map((n) => symlinkSync('4194303.1', `${name}.${n}`))],
	])('is not held by %s', async (_, leave) => {
		leave(file());
		expect(await withStartLock(file(), async () => 'in')).toBe('in');
		expect(await withStartLock(file(), async () => 'again')).toBe('again');
	});
});

describe('a place that cannot be listened in', needs(unix), () => {
	const refused = (socketPath: string) => expect(listen(socketPath, () => {})).rejects;

	test('a file in place of the folder', async () => {
		writeFileSync(path.join(directory, 'file'), '');
		const socketPath = path.join(directory, 'file', 'engine.sock');
		await refused(socketPath).toThrow(
			/^cannot listen on .*; .*file is no folder: remove what is there, or choose another/,
		);
	});

	test('something else in place of the socket', async () => {
		mkdirSync(path.join(directory, 'engine.sock'));
		await refused(path.join(directory, 'engine.sock')).toThrow(
			'exists and is no socket; remove it, or choose another path',
		);
	});

	test("a folder of somebody else's", needs(notRoot), async () => {
		chmodSync(directory, 0o500);
		await refused(path.join(directory, 'engine.sock')).toThrow(/EACCES.*; choose a path in a folder of your own/);
		chmodSync(directory, 0o700);
		expect(lstatSync(directory).isDirectory()).toBe(true);
	});
});

test('a lock whose owner’s start is not known is waited for, and taken over once it is seen to do nothing', async () => {
	const lock = path.join(directory, 'engine.sock.lock');
	mkdirSync(directory, { recursive: true });
	symlinkSync(`${process.ppid}.`, `${lock}.1`);
	let now = 0;
	let looks = 0;
	const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
		looks++;
		now += 1000;
		return now;
	});
	expect(await withStartLock(lock, async () => 'done')).toBe('done');
	expect(looks).toBeGreaterThan(4);
	clock.mockRestore();
});
