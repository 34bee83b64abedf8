// Follows a growing log file line by line, so that every window shows the log of the engine they share.
import { open, stat } from 'node:fs/promises';

const POLL_MILLISECONDS = 500;
const CHUNK_BYTES = 64 * 1024;

export class LogFollower {
	readonly #file: string;
	readonly #onLine: (line: string) => void;
	#position: number;
	#partial = '';
	#decoder = new TextDecoder();
	#timer: NodeJS.Timeout | undefined;
	#reading: Promise<void> | undefined;

	/** @param position - byte offset to start from */
	constructor(file: string, position: number, onLine: (line: string) => void) {
		this.#file = file;
		this.#position = position;
		this.#onLine = onLine;
		this.#timer = setInterval(() => void this.flush(), POLL_MILLISECONDS);
		this.#timer.unref();
	}

	/** Reads what was written since the last read. Resolves when all of it has been passed on. */
	flush(): Promise<void> {
		this.#reading ??= this.#read()
			.catch(() => {})
			.finally(() => {
				this.#reading = undefined;
			});
		return this.#reading;
	}

	dispose(): void {
		clearInterval(this.#timer);
	}

	async #read(): Promise<void> {
		const { size } = await stat(this.#file);
		if (size < this.#position) this.#position = 0;
		if (size === this.#position) return;
		const handle = await open(this.#file, 'r');
		try {
			const buffer = Buffer.alloc(CHUNK_BYTES);
			for (;;) {
				const { bytesRead } = await handle.read(buffer, 0, buffer.length, this.#position);
				if (bytesRead === 0) break;
				this.#position += bytesRead;
				const lines = (this.#partial + this.#decoder.decode(buffer.subarray(0, bytesRead), { stream: true })).split(
					'\n',
				);
				this.#partial = lines.pop() ?? '';
				for (const line of lines) this.#onLine(line.trimEnd());
			}
		} finally {
			await handle.close();
		}
	}
}
