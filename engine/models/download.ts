// Downloads one file: resumed after whatever broke it off, verified, and under its own name only when it is whole.
//
// FILE.part holds what has arrived, FILE.part.json what it is part of, FILE.lock who writes it. A later run, in this process or
// another, reads the part back (its checksum has to be computed anyway) and asks for the rest.
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { NetworkSettings } from '../protocol';
import { formatBytes } from '../units';
import { takeLock } from './lock';
import { type Answer, type Checksum, connectionError, LastingError, Network, PassingError } from './network';

export interface DownloadProgress {
	state: 'connecting' | 'checking' | 'downloading' | 'waiting';
	/** On the disk; while `checking`, of these so many are read back. */
	receivedBytes: number;
	totalBytes?: number;
	/** Why it waits. */
	message?: string;
}

export interface DownloadOptions {
	url: string;
	/** Where the file will be. Its folder is made. */
	file: string;
	/** What the file has to be, where that is known beforehand; else what its host says. */
	bytes?: number;
	sha256?: string;
	network?: NetworkSettings;
	/** Ends the download; what has arrived stays for the next one. */
	signal?: AbortSignal;
	onProgress?: (progress: DownloadProgress) => void;
	/** For tests: the waits, in milliseconds. */
	waits?: Partial<Waits>;
}

interface Waits {
	/** Silence after which a connection counts as broken. */
	stall: number;
	/** Before a broken connection is tried again: at first, and at most. */
	retry: number;
	longestRetry: number;
	/** The longest that a host may make us wait. */
	longestBusy: number;
}

const WAITS: Waits = { stall: 30_000, retry: 1000, longestRetry: 30_000, longestBusy: 300_000 };
/** Tries that bring nothing before it ends: with the waits above, after two minutes. */
const MOST_TRIES = 8;
/** What has to stay free on the disk. */
const DISK_RESERVE = 256 * 2 ** 20;
const READ_BYTES = 4 * 2 ** 20;

/** What FILE.part.json holds. */
interface PartState {
	url: string;
	bytes: number;
	checksum: Checksum;
	/** Of the host that sends the bytes, for If-Range. */
	tag?: string;
}

/**
 * Downloads a file, or continues an earlier download of it. Returns at once where it is there already.
 * @throws LastingError or PassingError in words for the user; LockedError where another process downloads it; the signal's reason
 * where it was aborted. But for a wrong checksum, what has arrived stays for the next try.
 */
export async function download(options: DownloadOptions): Promise<void> {
	const { file, signal } = options;
	signal?.throwIfAborted();
	if (await isThere(file, options.bytes)) return;
	await mkdir(path.dirname(file), { recursive: true });
	const release = await takeLock(`${file}.lock`);
	let network: Network | undefined;
	try {
		// Another process may have finished it while we came.
		if (await isThere(file, options.bytes)) return;
		network = await Network.open(options.network ?? {}, options.waits?.stall ?? WAITS.stall);
		await new Download(options, network).run();
	} finally {
		await network?.close();
		await release();
	}
}

/** Deletes what has arrived of a download. @throws LockedError where another process is at it. */
export async function discardPart(file: string): Promise<void> {
	if ((await partialBytes(file)) === 0) return;
	const release = await takeLock(`${file}.lock`);
	try {
		await removePart(file);
	} finally {
		await release();
	}
}

/** Bytes of an earlier download that would be continued. */
export async function partialBytes(file: string): Promise<number> {
	return (await stat(`${file}.part`).catch(() => undefined))?.size ?? 0;
}

/** Asks a file's host for its size, in bytes. @throws LastingError or PassingError. */
export async function remoteSize(url: string, settings: NetworkSettings, signal?: AbortSignal): Promise<number> {
	const network = await Network.open(settings, WAITS.stall);
	try {
		const { stated, headers } = await network.request(url, { method: 'HEAD', ...(signal && { signal }) });
		const bytes = stated.bytes ?? Number(headers['content-length'] ?? Number.NaN);
		if (!Number.isSafeInteger(bytes)) throw new LastingError(`${new URL(url).host} does not tell the file’s size`);
		return bytes;
	} finally {
		await network.close();
	}
}

class Download {
	readonly #options: DownloadOptions;
	readonly #network: Network;
	readonly #waits: Waits;
	readonly #host: string;
	/** What is on the disk. */
	#received = 0;
	#hash: Hash | undefined;
	#state: PartState | undefined;

	constructor(options: DownloadOptions, network: Network) {
		this.#options = options;
		this.#network = network;
		this.#waits = { ...WAITS, ...options.waits };
		this.#host = new URL(options.url).host;
	}

