// Where programs keep models on this machine, according to their documented environment variables and defaults.
import { readFileSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ModelSource } from './listing';

/** A folder to look for models in. */
export interface Place {
	source: ModelSource;
	folder: string;
}

interface PlaceEnvironment {
	platform: NodeJS.Platform;
	home: string;
	variables: Readonly<Record<string, string | undefined>>;
	/** The text of a small file. Undefined where there is none. */
	read?: (file: string) => string | undefined;
}

export function thisEnvironment(): PlaceEnvironment {
	return { platform: process.platform, home: os.homedir(), variables: process.env, read: readSmall };
}

/**
 * Where Hearth's own downloads go, unless the user chooses another folder. Every editor and the command line use the
 * same one.
 */
export function defaultDownloadFolder({ platform, home, variables }: PlaceEnvironment): string {
	const { join } = pathOf(platform);
	if (platform === 'win32')
		return join(variables['LOCALAPPDATA'] || join(home, 'AppData', 'Local'), 'Hearth', 'models');
	if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'Hearth', 'models');
	return join(variables['XDG_DATA_HOME'] || join(home, '.local', 'share'), 'hearth', 'models');
}

/**
 * The places where other programs keep models. Sources: huggingface_hub's environment variables, llama.cpp's
 * `fs_get_cache_directory`, LM Studio's and Ollama's documentation.
 */
export function modelPlaces(environment: PlaceEnvironment): Place[] {
	const { platform, home, variables, read } = environment;
	const { join } = pathOf(platform);
	const cache = variables['XDG_CACHE_HOME'] || join(home, '.cache');
	const huggingface =
		variables['HF_HUB_CACHE'] ||
		variables['HUGGINGFACE_HUB_CACHE'] ||
		join(variables['HF_HOME'] || join(cache, 'huggingface'), 'hub');
	const llamaDefault =
		platform === 'darwin'
			? join(home, 'Library', 'Caches', 'llama.cpp')
			: platform === 'win32'
				? join(variables['LOCALAPPDATA'] || join(home, 'AppData', 'Local'), 'llama.cpp')
				: join(cache, 'llama.cpp');
	const lmStudio = read?.(join(home, '.lmstudio-home-pointer'))?.trim() || join(home, '.lmstudio');
	return [
		{ source: 'huggingface', folder: expand(huggingface, environment) },
		{ source: 'llama.cpp', folder: expand(variables['LLAMA_CACHE'] || llamaDefault, environment) },
		{ source: 'lm-studio', folder: join(lmStudio, 'models') },
		{ source: 'lm-studio', folder: join(home, '.cache', 'lm-studio', 'models') },
		{ source: 'ollama', folder: expand(variables['OLLAMA_MODELS'] || join(home, '.ollama', 'models'), environment) },
		// Ollama's Linux service runs as a user of its own and keeps its models there.
		...(platform === 'linux' ? [{ source: 'ollama' as const, folder: '/usr/share/ollama/.ollama/models' }] : []),
	];
}

function expand(folder: string, { home, platform }: PlaceEnvironment): string {
	return folder === '~' || folder.startsWith('~/') ? pathOf(platform).join(home, folder.slice(1)) : folder;
}

function pathOf(platform: NodeJS.Platform): path.PlatformPath {
	return platform === 'win32' ? path.win32 : path.posix;
}

/** Bytes of the longest file that is read. The file holds one path, and no path is as long. */
const MOST_BYTES = 64 * 1024;

function readSmall(file: string): string | undefined {
	try {
		// Reading from a pipe or a device would wait forever.
		const stats = statSync(file);
		if (!stats.isFile() || stats.size > MOST_BYTES) return undefined;
		return readFileSync(file, 'utf8');
	} catch {
		return undefined;
	}
}
