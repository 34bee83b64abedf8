// The engine as a process that editors talk to: one client over standard input and output, or any number over a socket.
import type { Socket } from 'node:net';
import { describe, log } from '../services/log';
import type { OpenModel } from '../services/model-host';
import { ROLES, settingsOf } from '../services/roles';
import { Services } from '../services/services';
import type { EngineSettings } from '../settings';
import { Session } from './session';
import { listen } from './socket';

interface ServerOptions {
	/**
	 * The settings of clients that send none of their own. The model of these settings, if they name one, is loaded at
	 * once.
	 */
	settings: EngineSettings;
	open?: OpenModel;
}

/** Seconds that the first client may take to connect. The process was started for that client. */
const FIRST_CLIENT_SECONDS = 30;

/** Milliseconds that a client has to read the last messages to it. */
const GOODBYE_MILLISECONDS = 2_000;

/**
 * Serves one client over a pair of streams. Resolves when the client has gone, with whether it said goodbye
 * (`shutdown`, then `exit`).
 */
export async function serveStreams(
	input: NodeJS.ReadableStream,
	output: NodeJS.WritableStream,
	options: ServerOptions,
	signal: AbortSignal,
): Promise<boolean> {
	const services = startServices(options);
	const clean = await new Promise<boolean>((resolve) => {
		const session = new Session(services, input, output, options.settings, resolve);
		services.status.add(session);
		const gone = () => {
			session.dispose();
			resolve(false);
		};
		input.once('end', gone);
		input.once('close', gone);
		input.on('error', gone);
		output.on('error', gone);
		signal.addEventListener('abort', gone);
	});
	await services.close();
	return clean;
}

/**
 * Serves any number of clients on a socket. Resolves when no client has been connected for `lingerSeconds`, or on
 * abort.
 * @throws a one-line error where the engine cannot listen there.
 */
export async function serveSocket(
	socketPath: string,
	lingerSeconds: number,
	options: ServerOptions,
	signal: AbortSignal,
): Promise<void> {
	const services = new Services(serviceOptions(options));
	const sockets = new Set<Socket>();
	let linger: NodeJS.Timeout | undefined;
	let end = () => {};
	const ended = new Promise<void>((resolve) => {
		end = resolve;
	});
	const lingerFor = (seconds: number) => {
		clearTimeout(linger);
		linger = setTimeout(end, seconds * 1000);
	};
	const listening = await listen(socketPath, (socket) => {
		clearTimeout(linger);
		sockets.add(socket);
		log(`client connected (${sockets.size})`);
		const session = new Session(services, socket, socket, options.settings, () => {
			socket.end();
			// A client that reads gets the last messages. A client that neither reads nor closes is not waited for.
			setTimeout(() => socket.destroy(), GOODBYE_MILLISECONDS).unref();
		});
		services.status.add(session);
		socket.on('error', (error) => log(`connection: ${error.message}`));
		socket.on('end', () => socket.destroy());
		socket.once('close', () => {
			sockets.delete(socket);
			services.status.remove(session);
			session.dispose();
			log(`client gone (${sockets.size})`);
			if (sockets.size === 0) lingerFor(lingerSeconds);
		});
	});
	log(`listening on ${socketPath}`);
	loadOwnModel(services, options);
	lingerFor(Math.max(lingerSeconds, FIRST_CLIENT_SECONDS));
	signal.addEventListener('abort', () => end());
	if (signal.aborted) end();
	await ended;
	clearTimeout(linger);
	listening.close();
	for (const socket of sockets) socket.destroy();
	await services.close();
}

function startServices(options: ServerOptions): Services {
	const services = new Services(serviceOptions(options));
	loadOwnModel(services, options);
	return services;
}

function serviceOptions({ settings, open }: ServerOptions): ConstructorParameters<typeof Services>[0] {
	return { fixedModel: ROLES.some((role) => settingsOf(role, settings)), ...(open && { open }) };
}

function loadOwnModel(services: Services, { settings }: ServerOptions): void {
	for (const role of ROLES) {
		const own = settingsOf(role, settings);
		// The model host logs a failure and keeps it for the status.
		if (own) services.models.hosts[role].load(own).catch(() => {});
	}
}

/**
 * Logs an error that nobody caught and ends the process. Its owner starts a new one, whereas a broken one would only
 * hang.
 */
export function endOnUnhandledErrors(): void {
	const fail = (error: unknown) => {
		log(`fatal: ${error instanceof Error ? (error.stack ?? describe(error)) : describe(error)}`);
		process.exit(1);
	};
	process.on('uncaughtException', fail);
	process.on('unhandledRejection', fail);
}
