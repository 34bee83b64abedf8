// Listening on a socket that only this user can reach: a Unix socket file, or a named pipe on Windows.
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { withStartLock } from './start-lock';

/**
 * Bytes of a path at most. `sun_path` holds 104 bytes on macOS and 108 on Linux, the closing zero included; a longer
 * path would be cut silently.
 */
const MAX_PATH_BYTES = 103;

/** The owner may read and write the socket file; nobody else may do anything with it. */
const PRIVATE_FILE_UMASK = 0o177;

export interface Listening {
	/** Stops listening and removes the socket file, unless another process has replaced it. */
	close(): void;
}

/**
 * Listens on `socketPath`. Its directory is made where it does not exist, and is then private (0700). A socket file
 * that nobody listens on any more is replaced.
 * @throws a one-line error where another engine listens there, or where the path cannot be used.
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
				// Closing removes the file by its name, but the file of that name may be another engine's by now.
				if (lstatSync(socketPath, { throwIfNoEntry: false })?.ino === ino) server.close();
				else server.unref();
			},
		};
	} catch (error) {
		throw plain(error, socketPath);
	}
}

/** Listens, and takes the place of an engine that was killed. */
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

/**
 * Checks that an engine can listen on a path. Windows takes the names of pipes; the other systems take short paths.
 * @throws a one-line error where the system cannot listen there.
 */
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
		// `server.listen` makes the socket file before it returns, so the umask holds for that file only.
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

/** Whether a process listens on a socket file. */
function answers(socketPath: string): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = net.connect(socketPath);
		socket.once('connect', () => {
			socket.destroy();
			resolve(true);
		});
		// Any other error comes from a process that listens, e.g. because too many clients wait to be let in.
		socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
	});
}

/** An error whose message is complete: `plain` adds nothing to it. */
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
				? // Node.js reports ENOENT for a folder that cannot be made on a read-only disk.
					`; choose a path in a folder of your own, such as $XDG_RUNTIME_DIR or ~/.cache/hearth`
				: '';
	return new Error(`cannot listen on ${socketPath}: ${message}${advice}`);
}

function inUse(socketPath: string): Error {
	return new Refusal(`another engine is already listening on ${socketPath}`);
}
