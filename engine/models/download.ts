// Downloads one file. A download that broke off is resumed, and the file gets its own name only when it is whole and
// verified.
//
// FILE.part holds the bytes that have arrived, FILE.part.json says what they are part of, and FILE.lock names the
// process that writes. A later run, in this process or another, reads the part back, because its checksum has to be
// computed anyway, and asks for the rest. An answer that brings all of the file again, or that does not prove to be the
// file, never overwrites the part. Where such an answer differs, its bytes go to FILE.part.new, which takes the part's
// place once it is worth more.
import { type FileHandle, mkdir, open, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { formatBytes } from '../units';
import { takeLock } from './lock';
import type { NetworkSettings } from './network';
import { type Answer, connectionError, LastingError, Network, PassingError } from './network';
import { newHash, Part, type PartState } from './part';
import { entryAt } from './small-file';
import { hashFile, noteVerified, verifiedChecksum } from './verified';

export interface DownloadProgress {
	state: 'connecting' | 'checking' | 'downloading' | 'waiting';
	/** Bytes on the disk. In the state `checking`, how many of them have been read back. */
	receivedBytes: number;
	totalBytes?: number;
	/** Why the download waits. */
	message?: string;
}

export interface DownloadOptions {
	url: string;
	/** The path of the file. Its folder is made. */
	file: string;
	/** The file's size and checksum where they are known beforehand. Otherwise those that its host states count. */
	bytes?: number;
	sha256?: string;
	network?: NetworkSettings;
	/** Ends the download. The bytes that have arrived stay for the next one. */
	signal?: AbortSignal;
	onProgress?: (progress: DownloadProgress) => void;
	/** For tests: the waits, in milliseconds. */
	waits?: Partial<Waits>;
}

interface Waits {
	/** Silence after which a connection counts as broken. */
	stall: number;
	/** The wait before a broken connection is tried again: the first one, and the longest. */
	retry: number;
	longestRetry: number;
	/** The longest wait that a host may ask for. */
	longestBusy: number;
}

const WAITS: Waits = { stall: 30_000, retry: 1000, longestRetry: 30_000, longestBusy: 300_000 };
/** Tries that bring no bytes before the download fails. With the waits above, that takes two minutes. */
const MOST_TRIES = 8;
/** Bytes that have to stay free on the disk. */
const DISK_RESERVE = 256 * 2 ** 20;
/** An answer is taken for the same file if it begins with this many bytes of the part. */
const PROOF_BYTES = 65_536;

/**
 * Downloads a file, or continues an earlier download of it. Returns at once where the file is there and was verified. A
 * file that is there but was not verified is verified now.
 * @throws LastingError or PassingError in words for the user; LockedError where another process downloads the file; the
 * signal's reason where it was aborted. The bytes that have arrived stay for the next try, unless their checksum is
 * wrong.
 */
export async function download(options: DownloadOptions): Promise<void> {
	const { file, signal } = options;
	signal?.throwIfAborted();
	if ((await presence(options)) === 'verified') return;
	await mkdir(path.dirname(file), { recursive: true }).catch((error: Error) => {
		throw new LastingError(`the folder ${path.dirname(file)} cannot be made (${error.message}); choose another`);
	});
	const release = await takeLock(lockOf(file), { ...(signal && { signal }) });
	let network: Network | undefined;
	try {
		// Another process may have finished the download before this one got the lock.
		const present = await presence(options);
		if (present === 'verified') return;
		const open = async () => {
			network ??= await Network.open(options.network ?? {}, options.waits?.stall ?? WAITS.stall);
			return network;
		};
		if (present === 'unverified') await verifyPresent(options, open);
		else await new Download(options, await open()).run();
	} finally {
		await network?.close();
		await release();
	}
}

/**
 * Deletes the bytes that have arrived of a download.
 * @throws LockedError where another process downloads the file.
 */
export async function discardPart(file: string): Promise<void> {
	const parts = [partOf(file), freshOf(file)];
	const sizes = await Promise.all(parts.map((part) => part.size()));
	if (sizes.every((bytes) => bytes === 0)) return;
	const release = await takeLock(lockOf(file));
	try {
		for (const part of parts) {
			await part.checkPlace();
			await part.remove();
		}
	} finally {
		await release();
	}
}

function lockOf(file: string): string {
	return `${file}.lock`;
}

function partOf(file: string): Part {
	return new Part(`${file}.part`);
}

/** The second part, beside the first: it holds an answer that may take the first one's place. */
function freshOf(file: string): Part {
	return new Part(`${file}.part.new`);
}

/** Bytes of an earlier download that would be continued. */
export function partialBytes(file: string): Promise<number> {
	return partOf(file).size();
}

/**
 * Asks a file's host for the file's size, in bytes.
 * @throws LastingError or PassingError.
 */
export async function remoteSize(url: string, settings: NetworkSettings, signal?: AbortSignal): Promise<number> {
	const network = await Network.open(settings, WAITS.stall);
	try {
		const { stated, headers } = await network.request(url, { method: 'HEAD', ...(signal && { signal }) });
		const bytes = stated.bytes ?? Number(headers['content-length'] ?? Number.NaN);
		if (!Number.isSafeInteger(bytes) || (isPage(headers) && !stated.checksum))
			throw new LastingError(`${new URL(url).host} does not tell the file’s size`);
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
	/** The bytes of this download on the disk. */
	readonly #part: Part;
	/** Whether to ask for all of the file, because the rest that was asked for belonged to another file. */
	#whole = false;

	constructor(options: DownloadOptions, network: Network) {
		this.#options = options;
		this.#network = network;
		this.#waits = { ...WAITS, ...options.waits };
		this.#host = new URL(options.url).host;
		this.#part = partOf(options.file);
	}

	async run(): Promise<void> {
		const { file, signal } = this.#options;
		const fresh = freshOf(file);
		for (const part of [this.#part, fresh]) await part.checkPlace();
		await fresh.remove();
		try {
			await this.#part.resume(
				(state) => this.#usable(state),
				(bytes) => this.#report('checking', bytes),
				signal,
			);
			await this.#tryUntilWhole();
		} finally {
			await this.#part.close();
		}
		await fresh.remove();
	}

	async #tryUntilWhole(): Promise<void> {
		let tries = 0;
		for (;;) {
			const before = this.#part.received;
			try {
				if (await this.#attempt()) return;
			} catch (error) {
				this.#options.signal?.throwIfAborted();
				if (!(error instanceof PassingError)) throw error;
				tries = this.#part.received > before ? 1 : tries + 1;
				const { retryAfter } = error;
				if (tries >= MOST_TRIES || (retryAfter ?? 0) > this.#waits.longestBusy) throw error;
				const wait = retryAfter ?? Math.min(this.#waits.retry * 2 ** (tries - 1), this.#waits.longestRetry);
				this.#report('waiting', this.#part.received, error.message);
				await sleep(wait, this.#options.signal);
			}
		}
	}

	/**
	 * The state of an earlier run's part, if the part is of this file. A part from another address counts, too, where its
	 * checksum is known.
	 */
	#usable(state: PartState): PartState | undefined {
		const { url, bytes, sha256 } = this.#options;
		if (bytes !== undefined && bytes !== state.bytes) return undefined;
		if (state.url === url) return sha256 === undefined || sha256 === state.checksum.value ? state : undefined;
		if (sha256 === undefined || sha256 !== state.checksum.value) return undefined;
		const { tag: _ofAnotherHost, ...rest } = state;
		return { ...rest, url };
	}

	/**
	 * Makes one connection. True when the file is whole. False where the next connection has to ask for another range of
	 * the file.
	 */
	async #attempt(): Promise<boolean> {
		const part = this.#part;
		const { url, signal } = this.#options;
		// A whole part needs no more bytes, and asking for none is an error.
		if (part.state && part.received === part.state.bytes) return this.#finish();
		this.#report('connecting');
		const from = this.#whole ? 0 : part.received;
		const tag = strong(part.state?.tag);
		const answer = await this.#network.request(url, {
			headers: from > 0 ? { range: `bytes=${from}-`, ...(tag !== undefined && { 'if-range': tag }) } : {},
			...(signal && { signal }),
		});
		try {
			if (answer.status === 416) {
				if (from === 0) throw new LastingError(`${this.#host} refuses to send the file (416)`);
				this.#whole = true;
				return false;
			}
			const { state, proven, end } = this.#read(answer, from);
			if (from > 0 && answer.status === 206) {
				if (!isSame(state, part.state!) || (isPage(answer.headers) && !proven)) {
					// The host has another file there, or says so, or the answer may be a page. Asking for all of the file will
					// show which.
					this.#whole = true;
					return false;
				}
				await this.#checkDisk(state.bytes - from);
				// The part keeps the validator that it has: an answer without one is no reason to ask without one from now on.
				await part.describe({ ...state, ...part.state });
				await this.#receive(answer, part, end);
				if (end < state.bytes) return false;
				return this.#finish();
			}
			this.#whole = false;
			if (proven && part.received === 0) {
				await this.#checkDisk(state.bytes);
				await part.begin(state);
				await this.#receive(answer, part, end);
				if (end < state.bytes) return false;
				return this.#finish();
			}
			return await this.#receiveBeside(answer, state, proven);
		} finally {
			answer.body.destroy();
		}
	}

	/**
	 * Reads from an answer's headers what file it brings, and checks that against what the file has to be. `proven`:
	 * whether the answer is the file, as far as that can be told before its last byte. `end`: where in the file the
	 * answer ends.
	 */
	#read({ status, headers, stated }: Answer, from: number): { state: PartState; proven: boolean; end: number } {
		const { url, bytes: wanted, sha256 } = this.#options;
		const type = String(headers['content-type'] ?? '');
		for (const coding of `${headers['content-encoding'] ?? ''},${headers['transfer-encoding'] ?? ''}`.split(',')) {
			if (/^\s*(identity|chunked)?\s*$/i.test(coding)) continue;
			throw new LastingError(
				`${this.#host} sends the file packed (${coding.trim().slice(0, 40)}) although it was asked not to`,
			);
		}
		const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(String(headers['content-range'] ?? '').trim());
		const length = /^\d+$/.test(String(headers['content-length'] ?? ''))
			? Number(headers['content-length'])
			: undefined;
		const [first, last] = [Number(range?.[1]), Number(range?.[2])];
		const misplaced = first !== from || last < first || (length !== undefined && length !== last - first + 1);
		if (status === 206 && (!range || misplaced || /^multipart\//i.test(type))) {
			throw new LastingError(`${this.#host} sends another part of the file than it was asked for`);
		}
		const announced = status === 200 ? length : range?.[3] === '*' ? undefined : Number(range?.[3]);
		const known = status === 206 ? this.#part.state : undefined;
		const bytes = wanted ?? stated.bytes ?? announced ?? known?.bytes;
		if (bytes === undefined || (wanted === undefined && bytes === 0)) {
			throw new LastingError(`${this.#host} does not tell the file’s size`);
		}
		for (const other of [announced, stated.bytes]) {
			if (other === undefined || other === bytes) continue;
			throw new LastingError(
				`the file at ${this.#host} has ${other} bytes and not ${bytes}: its publisher has changed it, or something on the way ` +
					'answers in its place (a proxy, a sign-in page)',
			);
		}
		if (status === 206 && last >= bytes) {
			throw new LastingError(`${this.#host} sends another part of the file than it was asked for`);
		}
		const ofCatalogue = sha256 === undefined ? undefined : { algorithm: 'sha256' as const, value: sha256 };
		const checksum = ofCatalogue ?? stated.checksum ?? known?.checksum;
		if (!checksum)
			throw new LastingError(
				`${this.#host} states no checksum of ${new URL(url).href}, so that it could not be verified`,
			);
		if (stated.checksum?.algorithm === checksum.algorithm && stated.checksum.value !== checksum.value) {
			throw new LastingError(
				`${this.#host} has another file there than the one that was checked: its publisher has changed it`,
			);
		}
		const tag = headers['etag'] ?? headers['last-modified'];
		const state: PartState = { url, bytes, checksum, ...(typeof tag === 'string' && { tag }) };
		// Some answers vouch for themselves in a way that no page in the file's place would. A page may announce its
		// length, but then as a page and with a length of its own.
		const vouched =
			(ofCatalogue !== undefined && stated.checksum?.value === sha256) ||
			(strong(state.tag) !== undefined && state.tag === this.#part.state?.tag);
		const proven = vouched || (announced !== undefined && !isPage(headers));
		return { state, proven, end: status === 206 ? last + 1 : bytes };
	}

	/** Adds an answer's bytes to a part, up to `end` of the file. Returns where the connection ends as it should. */
	async #receive(answer: Answer, part: Part, end: number): Promise<void> {
		this.#report('downloading');
		await this.#chunks(answer, part.received, end, async (chunk) => {
			await part.append(chunk);
			this.#report('downloading');
		});
	}

	/**
	 * Receives an answer that has all of the file while a part of it is there, or an answer that may be something else.
	 * Nothing is written for as long as the answer brings the bytes of the part. Where the answer differs, its bytes go
	 * beside the part.
	 */
	async #receiveBeside(answer: Answer, state: PartState, proven: boolean): Promise<boolean> {
		const kept = this.#part;
		let continued = false;
		const comparable = kept.state && isSameFile(state, kept.state) && (proven || kept.received >= PROOF_BYTES);
		const there = comparable ? await open(kept.path, 'r') : undefined;
		let fresh: Part | undefined;
		const begin = async (shared: number) => {
			await this.#checkDisk(state.bytes);
			fresh = freshOf(this.#options.file);
			await fresh.begin(state);
			await fresh.copyFrom(kept, shared, this.#options.signal);
			return fresh;
		};
		try {
			if (!there) fresh = await begin(0);
			let at = 0;
			await this.#chunks(answer, 0, state.bytes, async (chunk) => {
				let rest = chunk;
				if (!fresh && there && at < kept.received) {
					const count = Math.min(chunk.length, kept.received - at);
					const same = await sameBytes(there, at, chunk.subarray(0, count));
					rest = chunk.subarray(same);
					at += same;
					if (same < count) fresh = await begin(at);
					this.#report('checking', at);
				}
				if (rest.length === 0) return;
				if (!fresh && !continued) {
					// All bytes of the part have come again, so the part is continued.
					continued = true;
					await this.#checkDisk(state.bytes - kept.received);
					await kept.describe(state);
				}
				await (fresh ?? kept).append(rest);
				at += rest.length;
				this.#report('downloading', at);
			});
			if (!fresh) return await this.#finish();
			const done = fresh;
			if (!(await done.verify())) throw this.#damaged(state, '');
			await kept.close();
			await this.#becomeFile(done);
			await kept.remove();
			return true;
		} catch (error) {
			// Two beginnings of one file are told apart only by the checksum at the end, so the part stays. A newer version
			// takes its place once more of the newer one is there.
			const newer = proven && kept.state !== undefined && !isSameFile(state, kept.state);
			if (fresh && newer && fresh.received > kept.received && !(error instanceof DamagedError))
				await fresh.replace(kept);
			else await fresh?.remove();
			if (proven || continued || !(error instanceof EarlyEnd)) throw error;
			throw new PassingError(
				`${this.#host} answers with something that is not the file (${error.bytes} bytes of no announced length); something on ` +
					'the way may answer in its place (a proxy, a sign-in page)',
			);
		} finally {
			await there?.close();
		}
	}

	/**
	 * Gives an answer's bytes to `take`, from `at` in the file to `end`.
	 * @throws where the answer has more or fewer bytes than that, or where the connection breaks.
	 */
	async #chunks({ body }: Answer, at: number, end: number, take: (chunk: Buffer) => Promise<void>): Promise<void> {
		const { signal } = this.#options;
		let received = at;
		try {
			for await (const chunk of body) {
				signal?.throwIfAborted();
				received += chunk.length;
				if (received > end) throw new LastingError(`${this.#host} sends more than the ${end - at} bytes it announced`);
				await take(chunk);
			}
		} catch (error) {
			signal?.throwIfAborted();
			if (error instanceof LastingError) throw error;
			throw connectionError(this.#host, error);
		}
		if (received < end) throw new EarlyEnd(this.#host, received, end);
	}

	/** Verifies the part and gives it the file's name. */
	async #finish(): Promise<true> {
		if (!(await this.#part.verify())) {
			const error = this.#damaged(this.#part.state!, '; it was deleted, download it again');
			await this.#part.remove();
			throw error;
		}
		await this.#becomeFile(this.#part);
		return true;
	}

	async #becomeFile(part: Part): Promise<void> {
		const { file } = this.#options;
		const { checksum } = part.state!;
		// A file that somebody else has put there meanwhile is not replaced.
		if (await entryAt(file)) throw inTheWay(file);
		await part.becomeFile(file);
		await noteVerified(file, checksum);
	}

	#damaged({ checksum }: PartState, whatNow: string): DamagedError {
		const name = path.basename(this.#options.file);
		return new DamagedError(
			`${name} arrived damaged or changed on the way: its checksum is not ${checksum.value}${whatNow}`,
		);
	}

	async #checkDisk(bytes: number): Promise<void> {
		const folder = path.dirname(this.#options.file);
		const missing = bytes + DISK_RESERVE - (await freeDiskBytes(folder));
		if (missing <= 0) return;
		throw new LastingError(
			`the disk of ${folder} is too full: ${formatBytes(bytes)} are to come; free ${formatBytes(missing)}, or choose another folder`,
		);
	}

	#report(state: DownloadProgress['state'], receivedBytes = this.#part.received, message?: string): void {
		const totalBytes = this.#part.state?.bytes ?? this.#options.bytes;
		this.#options.onProgress?.({
			state,
			receivedBytes,
			...(totalBytes !== undefined && { totalBytes }),
			...(message !== undefined && { message }),
		});
	}
}

