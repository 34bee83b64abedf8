// Writes messages to a client that may go at any time.
import { type Message, StreamMessageWriter } from 'vscode-languageserver/node';
import { log } from './log';

/**
 * A message to a client that has gone is lost, which is no error: vscode-jsonrpc leaves the rejection of an answer it
 * could not write unhandled, and one client's end must not end the engine of all others.
 */
export class LossyMessageWriter extends StreamMessageWriter {
	#gone = false;

	override async write(message: Message): Promise<void> {
		try {
			await super.write(message);
		} catch (error) {
			if (!this.#gone) log(`a client went before it was answered: ${(error as Error).message}`);
			this.#gone = true;
		}
	}
}
