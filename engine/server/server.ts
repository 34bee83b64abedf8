// The engine as a process that editors talk to: over standard input and output for one client, over a socket for any number.
import type { Socket } from 'node:net';
import { describe, log } from '../services/log';
import type { OpenModel } from '../services/model-host';
import { ROLES, settingsOf } from '../services/roles';
import { Services } from '../services/services';
import type { EngineSettings } from '../settings';
import { Session } from './session';
import { listen } from './socket';

interface ServerOptions {
	/** What holds for clients that send no settings of their own. Its model, if any, is loaded at once. */
	settings: EngineSettings;
	open?: OpenModel;
}

/** How long the first client may take to come, in seconds: the process was started for it. */
const FIRST_CLIENT_SECONDS = 30;

/** How long a client has to read the last words to it. */
const GOODBYE_MILLISECONDS = 2_000;

/** Serves one client over a pair of streams. Resolves with whether it said goodbye, when it has gone. */
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
 * Serves any number of clients on a socket. Resolves when none has been there for `lingerSeconds`, or on abort.
 * @throws a one-line error where it cannot listen.
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
			// What was written last may reach a client that reads; one that neither reads nor closes is not waited for.
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
		// The host has logged a failure and keeps it in the status.
		if (own) services.models.hosts[role].load(own).catch(() => {});
	}
}

/** Logs what nobody caught and ends the process: whoever owns it starts a new one, a broken one would only hang. */
export function endOnUnhandledErrors(): void {
	const fail = (error: unknown) => {
		log(`fatal: ${error instanceof Error ? (error.stack ?? describe(error)) : describe(error)}`);
		process.exit(1);
	};
	process.on('uncaughtException', fail);
	process.on('unhandledRejection', fail);
}