	get #part(): string {
		return `${this.#options.file}.part`;
	}

	async run(): Promise<void> {
		await this.#readPart();
		let tries = 0;
		for (;;) {
			const before = this.#received;
			try {
				if (await this.#attempt()) return;
			} catch (error) {
				this.#options.signal?.throwIfAborted();
				if (!(error instanceof PassingError)) throw error;
				tries = this.#received > before ? 1 : tries + 1;
				const { retryAfter } = error;
				if (tries >= MOST_TRIES || (retryAfter ?? 0) > this.#waits.longestBusy) throw error;
				const wait = retryAfter ?? Math.min(this.#waits.retry * 2 ** (tries - 1), this.#waits.longestRetry);
				this.#report('waiting', error.message);
				await sleep(wait, this.#options.signal);
			}
		}
	}

	/** One connection. True when the file is whole; false where the part was of no use and has to begin anew. */
	async #attempt(): Promise<boolean> {
		const { url, signal } = this.#options;
		// A whole part needs no byte more, and asking for none is an error.
		if (this.#state && this.#received === this.#state.bytes) return this.#finish();
		this.#report('connecting');
		const resuming = this.#received > 0 && this.#state;
		const answer = await this.#network.request(url, {
			headers: resuming
				? { range: `bytes=${this.#received}-`, ...(resuming.tag !== undefined && { 'if-range': resuming.tag }) }
				: {},
			...(signal && { signal }),
		});
		try {
			const state = this.#stateOf(answer);
			if (answer.status === 416 || (this.#state && !isSame(state, this.#state))) {
				// It is no longer the file this is a part of.
				if (!resuming) throw new LastingError(`${this.#host} refuses to send the file (416)`);
				await this.#restart();
				return false;
			}
			// Without ranges, or with another version than If-Range names, all of it comes.
			if (answer.status === 200 && this.#received > 0) await this.#restart();
			await this.#checkDisk(state.bytes);
			this.#state = state;
			await writeFile(`${this.#part}.json`, JSON.stringify(state));
			await this.#receive(answer, state);
		} finally {
			answer.body.destroy();
		}
		return this.#finish();
	}

	/** What the answer says the file is, checked against what it has to be. */
	#stateOf({ status, headers, stated }: Answer): PartState {
		const { url, bytes: wanted, sha256 } = this.#options;
		const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(String(headers['content-range'] ?? ''));
		if (status === 206 && Number(range?.[1]) !== this.#received) {
			throw new LastingError(`${this.#host} sends another part of the file than it was asked for`);
		}
		const length = headers['content-length'];
		const announced = status === 200 ? length && Number(length) : range?.[2] && Number(range[2]);
		const bytes = wanted ?? stated.bytes ?? (announced || undefined);
		if (bytes === undefined) throw new LastingError(`${this.#host} does not tell the file’s size`);
		for (const other of [announced, stated.bytes]) {
			if (other === undefined || other === '' || other === bytes) continue;
			throw new LastingError(
				`the file at ${this.#host} has ${other} bytes and not ${bytes}: its publisher has changed it, or something on the way ` +
					'answers in its place (a proxy, a sign-in page)',
			);
		}
		const checksum = sha256 !== undefined ? { algorithm: 'sha256' as const, value: sha256 } : stated.checksum;
		if (!checksum)
			throw new LastingError(`${this.#host} states no checksum of ${url}, so that it could not be verified`);
		if (stated.checksum?.algorithm === checksum.algorithm && stated.checksum.value !== checksum.value) {
			throw new LastingError(
				`${this.#host} has another file there than the one that was checked: its publisher has changed it`,
			);
		}
		const tag = String(headers['etag'] ?? '');
		// Weak tags are no promise of the same bytes: RFC 9110, If-Range.
		return { url, bytes, checksum, ...(tag.startsWith('"') && { tag }) };
	}

	/** Writes what comes. Returns where the connection ends as it should. */
	async #receive({ body }: Answer, state: PartState): Promise<void> {
		this.#hash ??= newHash(state);
		const handle = await open(this.#part, 'a');
		try {
			this.#report('downloading');
			try {
				for await (const chunk of body) {
					this.#options.signal?.throwIfAborted();
					if (this.#received + chunk.length > state.bytes) {
						throw new LastingError(`${this.#host} sends more than the ${state.bytes} bytes it announced`);
					}
					await write(handle, chunk, this.#part);
					this.#hash.update(chunk);
					this.#received += chunk.length;
					this.#report('downloading');
				}
			} catch (error) {
				this.#options.signal?.throwIfAborted();
				if (error instanceof LastingError) throw error;
				throw connectionError(this.#host, error);
			}
			if (this.#received < state.bytes) {
				throw new PassingError(
					`the connection to ${this.#host} ended early, after ${this.#received} of ${state.bytes} bytes`,
				);
			}
			await handle.sync();
		} finally {
			await handle.close();
		}
	}

	/** Verifies the part and gives it its name. */
	async #finish(): Promise<true> {
		const { file } = this.#options;
		const { checksum } = this.#state!;
		if (this.#hash!.digest('hex') !== checksum.value) {
			await removePart(file);
			throw new LastingError(
				`${path.basename(file)} arrived damaged or changed on the way: its checksum is not ${checksum.value}; it was deleted, download it again`,
			);
		}
		await rename(this.#part, file);
		await rm(`${this.#part}.json`, { force: true });
		return true;
	}

	/** Takes up what an earlier run has left, if that is a part of this file. */
	async #readPart(): Promise<void> {
		const { url, bytes, sha256, signal } = this.#options;
		const state = await readState(`${this.#part}.json`);
		const size = await partialBytes(this.#options.file);
		const fits =
			state !== undefined &&
			state.url === url &&
			size <= state.bytes &&
			(bytes === undefined || bytes === state.bytes) &&
			(sha256 === undefined || sha256 === state.checksum.value);
		if (!fits || size === 0) return this.#restart();
		this.#state = state;
		this.#hash = newHash(state);
		const handle = await open(this.#part, 'r');
		try {
			const buffer = Buffer.alloc(READ_BYTES);
			while (this.#received < size) {
				signal?.throwIfAborted();
				this.#report('checking');
				const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - this.#received));
				if (bytesRead === 0) break;
				this.#hash.update(buffer.subarray(0, bytesRead));
				this.#received += bytesRead;
			}
		} finally {
			await handle.close();
		}
	}

	async #restart(): Promise<void> {
		await removePart(this.#options.file);
		this.#received = 0;
		this.#hash = undefined;
		this.#state = undefined;
	}

	async #checkDisk(bytes: number): Promise<void> {
		const folder = path.dirname(this.#options.file);
		const missing = bytes - this.#received + DISK_RESERVE - (await freeDiskBytes(folder));
		if (missing <= 0) return;
		throw new LastingError(
			`the disk of ${folder} is too full: ${formatBytes(bytes - this.#received)} are to come; free ${formatBytes(missing)}, or choose another folder`,
		);
	}

	#report(state: DownloadProgress['state'], message?: string): void {
		const totalBytes = this.#state?.bytes ?? this.#options.bytes;
		this.#options.onProgress?.({
			state,
			receivedBytes: this.#received,
			...(totalBytes !== undefined && { totalBytes }),
			...(message !== undefined && { message }),
		});
	}
}

/** Bytes an ordinary user can still write in a folder, or where it would be made. */
export async function freeDiskBytes(folder: string): Promise<number> {
	for (let at = folder; ; at = path.dirname(at)) {
		const disk = await statfs(at).catch(() => undefined);
		if (disk) return disk.bavail * disk.bsize;
		if (at === path.dirname(at)) return Number.POSITIVE_INFINITY;
	}
}

async function write(handle: FileHandle, chunk: Buffer, file: string): Promise<void> {
	try {
		for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at)).bytesWritten;
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		if (code === 'ENOSPC' || code === 'EDQUOT') {
			throw new LastingError(`the disk is full (${path.dirname(file)}); free some space and resume the download`);
		}
		throw new LastingError(`cannot write ${file}: ${message}`);
	}
}

