// Finds this user's engine: connects to the one that runs, or launches one and connects to it.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, statSync } from 'node:fs';
import net from 'node:net';
import type { Endpoint } from './endpoint';

interface Launch {
	command: string;
	args: string[];
	env: NodeJS.ProcessEnv;
	/** Must not be a workspace folder: the engine outlives the window and would keep that folder in use. */
	cwd: string;
}

export interface Connected {
	socket: net.Socket;
	/**
	 * The process that this window launched, if it launched one. The connected engine may still be the process of another
	 * window.
	 */
	child: ChildProcess | undefined;
}

/** The engine could not be launched; the message says why. */
export class LaunchError extends Error {}

const POLL_MILLISECONDS = 40;
/**
 * Our engine may end because another window's engine got the socket first. That engine then has this long to listen.
 */
const RACE_GRACE_MILLISECONDS = 3_000;
/** The engine listens before it loads a model. A process that does not listen by then never will. */
const LISTEN_LIMIT_MILLISECONDS = 30_000;
/** When the log is larger than this, the next engine starts a new one. */
const MAX_LOG_BYTES = 4 * 2 ** 20;

/**
 * Connects to the engine at `endpoint` and launches one when nobody answers there. When two windows launch at once, one
 * engine gets the socket and the other engine ends; both windows are then connected to the first.
 * @throws LaunchError when no engine can be reached
 */
export async function connectOrLaunch(endpoint: Endpoint, launch: Launch): Promise<Connected> {
	const running = await tryConnect(endpoint.socket);
	if (running) return { socket: running, child: undefined };

	const child = spawnDetached(endpoint, launch);
	let ended: string | undefined;
	child.once('error', (error) => {
		ended ??= `${launch.command}: ${error.message}`;
	});
	child.once('exit', (code, signal) => {
		ended ??= signal ? `it was ended by ${signal}` : `it exited with code ${code}`;
	});

	const startedAt = performance.now();
	let endedAt: number | undefined;
	for (;;) {
		const socket = await tryConnect(endpoint.socket);
		if (socket) return { socket, child };
		const now = performance.now();
		if (ended) endedAt ??= now;
		if (endedAt !== undefined && now - endedAt > RACE_GRACE_MILLISECONDS) {
			throw new LaunchError(`The engine did not start: ${ended}.`);
		}
		if (now - startedAt > LISTEN_LIMIT_MILLISECONDS) {
			child.kill('SIGKILL');
			throw new LaunchError('The engine did not start: it never listened on its socket.');
		}
		await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
	}
}

/** The environment in which the editor's own executable runs as plain Node.js. */
export function nodeEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
	const { NODE_OPTIONS: _options, VSCODE_INSPECTOR_OPTIONS: _inspector, ...rest } = env;
	return { ...rest, ELECTRON_RUN_AS_NODE: '1' };
}

/**
 * Arguments of Node.js that let a debugger attach to the engine. A developer sets `HEARTH_ENGINE_INSPECT` to a port in
 * the environment of the editor (.vscode/launch.json does). When the variable is absent or holds no port, no debugger
 * can attach.
 */
export function inspectArguments(env: NodeJS.ProcessEnv): string[] {
	const { HEARTH_ENGINE_INSPECT: port = '' } = env;
	return /^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536 ? [`--inspect=127.0.0.1:${port}`] : [];
}

function spawnDetached(endpoint: Endpoint, launch: Launch): ChildProcess {
	// Standard error goes to a file and not to a pipe: the engine may outlive this window, and then the pipe would break.
	const log = openSync(endpoint.log, logFlags(endpoint.log), 0o600);
	try {
		const child = spawn(launch.command, launch.args, {
			cwd: launch.cwd,
			env: launch.env,
			detached: true,
			windowsHide: true,
			stdio: ['ignore', log, log],
		});
		child.unref();
		return child;
	} finally {
		closeSync(log);
	}
}

function logFlags(file: string): 'a' | 'w' {
	const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
	return size > MAX_LOG_BYTES ? 'w' : 'a';
}

/** Resolves to a connected socket, or to undefined when nobody listens there. */
function tryConnect(socketPath: string): Promise<net.Socket | undefined> {
	return new Promise((resolve, reject) => {
		const socket = net.connect(socketPath);
		socket.once('connect', () => {
			socket.removeAllListeners('error');
			resolve(socket);
		});
		socket.once('error', (error: NodeJS.ErrnoException) => {
			socket.destroy();
			if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
			else reject(new LaunchError(`The engine's socket cannot be opened: ${error.message}`));
		});
	});
}
