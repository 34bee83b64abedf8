// Reads messages from a client that may send anything, in bounded memory. The framing is LSP's, with limits.
import {
	AbstractMessageReader,
	type DataCallback,
	type Disposable,
	type Message,
	type MessageReader,
} from 'vscode-languageserver';
import { shapeProblem } from './json-shape';

/**
 * Bytes of a message at most. It takes some 100 ms to look through and parse such a message, and no other client is
 * served meanwhile.
 */
export const MAX_MESSAGE_BYTES = 16 * 2 ** 20;
/** Bytes of all clients' unfinished messages together, at most. */
const MAX_PARTIAL_BYTES = 8 * MAX_MESSAGE_BYTES;
/** Bytes of a message's header lines at most, the end of the header included. */
export const MAX_HEADER_BYTES = 8 * 2 ** 10;

let partialBytes = 0;

const HEADER_END = Buffer.from('\r\n\r\n');

export interface Reading {
	/**
	 * The client cannot be understood any further, and nothing more is read. `problem` says what is wrong and what is
	 * allowed.
	 */
	onUnreadable(problem: string): void;
	/** Whether the client may send more. The reader asks before each message, and again after `resume`. */
	mayRead(): boolean;
	/** Whether a message is handed to the connection. */
	admits(message: Message): boolean;
}

/**
 * Hands over one message a turn of the event loop, which is how many the connection works off. Further messages wait in
 * the socket, where they take the client's memory and not the engine's.
 */
export class BoundedMessageReader extends AbstractMessageReader implements MessageReader {
	readonly #input: NodeJS.ReadableStream;
	readonly #reading: Reading;
	#callback: DataCallback = () => {};
	#chunks: Buffer[] = [];
	#bytes = 0;
	/** Bytes of the body of the message whose header has been read. */
	#length: number | undefined;
	#turn: NodeJS.Immediate | undefined;
	#ended = false;

	constructor(input: NodeJS.ReadableStream, reading: Reading) {
		super();
		this.#input = input;
		this.#reading = reading;
	}

	listen(callback: DataCallback): Disposable {
		this.#callback = callback;
		this.#input.on('data', (chunk: Buffer | string) => {
			if (this.#ended) return;
			const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
			this.#chunks.push(bytes);
			this.#hold(this.#bytes + bytes.length);
			if (!this.#turn) this.#next();
			if (!this.#ended && partialBytes > MAX_PARTIAL_BYTES)
				this.#refuse('too many clients have sent messages in part; send them again');
		});
		this.#input.on('error', (error) => this.fireError(error));
		this.#input.on('close', () => this.fireClose());
		return { dispose: () => this.dispose() };
	}

	/** Goes on reading after `mayRead` has said no. */
	resume(): void {
		if (!this.#turn) this.#next();
	}

	override dispose(): void {
		super.dispose();
		this.#end();
	}

	#end(): void {
		this.#ended = true;
		clearImmediate(this.#turn);
		this.#chunks = [];
		this.#hold(0);
	}

	#hold(bytes: number): void {
		partialBytes += bytes - this.#bytes;
		this.#bytes = bytes;
	}

	/**
	 * Hands over the next message if all of it has arrived. The one after it is handed over in the event loop's next
	 * turn.
	 */
	#next(): void {
		this.#turn = undefined;
		if (this.#ended) return;
		if (!this.#reading.mayRead()) {
			this.#input.pause();
			return;
		}
		const body = this.#take();
		if (this.#ended) return;
		if (!body) {
			this.#input.resume();
			return;
		}
		const problem = shapeProblem(body);
		if (problem !== undefined) {
			this.#refuse(problem);
			return;
		}
		this.#input.pause();
		this.#turn = setImmediate(() => this.#next());
		try {
			const message: Message = JSON.parse(body.toString('utf8'));
			if (this.#reading.admits(message)) this.#callback(message);
		} catch (error) {
			this.fireError(error);
		}
	}

	/** The next message's bytes, once all of them are there. */
	#take(): Buffer | undefined {
		while (this.#length === undefined) {
			const header = this.#takeHeader();
			if (header === undefined) return undefined;
			// Other bytes may stand before the length, such as the rest of a message whose own length was wrong. They are
			// passed over.
			const length = [...header.matchAll(/content-length[ \t]*:[ \t]*(\d+)[ \t]*(?:\r\n|$)/gi)].at(-1)?.[1];
			if (length === undefined) {
				this.fireError(new Error(`no Content-Length in ${JSON.stringify(header.slice(0, 100))}`));
			} else if (Number(length) > MAX_MESSAGE_BYTES) {
				this.#refuse(`a message may have at most ${MAX_MESSAGE_BYTES} bytes, not ${Number(length)}`);
				return undefined;
			} else {
				this.#length = Number(length);
			}
		}
		if (this.#bytes < this.#length) return undefined;
		const body = this.#split(this.#length);
		this.#length = undefined;
		return body;
	}

	#takeHeader(): string | undefined {
		if (this.#chunks.length === 0) return undefined;
		const end = this.#joined().subarray(0, MAX_HEADER_BYTES).indexOf(HEADER_END);
		if (end >= 0) return this.#split(end + HEADER_END.length).toString('latin1', 0, end);
		if (this.#bytes >= MAX_HEADER_BYTES) {
			this.#refuse(`the header of a message may have at most ${MAX_HEADER_BYTES} bytes; is this no language client?`);
		}
		return undefined;
	}

	#refuse(problem: string): void {
		this.#end();
		// The client may go on sending the message that it has begun. Those bytes are read and dropped.
		this.#input.resume();
		this.#reading.onUnreadable(problem);
	}

	/** All bytes that have arrived, in one piece. */
	#joined(): Buffer {
		if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
		return this.#chunks[0]!;
	}

	/** Takes `length` bytes from the front. */
	#split(length: number): Buffer {
		const all = this.#joined();
		const rest = all.subarray(length);
		// A short rest would keep the whole buffer in memory, so it is copied.
		this.#chunks = rest.length === 0 ? [] : [rest.length < all.length / 2 ? Buffer.from(rest) : rest];
		this.#hold(rest.length);
		return all.subarray(0, length);
	}
}
