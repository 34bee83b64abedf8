// A language client for tests. It works over any pair of streams and keeps all notifications.
import { PassThrough } from 'node:stream';
import {
	createMessageConnection,
	type MessageConnection,
	StreamMessageReader,
	StreamMessageWriter,
} from 'vscode-jsonrpc/node';
import type { EngineSettings, EngineStatus } from '../../../engine/protocol';

export class TestClient {
	readonly connection: MessageConnection;
	readonly output: NodeJS.WritableStream;
	readonly statuses: EngineStatus[] = [];
	/** Methods of the requests that the server sent. */
	readonly requested: string[] = [];
	#version = 1;

	constructor(input: NodeJS.ReadableStream, output: NodeJS.WritableStream) {
		this.output = output;
		this.connection = createMessageConnection(new StreamMessageReader(input), new StreamMessageWriter(output));
		this.connection.onNotification((method: string, params: unknown) => {
			if (method === 'hearth/didChangeStatus') this.statuses.push(params as EngineStatus);
		});
		this.connection.onRequest((method: string) => {
			this.requested.push(method);
			return null;
		});
		this.connection.listen();
	}

	/** Does the handshake as an editor does it. */
	async initialize(settings: Partial<EngineSettings> = {}): Promise<unknown> {
		const result = await this.connection.sendRequest('initialize', {
			processId: null,
			rootUri: null,
			workspaceFolders: [{ uri: 'file:///work', name: 'work' }],
			capabilities: { window: { workDoneProgress: true } },
			initializationOptions: { settings },
		});
		await this.connection.sendNotification('initialized', {});
		return result;
	}

	status(): Promise<EngineStatus> {
		return this.connection.sendRequest('hearth/status');
	}

	/** Waits until a status meets the condition. */
	async until(condition: (status: EngineStatus) => boolean): Promise<EngineStatus> {
		for (;;) {
			const status = await this.status();
			if (condition(status)) return status;
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
	}

	async open(uri: string, text: string, languageId = 'javascript'): Promise<void> {
		await this.connection.sendNotification('textDocument/didOpen', {
			textDocument: { uri, languageId, version: this.#version, text },
		});
	}

	/** Inserts text by an incremental change of a document. */
	async insert(uri: string, line: number, character: number, text: string): Promise<void> {
		const position = { line, character };
		await this.connection.sendNotification('textDocument/didChange', {
			textDocument: { uri, version: ++this.#version },
			contentChanges: [{ range: { start: position, end: position }, text }],
		});
	}

	complete(uri: string, line: number, character: number, context: object = {}): Promise<unknown> {
		return this.connection.sendRequest('textDocument/inlineCompletion', {
			textDocument: { uri },
			position: { line, character },
			context: { triggerKind: 2, ...context },
		});
	}
}

/** Makes two streams; the output of each end is the input of the other. */
export function streamPair(): { client: TestClient; input: PassThrough; output: PassThrough } {
	const input = new PassThrough();
	const output = new PassThrough();
	return { client: new TestClient(output, input), input, output };
}
