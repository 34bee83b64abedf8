// A Hugging Face folder as a model file that is made once and used again for as long as the folder does not change. The
// file lies beside the folder, or in Hearth's cache where the parent folder cannot be written to or belongs to Hugging
// Face's cache. A file that Hearth did not make from this folder is never replaced: the conversion takes another name,
// and finds that name again the next time.
import { access, constants, mkdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type OutputTarget, outputTarget, PlaceChangedError } from '../files/output-file';
import { choicesOf, convertFolder, modelName } from './convert';
import type { ConvertOptions } from './options';
import { identityOf, type Origin, readOrigin } from './origin';
import { lookAgain } from './source-folder';

export interface ConvertedModel {
	path: string;
	/** The file is a draft head, which needs its target model. */
	draftHead: boolean;
}

/** How many names are tried, one after another. */
const MOST_NAMES = 20;
/** How many times the file is made, if somebody else takes its name meanwhile. */
const MOST_TRIES = 3;

/** @throws what `convertFolder` throws, or where files of others have all names. */
export async function convertOnce(
	folder: string,
	options: ConvertOptions = {},
	cache: string = cacheFolder(),
): Promise<ConvertedModel> {
	const identity = await identityOf(folder, options);
	const [place, name] = await destination(path.resolve(folder), identity, cache);
	for (let tries = 1; ; tries++) {
		const { target, fresh } = await choose(folder, options, identity, place, name);
		if (fresh) return { path: target.file, draftHead: fresh.architecture === 'eagle3' };
		try {
			const { architecture } = await convertFolder(folder, target, options);
			return { path: target.file, draftHead: architecture === 'eagle3' };
		} catch (error) {
			// Another window may have converted the same folder meanwhile.
			if (!(error instanceof PlaceChangedError) || tries === MOST_TRIES) throw error;
		}
	}
}

/** The place for the file. If an up-to-date file lies there, its origin is `fresh`. */
async function choose(
	folder: string,
	options: ConvertOptions,
	identity: string,
	place: string,
	name: string,
): Promise<{ target: OutputTarget; fresh?: Origin }> {
	let free: OutputTarget | undefined;
	let stale: OutputTarget | undefined;
	for (let n = 0; n < MOST_NAMES; n++) {
		const file = path.join(place, `${name}${n === 0 ? '' : n === 1 ? '-hearth' : `-hearth-${n}`}.gguf`);
		// Something that is not a file, such as a folder, keeps its name.
		const target = await outputTarget(file).catch(() => undefined);
		if (!target) continue;
		if (!target.found) {
			free ??= target;
			continue;
		}
		const origin = await readOrigin(target.path);
		// A folder and its file may have been moved together, so a fresh file may name another folder. A stale file must
		// name this folder to be replaced.
		if (origin && (await isFresh(origin, folder, options))) return { target, fresh: origin };
		if (origin && (origin.identity ?? identity) === identity) stale ??= target;
	}
	const target = stale ?? free;
	if (!target)
		throw new Error(`${place} has no name left for the model file of ${folder}; remove files named ${name}-hearth`);
	return { target };
}

/** Whether the folder is as it was when the file was made. */
async function isFresh({ digest, files }: Origin, folder: string, options: ConvertOptions): Promise<boolean> {
	if (!files) return false;
	try {
		return (await lookAgain(folder, options.target, files)).digest(choicesOf(options)) === digest;
	} catch {
		// Converting the folder again will say what is wrong with it.
		return false;
	}
}

/** The folder in which the file belongs, and the file's name without its ending. */
async function destination(folder: string, identity: string, cache: string): Promise<[string, string]> {
	const name = modelName(folder);
	const parent = path.dirname(folder);
	const shared = path.basename(parent) === 'snapshots';
	const writable = await access(parent, constants.W_OK).then(
		() => true,
		() => false,
	);
	if (writable && !shared) return [parent, name];
	await mkdir(cache, { recursive: true });
	return [cache, `${name}-${identity.slice(0, 8)}`];
}

function cacheFolder(): string {
	const base = {
		darwin: path.join(os.homedir(), 'Library', 'Caches'),
		win32: process.env['LOCALAPPDATA'] ?? path.join(os.homedir(), 'AppData', 'Local'),
	}[process.platform as string];
	return path.join(base ?? process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'hearth', 'models');
}