async function readState(file: string): Promise<PartState | undefined> {
	try {
		const { url, bytes, checksum, tag } = JSON.parse(await readFile(file, 'utf8')) as Partial<PartState>;
		const known = checksum?.algorithm === 'sha256' || checksum?.algorithm === 'git';
		if (typeof url !== 'string' || !Number.isSafeInteger(bytes) || !known) return undefined;
		return { url, bytes: bytes!, checksum, ...(typeof tag === 'string' && { tag }) };
	} catch {
		return undefined;
	}
}

function newHash({ bytes, checksum }: PartState): Hash {
	return checksum.algorithm === 'git' ? createHash('sha1').update(`blob ${bytes}\0`) : createHash('sha256');
}

function isSame(a: PartState, b: PartState): boolean {
	return a.bytes === b.bytes && a.checksum.algorithm === b.checksum.algorithm && a.checksum.value === b.checksum.value;
}

async function isThere(file: string, bytes: number | undefined): Promise<boolean> {
	const stats = await stat(file).catch(() => undefined);
	if (!stats) return false;
	if (stats.isFile() && (bytes === undefined || stats.size === bytes)) return true;
	throw new LastingError(`${file} is there already and is another file; move it away first`);
}

async function removePart(file: string): Promise<void> {
	await rm(`${file}.part`, { force: true });
	await rm(`${file}.part.json`, { force: true });
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
	return new Promise((resolve, reject) => {
		const abort = () => {
			clearTimeout(timer);
			reject(signal!.reason);
		};
		const timer = setTimeout(() => {
			signal?.removeEventListener('abort', abort);
			resolve();
		}, milliseconds);
		signal?.addEventListener('abort', abort, { once: true });
	});
}
