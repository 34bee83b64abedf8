// All models there are to choose from: models on this machine, and models that can be downloaded.
import { stat } from 'node:fs/promises';
import type { MachineMemory } from '../machine/memory';
import { catalogue, describeEntry } from './catalogue';
import { freeDiskBytes } from './download';
import { isVerified, partialBytesOf, targetOf } from './downloads';
import type { ModelFinder } from './find';
import type { ModelFolders, ModelList } from './listing';
import type { MemorySettings } from './memory-need';
import { defaultDownloadFolder, modelPlaces, thisEnvironment } from './places';

/** The folder of downloads, unless the user chooses another one. */
export function downloadFolder(): string {
	return defaultDownloadFolder(thisEnvironment());
}

export async function listModels(
	finder: ModelFinder,
	{ folders, downloadFolder: chosen }: ModelFolders,
	{ settings, memory, signal }: { settings: MemorySettings; memory: MachineMemory; signal?: AbortSignal },
): Promise<ModelList> {
	const own = chosen || downloadFolder();
	const found = await finder.find({
		places: [
			{ source: 'hearth', folder: own },
			...folders.map((folder) => ({ source: 'folder' as const, folder })),
			...modelPlaces(thisEnvironment()),
		],
		...{ settings, memory },
		...(signal && { signal }),
	});
	const offered = catalogue().map(async (entry) => {
		const target = targetOf(entry, own);
		const present = await Promise.all(target.files.map((file) => stat(file).catch(() => undefined)));
		const there = present.every((stats) => stats?.isFile());
		const verified = there && (await isVerified(entry, own));
		const partialBytes = verified ? 0 : await partialBytesOf(entry, own);
		return {
			...describeEntry(entry, settings, memory),
			...(there && { path: target.path, ...(!verified && { unverified: true as const }) }),
			...(partialBytes > 0 && { partialBytes }),
		};
	});
	return {
		found,
		catalogue: await Promise.all(offered),
		memory,
		downloadFolder: own,
		freeDiskBytes: await freeDiskBytes(own),
	};
}
