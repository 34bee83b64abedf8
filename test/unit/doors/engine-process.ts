// The engine as users have it, in a process of its own. It has a home folder of its own, and a monitor of its event
// loop.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { TestClient } from '../support/lsp-client';

/**
 * A time in which the engine's event loop did not turn. `blocked`: its length in milliseconds. `computed`: the part of
 * it in which the thread computed and did not sleep.
 */
export interface Stretch {
	blocked: number;
	computed: number;
}

export interface EngineProcessOptions {
	cli: string;
	native: string;
	folder: string;
	arguments: string[];
	catalogue: string;
}

export class EngineProcess {
	readonly #child: ChildProcess;
	readonly #socket: string;
	readonly #monitor: string;
	#log = '';

	constructor({ cli, native, folder, arguments: given, catalogue }: EngineProcessOptions) {
		mkdirSync(folder, { recursive: true });
		this.#socket = path.join(folder, 'socket');
		this.#monitor = path.join(folder, 'stretches.json');
		const { HF_HOME: _a, HF_HUB_CACHE: _b, LLAMA_CACHE: _c, OLLAMA_MODELS: _d, ...environment } = process.env;
		this.#child = spawn(
			process.execPath,
			[
				...['--require', path.join(import.meta.dirname, 'monitor.cjs'), cli, 'serve'],
				...['--socket', this.#socket, '--linger', '60', ...given],
			],
			{
				stdio: ['ignore', 'ignore', 'pipe'],
				env: {
					...environment,
					...{ HOME: folder, XDG_CACHE_HOME: path.join(folder, 'cache'), XDG_DATA_HOME: path.join(folder, 'data') },
					...{ HEARTH_NATIVE: native, HEARTH_MONITOR: this.#monitor, HEARTH_CATALOGUE: catalogue },
				},
			},
		);
		this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
			this.#log = (this.#log + text).slice(-20_000);
		});
	}

	/** Why the process is gone, with the end of its log. undefined while it lives. */
	get ended(): string | undefined {
		const { exitCode, signalCode } = this.#child;
		if (exitCode === null && signalCode === null) return undefined;
		return `the engine ended (${signalCode ?? exitCode}); its log ends with:\n${this.#log.slice(-3000)}`;
	}

	get log(): string {
		return this.#log;
	}

	/**
	 * Waits until the engine listens.
	 * @throws Error when the engine ends before that
	 */
	async connect(): Promise<net.Socket> {
		for (;;) {
			if (this.ended !== undefined) throw new Error(this.ended);
			const socket = net.connect(this.#socket);
			const connected = await new Promise<boolean>((resolve) => {
				socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
			});
			socket.on('error', () => {});
			if (connected) return socket;
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
	}

	/** Resolves to a client that has done the handshake. */
	async client(settings: object = {}): Promise<{ client: TestClient; socket: net.Socket }> {
		const socket = await this.connect();
		const client = new TestClient(socket, socket);
		// A request that waits for its answer must not wait for ever when the engine has gone.
		client.connection.onClose(() => client.connection.dispose());
		client.connection.onError(() => {});
		await client.initialize(settings);
		return { client, socket };
	}

	get stretches(): Stretch[] {
		return existsSync(this.#monitor) ? JSON.parse(readFileSync(this.#monitor, 'utf8')) : [];
	}

	/**
	 * Tells the engine to end and waits until it has. An engine that hangs is killed; the test has reported the hang by
	 * then.
	 */
	async stop(): Promise<void> {
		if (this.ended !== undefined) return;
		const gone = new Promise((resolve) => this.#child.once('exit', resolve));
		this.#child.kill('SIGTERM');
		const kill = setTimeout(() => this.#child.kill('SIGKILL'), 20_000);
		await gone;
		clearTimeout(kill);
	}
}
