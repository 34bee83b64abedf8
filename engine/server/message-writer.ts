// Writes messages to a client that may go at any time, or that may never read.
import { AbstractMessageWriter, type Message, type MessageWriter } from 'vscode-languageserver';
import { log } from '../services/log';

/**
 * Bytes that may wait for a client. With more than these, no more of its messages are read, and it gets no messages
 * that can wait.
 */
const ENOUGH_WAITING_BYTES = 2 ** 20;
/** Bytes that wait for a client when it is given up, because it does not read. */
export const MAX_WAITING_BYTES = 64 * 2 ** 20;

interface Writing {
	/** A message is about to be written, or is lost because the client has gone. */
	onWrite(message: Message): void;
	/** The client has read most of what it had left unread. */
	onDrain(): void;
	/** The client has left too much unread and is given up. */
	onStuck(): void;
}

/**
 * Writes messages, and loses without an error those to a client that has gone. vscode-jsonrpc leaves the rejection
 * unhandled when an answer cannot be written, and the end of one client must not end the engine of all others.
 */
export class LossyMessageWriter extends AbstractMessageWriter implements MessageWriter {
	readonly #output: NodeJS.WritableStream;
	readonly #writing: Writing;
	#waitingBytes = 0;
	#gone = false;

	constructor(output: NodeJS.WritableStream, writing: Writing) {
		super();
		this.#output = output;
		this.#writing = writing;
		output.on('error', (error) => this.#lose(error.message));
		output.on('close', () => this.fireClose());
	}

	/** Whether the client has left much unread. */
	get congested(): boolean {
		return this.#waitingBytes > ENOUGH_WAITING_BYTES;
	}

	async write(message: Message): Promise<void> {
		this.#writing.onWrite(message);
		if (this.#gone) return;
		const body = Buffer.from(JSON.stringify(message));
		const bytes = Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]);
		if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
			this.#lose(`it left ${this.#waitingBytes} bytes unread`);
			this.#writing.onStuck();
			return;
		}
		this.#waitingBytes += bytes.length;
		await new Promise<void>((resolve) => {
			this.#output.write(bytes, (error) => {
				const before = this.congested;
				this.#waitingBytes -= bytes.length;
				if (error) this.#lose(error.message);
				else if (before && !this.congested) this.#writing.onDrain();
				resolve();
			});
		});
	}

	end(): void {
		this.#output.end();
	}

	#lose(reason: string): void {
		if (!this.#gone) log(`a client went before it was answered: ${reason}`);
		this.#gone = true;
	}
}
