// A Hugging Face folder as a model file that is made once: beside the folder, or in Hearth's cache where that cannot be
// written to or is Hugging Face's own, and used again for as long as the folder stays as it is.
import { access, constants, mkdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { loadNative } from '../../native/index';
import { type ConvertOptions, convertFolder, fingerprint, modelName, SOURCE_KEY } from './convert';

export interface ConvertedModel {
	path: string;
	/** It is a draft head, for another model. */
	draftHead: boolean;
}

/** @throws what `convertFolder` throws. */
export async function convertOnce(
	folder: string,
	options: ConvertOptions = {},
	cache: string = cacheFolder(),
): Promise<ConvertedModel> {
	const wanted = await fingerprint(folder, options);
	const file = await destination(path.resolve(folder), wanted, cache);
	const found = await readSource(file);
	const { architecture } = found?.source === wanted ? found : await convertFolder(folder, file, options);
	return { path: file, draftHead: architecture === 'eagle3' };
}

async function destination(folder: string, digest: string, cache: string): Promise<string> {
	const name = modelName(folder);
	const parent = path.dirname(folder);
	const shared = path.basename(parent) === 'snapshots';
	const writable = await access(parent, constants.W_OK).then(
		() => true,
		() => false,
	);
	if (writable && !shared) return path.join(parent, `${name}.gguf`);
	await mkdir(cache, { recursive: true });
	return path.join(cache, `${name}-${digest.slice(0, 8)}.gguf`);
}

/** What a file was converted from, and what it is; undefined where there is none. */
async function readSource(file: string): Promise<{ source: unknown; architecture: unknown } | undefined> {
	const header = await loadNative()
		.readGguf(file)
		.catch(() => undefined);
	return (
		header && {
			source: header.metadata.get(SOURCE_KEY),
			architecture: header.metadata.get('general.architecture'),
		}
	);
}

function cacheFolder(): string {
	const base = {
		darwin: path.join(os.homedir(), 'Library', 'Caches'),
		win32: process.env['LOCALAPPDATA'] ?? path.join(os.homedir(), 'AppData', 'Local'),
	}[process.platform as string];
	return path.join(base ?? process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'hearth', 'models');
}
