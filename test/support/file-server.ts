// A local host of files for the tests of downloads. It can misbehave in every way that a real host can.
import { createHash } from 'node:crypto';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What to do with one request instead of serving the file. */
export type Misbehave = (request: IncomingMessage, response: ServerResponse, file: Buffer) => void;

export interface Served {
	method: string;
	url: string;
	range: string | undefined;
	headers: IncomingMessage['headers'];
}

export class FileServer {
	file: Buffer;
	readonly requests: Served[] = [];
	/** Each entry answers one of the next requests. After them the file is served as it should be. */
	readonly misbehave: Misbehave[] = [];
	/** Bytes a second. undefined: without a limit. */
	bytesPerSecond: number | undefined;
	ignoresRanges = false;
	/** Whether the ETag states a checksum, as Hugging Face's does. */
	statesChecksum = true;
	readonly #server: http.Server;

	private constructor(file: Buffer) {
		this.file = file;
		this.#server = http.createServer((request, response) => {
			this.requests.push({
				...{ method: request.method ?? '', url: request.url ?? '', headers: request.headers },
				range: request.headers.range,
			});
			response.on('error', () => {});
			const misbehave = this.misbehave.shift();
			if (misbehave) misbehave(request, response, this.file);
			else void this.serve(request, response);
		});
	}

	static async start(file: Buffer): Promise<FileServer> {
		const server = new FileServer(file);
		await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
		return server;
	}

	get url(): string {
		return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/model.gguf`;
	}

	get sha256(): string {
		return createHash('sha256').update(this.file).digest('hex');
	}

	get tag(): string {
		return `"${this.statesChecksum ? this.sha256 : 'v1'}"`;
	}

	/** Serves the file as a good host does, with ranges, If-Range and ETag. */
	async serve(request: IncomingMessage, response: ServerResponse, body = this.file): Promise<void> {
		const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
		const same = request.headers['if-range'] === undefined || request.headers['if-range'] === this.tag;
		const start = range !== undefined && same && !this.ignoresRanges ? Number(range) : 0;
		if (start >= body.length) {
			response.writeHead(416, { 'content-range': `bytes */${body.length}`, etag: this.tag }).end();
			return;
		}
		const headers = { etag: this.tag, 'content-length': String(body.length - start) };
		if (start > 0) {
			response.writeHead(206, { ...headers, 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` });
		} else {
			response.writeHead(200, headers);
		}
		if (request.method === 'HEAD') {
			response.end();
			return;
		}
		const piece = this.bytesPerSecond === undefined ? body.length : Math.ceil(this.bytesPerSecond / 20);
		for (let at = start; at < body.length && !response.destroyed; at += piece) {
			if (!response.write(body.subarray(at, at + piece))) {
				await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
			}
			if (this.bytesPerSecond !== undefined) await new Promise((resolve) => setTimeout(resolve, 50));
		}
		response.end();
	}

	async close(): Promise<void> {
		this.#server.closeAllConnections();
		await new Promise((resolve) => this.#server.close(resolve));
	}
}

/** Sends the first bytes of what was asked for and then breaks the connection. */
export function drops(server: FileServer, bytes: number): Misbehave {
	return (request, response) => {
		const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
		const { file, tag } = server;
		response.writeHead(start > 0 ? 206 : 200, {
			etag: tag,
			'content-length': String(file.length - start),
			...(start > 0 && { 'content-range': `bytes ${start}-${file.length - 1}/${file.length}` }),
		});
		response.write(file.subarray(start, start + bytes), () => response.socket?.end());
	};
}

/** Answers with a status and nothing else. */
export function answers(status: number, headers: Record<string, string> = {}): Misbehave {
	return (_request, response) => {
		response.writeHead(status, headers).end();
	};
}
