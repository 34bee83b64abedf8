import { spawn } from 'node:child_process';
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectOrLaunch, inspectArguments, LaunchError, nodeEnvironment } from '../../extension/connection/connect';
import {
	buildId,
	type Endpoint,
	type EndpointEnvironment,
	endpointCandidates,
	prepareEndpoint,
} from '../../extension/connection/endpoint';
import { LogFollower } from '../../extension/connection/logFollower';
import { RestartPolicy } from '../../extension/connection/restartPolicy';
import { needs, unix } from '../support/needs';

let folder: string;

beforeEach(() => {
	folder = mkdtempSync(path.join(tmpdir(), 'hx-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('endpoint', () => {
	const linux: EndpointEnvironment = {
		platform: 'linux',
		runtimeDirectory: '/run/user/1000',
		temporaryDirectory: '/tmp',
		userId: 1000,
		userName: 'ann',
		build: '0.1.0-abcdef01',
	};

	it('prefers the runtime directory, then the temporary one', () => {
		expect(endpointCandidates(linux).map(({ socket }) => socket)).toEqual([
			'/run/user/1000/hearth/0.1.0-abcdef01.sock',
			'/tmp/hearth-1000/0.1.0-abcdef01.sock',
		]);
		const { runtimeDirectory: _, ...without } = linux;
		expect(endpointCandidates({ ...without, runtimeDirectory: undefined })[0]?.directory).toBe('/tmp/hearth-1000');
		expect(endpointCandidates({ ...linux, runtimeDirectory: 'relative' })[0]?.directory).toBe('/tmp/hearth-1000');
	});

	it('leaves out places whose socket path the system would cut off', () => {
		const long = `/var/folders/${'x'.repeat(90)}/T`;
		const candidates = endpointCandidates({
			...linux,
			platform: 'darwin',
			runtimeDirectory: undefined,
			temporaryDirectory: long,
		});
		expect(candidates.map(({ directory }) => directory)).toEqual(['/tmp/hearth-1000']);
	});

	it('names a pipe on Windows, without the user name in clear', () => {
		const [endpoint] = endpointCandidates({
			...linux,
			platform: 'win32',
			temporaryDirectory: 'C:\\Temp',
			userId: undefined,
			userName: 'Ann Ä.',
		});
		expect(endpoint?.socket).toMatch(/^\\\\\.\\pipe\\hearth-[0-9a-f]{12}-0\.1\.0-abcdef01$/);
		expect(endpoint?.directory).toMatch(/^C:\\Temp\\hearth-[0-9a-f]{12}$/);
		const [spaced] = endpointCandidates({
			...linux,
			platform: 'win32',
			temporaryDirectory: 'C:\\Users\\Ann Ä\\AppData\\Local\\Temp',
			userId: undefined,
			userName: 'Ann Ä.',
		});
		// A pipe has no folder. Its name depends on the user and not on where the user's files are.
		expect(spaced?.socket).toBe(endpoint?.socket);
		expect(spaced?.log).toBe(
			`C:\\Users\\Ann Ä\\AppData\\Local\\Temp\\${endpoint?.socket.slice(9, 28)}\\0.1.0-abcdef01.log`,
		);
	});

	it('gives another name to another version and to another build of the same one', () => {
		const file = path.join(folder, 'engine.js');
		writeFileSync(file, 'one');
		const first = buildId('1.0.0', file);
		expect(buildId('1.0.0', file)).toBe(first);
		expect(buildId('1.0.1', file)).not.toBe(first);
		writeFileSync(file, 'two');
		expect(buildId('1.0.0', file)).not.toBe(first);
	});

	it('makes a directory that only the user may enter, and refuses one that is open to others', () => {
		const open = path.join(folder, 'open');
		mkdirSync(open);
		chmodSync(open, 0o777);
		const own = path.join(folder, 'own');
		const endpoint = (directory: string): Endpoint => ({ directory, socket: `${directory}/s`, log: `${directory}/l` });
		const chosen = prepareEndpoint([endpoint(open), endpoint(own)], process.getuid?.());
		expect(chosen.directory).toBe(own);
		expect(statSync(own).mode & 0o777).toBe(0o700);
		expect(() => prepareEndpoint([endpoint(open)], process.getuid?.())).toThrow(/open to other users.*chmod 700/);
		expect(() => prepareEndpoint([endpoint(own)], 4_000_000)).toThrow(/belongs to another user/);
		const file = path.join(folder, 'file');
		writeFileSync(file, '');
		expect(() => prepareEndpoint([endpoint(file)], process.getuid?.())).toThrow(file);
	});

	it('goes round what others have put in its place, and says how to get out', needs(unix), () => {
		const endpoint = (directory: string): Endpoint => ({
			directory,
			socket: `${directory}/s`,
			log: `${directory}/l`,
		});
		const [file, below, link, dangling, own] = ['a file', 'a file/below', 'a link', 'a dangling link', 'home/own'].map(
			(name) => endpoint(path.join(folder, 'squatted', name)),
		) as [Endpoint, Endpoint, Endpoint, Endpoint, Endpoint];
		mkdirSync(path.join(folder, 'squatted', 'elsewhere'), { recursive: true, mode: 0o700 });
		writeFileSync(file.directory, '');
		symlinkSync(path.join(folder, 'squatted', 'elsewhere'), link.directory);
		symlinkSync(path.join(folder, 'squatted', 'nowhere', 'at', 'all'), dangling.directory);
		const all = [file, below, link, dangling];
		expect(prepareEndpoint([...all, own], process.getuid?.())).toBe(own);
		expect(() => prepareEndpoint(all, process.getuid?.())).toThrow(
			/a file is not a directory; .*below is not a directory; .*a link is a link; .*a dangling link .*\. Remove what is in the way, or set XDG_RUNTIME_DIR/,
		);
		expect(endpointCandidates({ ...linux, homeDirectory: '/home/ann' }).at(-1)?.directory).toBe(
			'/home/ann/.cache/hearth/run',
		);
	});
});

describe('restart policy', () => {
	const limits = { crashes: 3, spanMilliseconds: 1000, firstDelayMilliseconds: 100, maxDelayMilliseconds: 150 };

	it('waits twice as long after each crash, up to a limit, then gives up', () => {
		const policy = new RestartPolicy(limits, () => 0);
		expect(policy.crashed(0)).toEqual({ action: 'restart', delayMilliseconds: 100 });
		expect(policy.crashed(10)).toEqual({ action: 'restart', delayMilliseconds: 150 });
		expect(policy.crashed(20)).toEqual({ action: 'give-up', crashes: 3 });
	});

	it('forgets crashes that are long past, and all when the user asks for a restart', () => {
		const policy = new RestartPolicy(limits, () => 0);
		policy.crashed(0);
		policy.crashed(10);
		expect(policy.crashed(1005)).toEqual({ action: 'restart', delayMilliseconds: 150 });
		policy.reset();
		expect(policy.crashed(1006)).toEqual({ action: 'restart', delayMilliseconds: 100 });
	});

	it('spreads the windows that lost the same engine', () => {
		const delays = [0, 0.5, 1].map((random) => {
			const decision = new RestartPolicy({ ...limits, maxDelayMilliseconds: 1000 }, () => random).crashed(0);
			return decision.action === 'restart' ? decision.delayMilliseconds : undefined;
		});
		expect(delays).toEqual([100, 125, 150]);
	});
});

describe('connecting', () => {
	/** Stands for the engine. It listens unless somebody else does, and tells its process id to whoever connects. */
	const ENGINE = `
		const net = require('node:net');
		const socket = process.argv[2];
		const server = net.createServer((client) => { client.write(process.pid + '\\n'); client.on('data', () => process.exit(0)); client.on('error', () => {}); });
		server.once('error', () => { console.error('somebody listens'); process.exit(0); });
		server.listen(socket, () => console.error('listening, as node: ' + process.env.ELECTRON_RUN_AS_NODE));
	`;
	let endpoint: Endpoint;
	let script: string;
	const sockets: Socket[] = [];

	beforeEach(() => {
		endpoint = { directory: folder, socket: path.join(folder, 's.sock'), log: path.join(folder, 'engine.log') };
		script = path.join(folder, 'engine.cjs');
		writeFileSync(script, ENGINE);
	});

	const launch = (args = [script, endpoint.socket]) => ({
		command: process.execPath,
		args,
		env: nodeEnvironment(process.env),
		cwd: folder,
	});

	async function connect() {
		const connected = await connectOrLaunch(endpoint, launch());
		sockets.push(connected.socket);
		const said = await new Promise<string>((resolve) => connected.socket.once('data', (data) => resolve(String(data))));
		return { ...connected, engine: Number(said) };
	}

	async function endEngine(socket: Socket) {
		const closed = new Promise((resolve) => socket.once('close', resolve));
		socket.on('error', () => {});
		socket.write('end');
		await closed;
	}

	it('launches an engine where none runs, as plain Node.js, and connects a second window to it', async () => {
		const first = await connect();
		expect(first.child?.pid).toBe(first.engine);
		const second = await connect();
		expect(second.child).toBeUndefined();
		expect(second.engine).toBe(first.engine);
		await endEngine(first.socket);
		expect(readFileSync(endpoint.log, 'utf8')).toContain('listening, as node: 1');
		expect(statSync(endpoint.log).mode & 0o077).toBe(0);
	});

	it('ends with one engine when windows launch at the same moment', async () => {
		const all = await Promise.all([connect(), connect(), connect()]);
		expect(new Set(all.map(({ engine }) => engine)).size).toBe(1);
		await endEngine(all[0].socket);
	});

	it('says with what an engine ended that never listened', async () => {
		const failing = connectOrLaunch(endpoint, launch(['-e', 'console.error("no addon"); process.exit(3)']));
		await expect(failing).rejects.toThrow(LaunchError);
		await expect(failing).rejects.toThrow('exited with code 3');
		expect(readFileSync(endpoint.log, 'utf8')).toContain('no addon');
	});

	it('says when the executable cannot be run at all', async () => {
		const missing = { ...launch(), command: path.join(folder, 'missing') };
		await expect(connectOrLaunch(endpoint, missing)).rejects.toThrow(/missing.*ENOENT/);
	});

	it('outlives the window that launched it', async () => {
		const launcher = path.join(folder, 'window.mts');
		const module = JSON.stringify(path.resolve(import.meta.dirname, '../../extension/connection/connect.ts'));
		const built = path.join(folder, 'window.mjs');
		writeFileSync(
			launcher,
			`import { connectOrLaunch } from ${module};
			const { child } = await connectOrLaunch(${JSON.stringify(endpoint)}, ${JSON.stringify(launch())});
			console.log(child.pid); process.exit(0);`,
		);
		const { buildSync } = await import('esbuild');
		buildSync({ entryPoints: [launcher], outfile: built, bundle: true, platform: 'node', format: 'esm' });
		const window = spawn(process.execPath, [built], { stdio: ['ignore', 'pipe', 'inherit'] });
		let output = '';
		window.stdout.on('data', (data) => {
			output += data;
		});
		await new Promise((resolve) => window.once('close', resolve));
		const next = await connect();
		expect(next.child).toBeUndefined();
		expect(next.engine).toBe(Number(output));
		await endEngine(next.socket);
	});

	it('lets a debugger attach to the engine at the port that a developer names, and at no other', async () => {
		const [argument] = inspectArguments({ HEARTH_ENGINE_INSPECT: '9230' });
		expect(argument).toBe('--inspect=127.0.0.1:9230');
		for (const port of ['', '0', '65536', '0.0.0.0:9230', '9230 --eval=1', 'yes'])
			expect(inspectArguments({ HEARTH_ENGINE_INSPECT: port })).toEqual([]);
		expect(inspectArguments({})).toEqual([]);
		// The port is any free one here, because other tests may have a debugger of their own.
		const inspected = [argument!.replace('9230', '0'), script, endpoint.socket];
		const { socket } = await connectOrLaunch(endpoint, launch(inspected));
		sockets.push(socket);
		await new Promise((resolve) => socket.once('data', resolve));
		await endEngine(socket);
		expect(readFileSync(endpoint.log, 'utf8')).toContain('Debugger listening on ws://127.0.0.1:');
	});

	it('keeps debuggers and options of the editor out of the engine', () => {
		const env = nodeEnvironment({ PATH: '/bin', NODE_OPTIONS: '--inspect', VSCODE_INSPECTOR_OPTIONS: '{}' });
		expect(env).toEqual({ PATH: '/bin', ELECTRON_RUN_AS_NODE: '1' });
	});
});

describe('log follower', () => {
	it('passes on whole lines, also when written in pieces, across characters, and after truncation', async () => {
		const file = path.join(folder, 'log');
		writeFileSync(file, 'old line\n');
		const lines: string[] = [];
		const follower = new LogFollower(file, statSync(file).size, (line) => lines.push(line));
		const append = async (bytes: Uint8Array | string) => {
			writeFileSync(file, bytes, { flag: 'a' });
			await follower.flush();
		};
		await append('one\ntw');
		expect(lines).toEqual(['one']);
		const umlaut = Buffer.from('ö\r\n');
		await append(umlaut.subarray(0, 1));
		await append(umlaut.subarray(1));
		expect(lines).toEqual(['one', 'twö']);
		writeFileSync(file, 'new\n');
		await follower.flush();
		expect(lines).toEqual(['one', 'twö', 'new']);
		rmSync(file);
		await follower.flush();
		expect(existsSync(file)).toBe(false);
		follower.dispose();
	});
});
