// The language client of one connection. It reports only through its log: EngineConnection decides what the user is
// told.
import type { Socket } from 'node:net';
import { type InitializeParams, LanguageClient, type LanguageClientOptions } from 'vscode-languageclient/node';

export class HearthClient extends LanguageClient {
	constructor(socket: Socket, options: LanguageClientOptions) {
		super('hearth', 'Hearth', async () => ({ reader: socket, writer: socket, detached: true }), options);
	}

	override error(message: string, data?: unknown): void {
		super.error(message, data, false);
	}

	override warn(message: string, data?: unknown): void {
		super.warn(message, data, false);
	}

	override info(message: string, data?: unknown): void {
		super.info(message, data, false);
	}

	/**
	 * Leaves out the process id. A language server ends with the process of this id, but our engine serves every window.
	 */
	protected override fillInitializeParams(params: InitializeParams): void {
		super.fillInitializeParams(params);
		params.processId = null;
	}
}