/** The connection ended as it should, but too soon. */
class EarlyEnd extends PassingError {
	readonly bytes: number;

	constructor(host: string, bytes: number, end: number) {
		super(`the connection to ${host} ended early, after ${bytes} of ${end} bytes`);
		this.bytes = bytes;
	}
}

/** All bytes are there, and their checksum is wrong. */
class DamagedError extends LastingError {}

/**
 * Bytes that an ordinary user can still write in a folder. Where the folder does not exist yet, the folder that it
 * would be made in counts.
 */
export async function freeDiskBytes(folder: string): Promise<number> {
	for (let at = folder; ; at = path.dirname(at)) {
		const disk = await statfs(at).catch(() => undefined);
		if (disk) return disk.bavail * disk.bsize;
		if (at === path.dirname(at)) return Number.POSITIVE_INFINITY;
	}
}

/** How many bytes of a file, from `at` on, are the same as those of `chunk`. */
async function sameBytes(handle: FileHandle, at: number, chunk: Buffer): Promise<number> {
	const there = Buffer.alloc(chunk.length);
	let read = 0;
	while (read < chunk.length) {
		const { bytesRead } = await handle.read(there, read, chunk.length - read, at + read);
		if (bytesRead === 0) break;
		read += bytesRead;
	}
	if (read === chunk.length && there.equals(chunk)) return read;
	let same = 0;
	while (same < read && there[same] === chunk[same]) same++;
	return same;
}

