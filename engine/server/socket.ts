// Listening on a socket that only this user can reach: a Unix socket file, or a named pipe on Windows.
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { withStartLock } from './start-lock';

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, the closing zero included; longer ones would be cut silently. */
const MAX_PATH_BYTES = 103;

/** Owner may read and write, nobody else anything. */
const PRIVATE_FILE_UMASK = 0o177;

export interface Listening {
	/** Stops listening and removes the socket file, unless another process has replaced it. */
	close(): void;
}

/**
 * Listens on `socketPath`, in a directory that is made private (0700) where it does not exist. A socket file that nobody
 * listens on any more is replaced.
 * @throws a one-line error where another engine listens there, or the path cannot be used.
 */
export async function listen(socketPath: string, onConnection: (socket: net.Socket) => void): Promise<Listening> {
	checkSocketPath(socketPath, process.platform);
	if (process.platform === 'win32') {
		const server = await bind(socketPath, onConnection).catch((error) => {
			throw plain(error, socketPath);
		});
		return { close: () => server.close() };
	}
	try {
		mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
		const server = await withStartLock(`${socketPath}.lock`, () => bindOrReplace(socketPath, onConnection));
		const { ino } = lstatSync(socketPath);
		return {
			close: () => {
				// Closing would remove the file by name, even where it is another engine's by now.
				if (lstatSync(socketPath, { throwIfNoEntry: false })?.ino === ino) server.close();
				else server.unref();
			},
		};
	} catch (error) {
		throw plain(error, socketPath);
	}
}

/** Listens in the place of an engine that was killed. */
async function bindOrReplace(socketPath: string, onConnection: (socket: net.Socket) => void): Promise<net.Server> {
	try {
		return await bind(socketPath, onConnection);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
	}
	if (lstatSync(socketPath, { throwIfNoEntry: false })?.isSocket() === false) {
		throw new Refusal(`${socketPath} exists and is no socket; remove it, or choose another path`);
	}
	if (await answers(socketPath)) throw inUse(socketPath);
	rmSync(socketPath, { force: true });
	return bind(socketPath, onConnection);
}

/** @throws a one-line error where that system cannot listen there: Windows takes names of pipes, the others short paths. */
export function checkSocketPath(socketPath: string, platform: NodeJS.Platform): void {
	if (platform === 'win32') {
		if (/^\\\\[.?]\\pipe\\[^\\]/i.test(socketPath)) return;
		throw new Error(`on Windows the engine listens on a named pipe, \\\\.\\pipe\\NAME, not on ${socketPath}`);
	}
	if (Buffer.byteLength(socketPath) > MAX_PATH_BYTES) {
		throw new Error(`the socket path is too long (at most ${MAX_PATH_BYTES} bytes): ${socketPath}`);
	}
}

function bind(socketPath: string, onConnection: (socket: net.Socket) => void): Promise<net.Server> {
	return new Promise((resolve, reject) => {
		const server = net.createServer(onConnection);
		server.once('error', reject);
		// The file comes into being in `listen`, which is synchronous as far as that.
		const umask = process.umask(PRIVATE_FILE_UMASK);
		try {
			server.listen(socketPath, () => {
				server.off('error', reject);
				resolve(server);
			});
		} finally {
			process.umask(umask);
		}
	});
}

/** Whether somebody listens on a socket file. */
function answers(socketPath: string): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = net.connect(socketPath);
		socket.once('connect', () => {
			socket.destroy();
			resolve(true);
		});
		// Any other error, such as too many who wait to be let in, comes from somebody who listens.
		socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
	});
}

/** An error that says all there is to say. */
class Refusal extends Error {}

function plain(error: unknown, socketPath: string): Error {
	if (error instanceof Refusal) return error;
	const { code, message } = error as NodeJS.ErrnoException;
	if (code === 'EADDRINUSE') return inUse(socketPath);
	const folder = path.dirname(socketPath);
	const advice =
		code === 'EEXIST' || code === 'ENOTDIR'
			? `; ${folder} is no folder: remove what is there, or choose another path`
			: ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOSPC'].includes(code ?? '')
				? // Node.js calls a folder that cannot be made on a read-only disk ENOENT.
					`; choose a path in a folder of your own, such as $XDG_RUNTIME_DIR or ~/.cache/hearth`
				: '';
	return new Error(`cannot listen on ${socketPath}: ${message}${advice}`);
}

function inUse(socketPath: string): Error {
	return new Refusal(`another engine is already listening on ${socketPath}`);
}
