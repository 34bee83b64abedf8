// The downloads of one engine. Each model is downloaded at most once at a time, whoever asks for it. The status shows
// their progress.
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../quote';
import { type CatalogueEntry, fileName, totalBytes } from './catalogue';
import { type DownloadProgress, discardPart, download, partialBytes, presence, remoteSize } from './download';
import type { NetworkSettings } from './network';

export interface DownloadStatus {
	id: string;
	name: string;
	/** `checking`: the bytes that are there are read back. `waiting`: the connection failed and is tried again. */
	state: 'connecting' | 'checking' | 'downloading' | 'waiting' | 'paused' | 'failed' | 'done';
	receivedBytes: number;
	totalBytes?: number;
	bytesPerSecond: number;
	/** What went wrong and what to do. Only in the states `waiting` and `failed`. */
	error?: string;
	/** The file, or the folder of a model that has several files. Only in the state `done`. */
	path?: string;
}

/** Milliseconds over which the speed is averaged. */
const SPEED_WINDOW = 5000;

interface Running {
	status: DownloadStatus;
	abort: AbortController;
	done: Promise<void>;
}

/** Where a model's files will be: `path` is the file, or the folder of several files. */
export function targetOf({ id, files }: CatalogueEntry, folder: string): { path: string; files: string[] } {
	if (files.length === 1) {
		const file = path.join(folder, fileName(files[0].url));
		return { path: file, files: [file] };
	}
	const own = path.join(folder, id);
	return { path: own, files: files.map(({ url }) => path.join(own, fileName(url))) };
}

/**
 * Bytes of a model that are there and would not be fetched again: whole files of the right size, and parts of others.
 */
export async function partialBytesOf(entry: CatalogueEntry, folder: string): Promise<number> {
	const { files } = targetOf(entry, folder);
	const sizes = await Promise.all(
		files.map(async (file, index) => {
			const stats = await stat(file).catch(() => undefined);
			const { bytes = stats?.size } = entry.files[index]!;
			return stats?.isFile() && stats.size === bytes ? stats.size : partialBytes(file);
		}),
	);
	return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Whether all of a model's files are there and verified. */
export async function isVerified(entry: CatalogueEntry, folder: string): Promise<boolean> {
	const { files } = targetOf(entry, folder);
	const states = await Promise.all(
		// A file that cannot be the model's counts as absent here. The download reports it when it is asked for.
		files.map((file, index) => presence({ ...entry.files[index]!, file }).catch(() => 'absent')),
	);
	return states.every((state) => state === 'verified');
}

/** Bytes of all of a model's files. The host is asked for the sizes that the catalogue does not know. */
export async function sizeOf(entry: CatalogueEntry, network: NetworkSettings, signal?: AbortSignal): Promise<number> {
	let sum = 0;
	for (const { url, bytes } of entry.files) sum += bytes ?? (await remoteSize(url, network, signal));
	return sum;
}

/**
 * Downloads a model's files one after another and returns its path.
 * @throws what `download` throws.
 */
export async function downloadModel(
	entry: CatalogueEntry,
	folder: string,
	options: { network: NetworkSettings; signal: AbortSignal; onProgress: (progress: DownloadProgress) => void },
): Promise<string> {
	const target = targetOf(entry, folder);
	const total = totalBytes(entry);
	let before = 0;
	for (const [index, { url, bytes, sha256 }] of entry.files.entries()) {
		let fileBytes = bytes ?? 0;
		await download({
			url,
			file: target.files[index]!,
			...(bytes !== undefined && { bytes }),
			...(sha256 !== undefined && { sha256 }),
			...{ network: options.network, signal: options.signal },
			onProgress: (progress) => {
				fileBytes = progress.totalBytes ?? fileBytes;
				const { totalBytes: _file, ...rest } = progress;
				// If the sizes of several files are not known, the total is known only with the last file.
				const all =
					total ?? (index === entry.files.length - 1 && progress.totalBytes ? before + progress.totalBytes : undefined);
				options.onProgress({
					...rest,
					receivedBytes: before + progress.receivedBytes,
					...(all !== undefined && { totalBytes: all }),
				});
			},
		});
		before += fileBytes;
	}
	return target.path;
}

export class Downloads {
	readonly #changed: () => void;
	readonly #running = new Map<string, Running>();

	/** @param changed is called after each change of `statuses`. */
	constructor(changed: () => void) {
		this.#changed = changed;
	}

	get statuses(): DownloadStatus[] {
		return [...this.#running.values()].map(({ status }) => ({ ...status }));
	}

	/** Whether any download runs or waits for its host. */
	get active(): boolean {
		return this.statuses.some(({ state }) => !['paused', 'failed', 'done'].includes(state));
	}

	/** Starts or continues a download, or joins the one that runs. */
	start(entry: CatalogueEntry, folder: string, network: NetworkSettings): DownloadStatus {
		const known = this.#running.get(entry.id);
		if (known && !['paused', 'failed', 'done'].includes(known.status.state)) return { ...known.status };
		const total = totalBytes(entry);
		const status: DownloadStatus = {
			...{ id: entry.id, name: entry.name, state: 'connecting', receivedBytes: 0, bytesPerSecond: 0 },
			...(total !== undefined && { totalBytes: total }),
		};
		const abort = new AbortController();
		const speed = new Speed();
		const work = async () => {
			try {
				status.path = await downloadModel(entry, folder, {
					...{ network, signal: abort.signal },
					onProgress: ({ message, ...progress }) => {
						if (progress.state !== 'downloading') speed.restart();
						Object.assign(status, progress, { bytesPerSecond: speed.add(progress.receivedBytes, performance.now()) });
						if (message === undefined) delete status.error;
						else status.error = message;
						this.#changed();
					},
				});
				status.state = 'done';
				if (status.totalBytes !== undefined) status.receivedBytes = status.totalBytes;
			} catch (error) {
				status.state = abort.signal.aborted ? 'paused' : 'failed';
				if (abort.signal.aborted) delete status.error;
				else status.error = messageOf(error);
			}
			status.bytesPerSecond = 0;
			this.#changed();
		};
		this.#running.set(entry.id, { status, abort, done: work() });
		this.#changed();
		return { ...status };
	}

	/**
	 * Pauses a download. Resolves when nothing is written any more. With `discard`, the bytes that have arrived are
	 * deleted.
	 */
	async stop(entry: CatalogueEntry, folder: string, discard: boolean): Promise<void> {
		const running = this.#running.get(entry.id);
		running?.abort.abort();
		await running?.done;
		if (discard) {
			for (const file of targetOf(entry, folder).files) await discardPart(file);
			this.#running.delete(entry.id);
		}
		this.#changed();
	}

	/** Pauses all downloads. */
	async close(): Promise<void> {
		for (const { abort } of this.#running.values()) abort.abort();
		await Promise.all([...this.#running.values()].map(({ done }) => done));
	}
}

/** Bytes a second over the last seconds. */
class Speed {
	#samples: { at: number; bytes: number }[] = [];

	restart(): void {
		this.#samples = [];
	}

	/** @param at milliseconds. */
	add(bytes: number, at: number): number {
		const last = this.#samples.at(-1);
		// A sample for each chunk would make thousands of samples.
		if (!last || at - last.at > SPEED_WINDOW / 50) this.#samples.push({ at, bytes });
		while (this.#samples.length > 2 && at - this.#samples[0]!.at > SPEED_WINDOW) this.#samples.shift();
		const [first] = this.#samples;
		const elapsed = first ? at - first.at : 0;
		return elapsed > 0 ? ((bytes - first!.bytes) / elapsed) * 1000 : 0;
	}
}