/** Whether an answer says of itself that it is a page to look at. */
function isPage(headers: Answer['headers']): boolean {
	return /^(text\/html|application\/xhtml)/i.test(String(headers['content-type'] ?? ''));
}

/**
 * Whether two states are of the same version of a file. Validators of one kind must agree where both are there. RFC
 * 9110, weak comparison.
 */
function isSame(a: PartState, b: PartState): boolean {
	const plain = ({ tag }: PartState) => tag?.replace(/^W\//, '');
	const comparable = plain(a)?.startsWith('"') === plain(b)?.startsWith('"');
	return isSameFile(a, b) && (!comparable || plain(a) === plain(b));
}

function isSameFile(a: PartState, b: PartState): boolean {
	return a.bytes === b.bytes && a.checksum.algorithm === b.checksum.algorithm && a.checksum.value === b.checksum.value;
}

/** The tag, if it is a strong one. Weak tags do not promise the same bytes: RFC 9110, If-Range. */
function strong(tag: string | undefined): string | undefined {
	return tag?.startsWith('W/') ? undefined : tag;
}

/**
 * Whether a file is there, and whether it was verified.
 * @throws LastingError where something else is there.
 */
export async function presence({
	file,
	bytes,
	sha256,
}: Pick<DownloadOptions, 'file' | 'bytes' | 'sha256'>): Promise<'absent' | 'unverified' | 'verified'> {
	// A link that leads nowhere may lead to a disk that is not attached just now.
	const stats = await stat(file).catch(() => entryAt(file).catch(() => undefined));
	if (!stats) return 'absent';
	if (!stats.isFile() || (bytes !== undefined && stats.size !== bytes)) throw inTheWay(file);
	const checksum = await verifiedChecksum(file);
	if (!checksum) return 'unverified';
	if (sha256 === undefined) return 'verified';
	if (checksum.algorithm !== 'sha256') return 'unverified';
	if (checksum.value !== sha256) throw inTheWay(file);
	return 'verified';
}

/**
 * Verifies a file that has the right name and size.
 * @throws LastingError where its checksum is another one.
 */
async function verifyPresent(options: DownloadOptions, network: () => Promise<Network>): Promise<void> {
	const { file, url, sha256, signal, onProgress } = options;
	const { size } = await stat(file);
	const stated = async () => {
		const answer = await (await network()).request(url, { method: 'HEAD', ...(signal && { signal }) });
		return answer.stated.checksum;
	};
	const checksum = sha256 === undefined ? await stated() : { algorithm: 'sha256' as const, value: sha256 };
	if (!checksum) {
		throw new LastingError(`${file} is there, but ${new URL(url).host} states no checksum to verify it with`);
	}
	const hash = newHash({ bytes: size, checksum });
	const report = (receivedBytes: number) => onProgress?.({ state: 'checking', receivedBytes, totalBytes: size });
	await hashFile(file, hash, size, report, signal);
	if (hash.digest('hex') !== checksum.value) throw inTheWay(file);
	await noteVerified(file, checksum);
}

function inTheWay(file: string): LastingError {
	return new LastingError(`${file} is there already and is another file; move it away first`);
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
