// Downloads of the catalogue's models, by their id.
import { catalogueEntry } from '../models/catalogue';
import { type DownloadStatus, Downloads, sizeOf } from '../models/downloads';
import { downloadFolder } from '../models/list';
import type { NetworkSettings } from '../models/network';

/** The model to download, the folder for it, and how the network is reached. */
export interface DownloadChoice {
	/** The model's id in the catalogue. */
	id: string;
	/** Default: the folder that `downloadFolder` gives. */
	folder?: string;
	network?: NetworkSettings;
}

/** Each method throws where the catalogue has no such model. */
export class DownloadService {
	readonly #downloads: Downloads;

	/** @param changed called after each change of `statuses`. */
	constructor(changed: () => void) {
		this.#downloads = new Downloads(changed);
	}

	get statuses(): DownloadStatus[] {
		return this.#downloads.statuses;
	}

	/** Asks the host for a model's size, in bytes. */
	async size({ id, network = {} }: DownloadChoice, signal: AbortSignal): Promise<number> {
		return sizeOf(catalogueEntry(id), network, signal);
	}

	/** Starts or continues a download, or joins the one that runs. */
	start({ id, folder = downloadFolder(), network = {} }: DownloadChoice): DownloadStatus {
		return this.#downloads.start(catalogueEntry(id), folder, network);
	}

	/**
	 * Pauses a download. Resolves when nothing is written any more. With `discard`, the bytes that have arrived are
	 * deleted.
	 */
	async stop({ id, folder = downloadFolder() }: DownloadChoice, discard: boolean): Promise<void> {
		await this.#downloads.stop(catalogueEntry(id), folder, discard);
	}

	/** Pauses all downloads. */
	close(): Promise<void> {
		return this.#downloads.close();
	}
}
