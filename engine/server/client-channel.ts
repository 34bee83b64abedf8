// The edge between a client and the engine. Incoming messages are bounded in size and number, and their parameters are
// checked before anything sees them. Outgoing messages are bounded, too.
import { ErrorCodes, Message, type MessageReader, type MessageWriter } from 'vscode-languageserver';
import { ErrorCode } from '../protocol';
import { log } from '../services/log';
import { BoundedMessageReader } from './message-reader';
import { LossyMessageWriter } from './message-writer';
import { parameterProblem } from './parameters';

/** Requests that one client may have open at once. An editor has only a few. */
export const MAX_OPEN_REQUESTS = 1024;

export class ClientChannel {
	readonly #reader: BoundedMessageReader;
	readonly #writer: LossyMessageWriter;
	#openRequests = 0;

	/**
	 * @param onDrain is called when the client reads again after `congested` was true.
	 * @param onUnusable is called when the connection is of no more use: the client cannot be understood, or it does not
	 * read.
	 */
	constructor(
		input: NodeJS.ReadableStream,
		output: NodeJS.WritableStream,
		onDrain: () => void,
		onUnusable: () => void,
	) {
		this.#writer = new LossyMessageWriter(output, {
			onWrite: (message) => {
				if (Message.isResponse(message)) this.#openRequests--;
			},
			onDrain: () => {
				this.#reader.resume();
				onDrain();
			},
			onStuck: onUnusable,
		});
		this.#reader = new BoundedMessageReader(input, {
			mayRead: () => !this.congested,
			admits: (message) => this.#admits(message),
			onUnreadable: (problem) => {
				log(`a client's connection is closed: ${problem}`);
				this.#refuse(null, ErrorCodes.InvalidRequest, problem);
				onUnusable();
			},
		});
	}

	get reader(): MessageReader {
		return this.#reader;
	}

	get writer(): MessageWriter {
		return this.#writer;
	}

	/** Whether the client has left much unread. It then gets no messages that can wait. */
	get congested(): boolean {
		return this.#writer.congested;
	}

	/**
	 * Whether a message goes on to the engine. A request that does not is answered with an error; a notification that
	 * does not is logged.
	 */
	#admits(message: Message): boolean {
		if (Message.isRequest(message)) {
			this.#openRequests++;
			if (this.#openRequests > MAX_OPEN_REQUESTS) {
				const problem = `more than ${MAX_OPEN_REQUESTS} requests are open; wait for answers`;
				this.#refuse(message.id, ErrorCode.overloaded, problem);
				return false;
			}
			const problem = parameterProblem(message.method, message.params);
			if (problem !== undefined) this.#refuse(message.id, ErrorCodes.InvalidParams, problem);
			return problem === undefined;
		}
		if (Message.isNotification(message)) {
			const problem = parameterProblem(message.method, message.params);
			if (problem !== undefined) log(`a notification was left out: ${problem}`);
			return problem === undefined;
		}
		return true;
	}

	#refuse(id: string | number | null, code: number, message: string): void {
		void this.#writer.write({ jsonrpc: '2.0', id, error: { code, message } } as Message);
	}
}
