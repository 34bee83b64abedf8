// Where this user's engine listens: a private directory with a short socket path (on Windows a named pipe). It is the
// same for every window that runs the same build.
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface Endpoint {
	/** Only this user can open it. It holds the log and, except on Windows, the socket. */
	directory: string;
	/** Path of the Unix socket, or name of the pipe. */
	socket: string;
	/** File that receives the engine's standard error; every window can follow it. */
	log: string;
}

export interface EndpointEnvironment {
	platform: NodeJS.Platform;
	/** `$XDG_RUNTIME_DIR`, if it is set. */
	runtimeDirectory: string | undefined;
	temporaryDirectory: string;
	/** The last resort, for when other users have taken the names in the temporary directory. */
	homeDirectory?: string;
	/** Absent on Windows. */
	userId: number | undefined;
	userName: string;
	/** Name of the build, see {@link buildId}. */
	build: string;
}

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, the terminating zero included. */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * All places where the engine may listen, in the order to try them. The list depends only on the environment, so that
 * all windows of a user arrive at the same place.
 */
export function endpointCandidates(env: EndpointEnvironment): Endpoint[] {
	if (env.platform === 'win32') {
		const user = createHash('sha256').update(env.userName).digest('hex').slice(0, 12);
		const directory = path.win32.join(env.temporaryDirectory, `hearth-${user}`);
		return [
			{
				directory,
				socket: `\\\\.\\pipe\\hearth-${user}-${env.build}`,
				log: path.win32.join(directory, `${env.build}.log`),
			},
		];
	}
	const owner = env.userId ?? 0;
	const directories = [
		...(env.runtimeDirectory?.startsWith('/') ? [path.posix.join(env.runtimeDirectory, 'hearth')] : []),
		path.posix.join(env.temporaryDirectory, `hearth-${owner}`),
		`/tmp/hearth-${owner}`,
		...(env.homeDirectory?.startsWith('/') ? [path.posix.join(env.homeDirectory, '.cache', 'hearth', 'run')] : []),
	];
	return [...new Set(directories)]
		.map((directory) => ({
			directory,
			socket: path.posix.join(directory, `${env.build}.sock`),
			log: path.posix.join(directory, `${env.build}.log`),
		}))
		.filter((endpoint) => Buffer.byteLength(endpoint.socket) <= MAX_SOCKET_PATH_BYTES);
}

/**
 * Names a build by its version and content. An updated extension thus starts its own engine instead of talking to the
 * old one, while windows of different editors with the same build share one engine.
 */
export function buildId(version: string, engineFile: string): string {
	return `${version}-${createHash('sha256').update(readFileSync(engineFile)).digest('hex').slice(0, 8)}`;
}

/**
 * Tries the candidates in order. Returns the first one whose directory can be made private, and makes that directory.
 * @throws Error that names what is wrong with each place when none can be used
 */
export function prepareEndpoint(candidates: Endpoint[], userId: number | undefined): Endpoint {
	const refusals: string[] = [];
	for (const candidate of candidates) {
		try {
			makePrivateDirectory(candidate.directory, userId);
			return candidate;
		} catch (error) {
			refusals.push(error instanceof Error ? error.message : String(error));
		}
	}
	throw new Error(
		`No private place for the engine's socket: ${refusals.join('; ') || 'all paths are too long'}. ` +
			'Remove what is in the way, or set XDG_RUNTIME_DIR to a folder that is yours alone, and restart the editor.',
	);
}

/** Creates `directory` for this user alone, or checks an existing one: another user could have put it there first. */
function makePrivateDirectory(directory: string, userId: number | undefined): void {
	try {
		mkdirSync(directory, { recursive: true, mode: 0o700 });
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		if (code === 'EEXIST' || code === 'ENOTDIR') throw new Error(`${directory} is not a directory`);
		throw new Error(`${directory} cannot be made: ${message}`);
	}
	if (userId === undefined) return;
	const stat = lstatSync(directory);
	if (stat.isSymbolicLink()) throw new Error(`${directory} is a link`);
	if (!stat.isDirectory()) throw new Error(`${directory} is not a directory`);
	if (stat.uid !== userId) throw new Error(`${directory} belongs to another user`);
	if ((stat.mode & 0o077) !== 0) throw new Error(`${directory} is open to other users (run: chmod 700 ${directory})`);
}
