// Owns the connection to the user's engine: it finds or launches the process, keeps a language client on it, brings it
// back after a crash and passes its status on. Everything else in the extension attaches to this one Disposable.
import { statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { homedir, tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import type { ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';
import {
	CloseAction,
	DidChangeConfigurationNotification,
	ErrorAction,
	type Middleware,
	RevealOutputChannelOn,
	State,
} from 'vscode-languageclient/node';
import {
	type EngineSettings,
	type EngineStatus,
	type ModelRole,
	type NetworkSettings,
	StatusNotification,
	StatusRequest,
} from '../../engine/protocol';
import type { EngineView } from '../../webview/messages';
import { DOCUMENT_SELECTOR, fitsMessage } from '../completion/documents';
import { HearthClient } from './client';
import { connectOrLaunch, inspectArguments, nodeEnvironment } from './connect';
import { buildId, type Endpoint, endpointCandidates, prepareEndpoint } from './endpoint';
import { LogFollower } from './logFollower';
import { RestartPolicy } from './restartPolicy';
import { engineSettings, networkSettings } from './settings';

/**
 * How long the engine waits for another window after its last window has gone. The reload of a window takes a few
 * seconds.
 */
const LINGER_SECONDS = 5;
/** How long an engine may take to end when asked. After that it is ended by force. */
const TERMINATE_GRACE_MILLISECONDS = 3_000;

interface Session {
	client: HearthClient;
	socket: Socket;
	follower: LogFollower;
	/** Resolves when the connection has gone. */
	closed: Promise<void>;
	/** Process id of the engine. Known once the engine has told its status. */
	processId?: number;
}

export class EngineConnection implements vscode.Disposable {
	readonly log: vscode.LogOutputChannel;
	readonly #extension: vscode.Extension<unknown>;
	readonly #middleware: Middleware;
	readonly #policy = new RestartPolicy();
	readonly #subscriptions: vscode.Disposable[] = [];
	readonly #changed = new vscode.EventEmitter<EngineView>();
	#view: EngineView = { state: 'off' };
	/** The connection that exists or that is being made. */
	#session: Promise<Session> | undefined;
	/** The session whose end would count as a crash. */
	#current: Session | undefined;
	#disposed = false;
	/** Whether several settings are being changed as one: the engine is told only at the end. */
	#held = false;

	/** Fires whenever {@link view} has changed. */
	readonly onDidChange = this.#changed.event;

	constructor(extension: vscode.Extension<unknown>, middleware: Middleware) {
		this.#extension = extension;
		this.#middleware = middleware;
		this.log = vscode.window.createOutputChannel('Hearth', { log: true });
		this.#subscriptions.push(
			this.log,
			this.#changed,
			vscode.workspace.onDidChangeConfiguration((event) => {
				if (event.affectsConfiguration('hearth') && !this.#held) void this.#sendSettings();
			}),
		);
	}

	get view(): EngineView {
		return this.#view;
	}

	get settings(): EngineSettings {
		const configuration = vscode.workspace.getConfiguration('hearth');
		return engineSettings((key) => configuration.get(key), homedir());
	}

	/** How the user's VS Code reaches the network. Downloads follow it. */
	get network(): NetworkSettings {
		const http = vscode.workspace.getConfiguration('http');
		return networkSettings((key) => http.get(key));
	}

	/** Changes settings of the user, by their keys below `hearth.`. The engine is told once all of them are in place. */
	async changeSettings(changes: Record<string, unknown>): Promise<void> {
		const configuration = vscode.workspace.getConfiguration('hearth');
		this.#held = true;
		try {
			for (const [key, value] of Object.entries(changes)) {
				await configuration.update(key, value, vscode.ConfigurationTarget.Global);
			}
		} finally {
			this.#held = false;
		}
		await this.#sendSettings();
	}

	/**
	 * Starts the engine unless it runs or is on its way.
	 * @throws Error with the reason when the engine cannot be started
	 */
	async start(): Promise<void> {
		await this.#ensureSession();
	}

	/**
	 * Resolves once the engine neither starts nor loads a model. With `role`, only the model of that role counts.
	 * @throws vscode.CancellationError
	 */
	async settled(cancellation: vscode.CancellationToken, role?: ModelRole): Promise<void> {
		await this.#ensureSession();
		while (isUnsettled(this.#view, role)) {
			await new Promise<void>((resolve) => {
				const done = () => {
					changed.dispose();
					cancelled.dispose();
					resolve();
				};
				const changed = this.onDidChange(done);
				const cancelled = cancellation.onCancellationRequested(done);
			});
			if (cancellation.isCancellationRequested) throw new vscode.CancellationError();
		}
	}

	/** Sends a request and starts the engine first if it does not run. */
	async request<P, R>(type: RequestType<P, R, void>, params: P, token?: vscode.CancellationToken): Promise<R> {
		const { client } = await this.#ensureSession();
		return client.sendRequest<R>(type.method, params, token);
	}

	/** Like {@link request} for requests without parameters. */
	async ask<R>(type: RequestType0<R, void>): Promise<R> {
		const { client } = await this.#ensureSession();
		return client.sendRequest(type);
	}

	/** Sends a request whose partial results or work-done progress arrive under `token`. */
	async requestWithProgress<P, R, V>(
		type: RequestType<P, R, void>,
		params: P,
		progress: { type: ProgressType<V>; token: string; report: (value: V) => void },
		cancellation: vscode.CancellationToken,
	): Promise<R> {
		const { client } = await this.#ensureSession();
		const listening = client.onProgress(progress.type, progress.token, progress.report);
		try {
			return await client.sendRequest<R>(type.method, params, cancellation);
		} finally {
			listening.dispose();
		}
	}

	/** Ends the engine for every window and starts a new one. The other windows reconnect by themselves. */
	async restart(): Promise<void> {
		this.#policy.reset();
		this.log.info('Restarting the engine.');
		const session = await this.#session?.catch(() => undefined);
		this.#current = undefined;
		this.#session = undefined;
		this.#show({ state: 'starting' });
		if (session) await this.#terminate(session);
		await this.start();
	}

	/** Tells the engine that this window has gone. The engine ends by itself after its last window. */
	async disconnect(): Promise<void> {
		this.#disposed = true;
		const session = await this.#session?.catch(() => undefined);
		if (!session) return;
		session.follower.dispose();
		await session.client.stop().catch(() => {});
		session.socket.destroy();
	}

	dispose(): void {
		void this.disconnect();
		for (const subscription of this.#subscriptions) subscription.dispose();
	}

	#ensureSession(): Promise<Session> {
		if (!this.#session) {
			if (this.#view.state === 'failed') this.#policy.reset();
			this.#session = this.#openWithRetries();
			// Callers get the rejection. Whoever only wanted a start must not cause an unhandled rejection.
			this.#session.catch(() => {});
		}
		return this.#session;
	}

	async #openWithRetries(): Promise<Session> {
		for (;;) {
			try {
				this.#show({ state: 'starting' });
				return await this.#open();
			} catch (error) {
				const message = error instanceof Error ? error.message : String(error);
				this.log.error(message);
				if (!(await this.#backOff(message))) throw error;
			}
		}
	}

	async #open(): Promise<Session> {
		const endpoint = this.#endpoint();
		const engineFile = this.#engineFile;
		const logStart = statSync(endpoint.log, { throwIfNoEntry: false })?.size ?? 0;
		const follower = new LogFollower(endpoint.log, logStart, (line) => this.log.info(`[engine] ${line}`));
		try {
			const { socket, child } = await connectOrLaunch(endpoint, {
				command: process.execPath,
				args: [
					...inspectArguments(process.env),
					...[engineFile, 'serve', '--socket', endpoint.socket, '--linger', String(LINGER_SECONDS)],
				],
				env: nodeEnvironment(process.env),
				cwd: endpoint.directory,
			});
			if (this.#disposed) {
				socket.destroy();
				throw new Error('This window is closing.');
			}
			const client = new HearthClient(socket, this.#clientOptions());
			const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
			const session: Session = { client, socket, follower, closed };
			client.onNotification(StatusNotification, (status) => {
				if (this.#current === session) this.#showStatus(status);
			});
			try {
				await client.start();
				const status = await client.sendRequest(StatusRequest);
				session.processId = status.processId;
				this.log.info(
					child?.pid === status.processId
						? `Started the engine, process ${status.processId}, socket ${endpoint.socket}.`
						: `Connected to the engine that another window started, process ${status.processId}, socket ${endpoint.socket}.`,
				);
				this.#showStatus(status);
			} catch (error) {
				socket.destroy();
				throw error;
			}
			this.#current = session;
			void closed.then(() => this.#closed(session));
			return session;
		} catch (error) {
			await follower.flush();
			follower.dispose();
			throw error;
		}
	}

	/** The connection has gone: the engine crashed, was killed, or was restarted by another window. */
	async #closed(session: Session): Promise<void> {
		const expected = this.#disposed || session !== this.#current;
		if (!expected) this.#current = undefined;
		await session.follower.flush();
		session.follower.dispose();
		if (expected) return;
		const reopened = this.#backOff('The engine stopped.').then((again) => {
			if (!again) throw new Error('The engine keeps stopping. See its log.');
			return this.#openWithRetries();
		});
		reopened.catch(() => {});
		this.#session = reopened;
	}

	/** Waits as long as the restart policy says. Resolves to false when the engine stays down; the user is then told. */
	async #backOff(message: string): Promise<boolean> {
		if (this.#disposed) return false;
		const decision = this.#policy.crashed(performance.now());
		if (decision.action === 'restart') {
			this.#show({ state: 'restarting', message });
			await new Promise((resolve) => setTimeout(resolve, decision.delayMilliseconds));
			return !this.#disposed;
		}
		this.#session = undefined;
		this.#show({ state: 'failed', message });
		void vscode.window
			.showErrorMessage(
				`Hearth's engine stopped ${decision.crashes} times within three minutes. ${message}`,
				'Restart Engine',
				'Show Log',
			)
			.then((choice) => {
				if (choice === 'Restart Engine') void vscode.commands.executeCommand('hearth.restartEngine');
				if (choice === 'Show Log') this.log.show();
			});
		return false;
	}

	async #terminate(session: Session): Promise<void> {
		const { processId } = session;
		if (processId === undefined) {
			session.socket.destroy();
			return;
		}
		signal(processId, 'SIGTERM');
		const force = setTimeout(() => signal(processId, 'SIGKILL'), TERMINATE_GRACE_MILLISECONDS);
		await session.closed;
		clearTimeout(force);
	}

	async #sendSettings(): Promise<void> {
		const settings = this.settings;
		if (!this.#session) {
			if ((settings.modelPath !== '' || settings.completionModelPath !== '') && this.#view.state === 'off')
				await this.start().catch(() => {});
			return;
		}
		const session = await this.#session.catch(() => undefined);
		if (session?.client.state !== State.Running) return;
		await session.client.sendNotification(DidChangeConfigurationNotification.type, { settings: { hearth: settings } });
	}

	#clientOptions() {
		return {
			documentSelector: DOCUMENT_SELECTOR,
			outputChannel: this.log,
			revealOutputChannelOn: RevealOutputChannelOn.Never,
			initializationOptions: () => ({ settings: this.settings }),
			initializationFailedHandler: () => false,
			middleware: {
				...this.#middleware,
				// The engine closes the connection when a message is too large. It never completes in a document that it does
				// not know.
				didOpen: async (document, next) => {
					if (fitsMessage(document.getText())) await next(document);
					else this.log.warn(`${document.uri.fsPath} is too large for completions.`);
				},
			} satisfies Middleware,
			errorHandler: {
				error: () => ({ action: ErrorAction.Continue, handled: true }),
				closed: () => ({
					action: CloseAction.DoNotRestart,
					handled: true,
					message: 'The connection to the engine has closed.',
				}),
			},
		};
	}

	#showStatus(status: EngineStatus): void {
		this.#show({ state: status.state, status, ...(status.error === undefined ? {} : { message: status.error }) });
	}

	#show(view: EngineView): void {
		this.#view = view;
		this.#changed.fire(view);
	}

	get #engineFile(): string {
		return path.join(this.#extension.extensionPath, 'dist', 'hearth.js');
	}

	#endpoint(): Endpoint {
		const user = userInfo();
		const userId = user.uid >= 0 ? user.uid : undefined;
		const { XDG_RUNTIME_DIR: runtimeDirectory } = process.env;
		const candidates = endpointCandidates({
			platform: process.platform,
			runtimeDirectory,
			temporaryDirectory: tmpdir(),
			homeDirectory: homedir(),
			userId,
			userName: user.username,
			build: buildId(String(this.#extension.packageJSON.version), this.#engineFile),
		});
		return prepareEndpoint(candidates, userId);
	}
}

/** Whether the model that is asked for may be there soon. */
function isUnsettled({ state, status }: EngineView, role: ModelRole | undefined): boolean {
	if (state === 'starting' || state === 'restarting') return true;
	if (state !== 'loading') return false;
	// A role without a model of its own uses the model that is loading.
	const there = role === 'chat' ? status?.model : status?.completionModel;
	return role === undefined || !there || (status?.loading ?? [role]).includes(role);
}

function signal(processId: number, name: 'SIGTERM' | 'SIGKILL'): void {
	try {
		process.kill(processId, name);
	} catch {
		// The process has ended already.
	}
}
