// Maps the editor's `hearth.*` settings to what the engine is sent.
import type { EngineSettings, NetworkSettings } from '../../engine/protocol';

/** Reads one setting below `hearth.`; undefined where it has no value. */
export type SettingReader = (key: string) => unknown;

/**
 * The engine's settings as the user has them. A value of the wrong type or outside its range (settings files are edited
 * by hand) is replaced by the nearest allowed one.
 * @param homeDirectory - stands for a leading `~` in the model's path
 */
export function engineSettings(read: SettingReader, homeDirectory: string): EngineSettings {
	return {
		modelPath: expandHome(text(read('modelPath')), homeDirectory),
		completionModelPath: expandHome(text(read('completionModelPath')), homeDirectory),
		draftModelPath: expandHome(text(read('draftModelPath')), homeDirectory),
		threads: integer(read('threads'), 0, 0, 1024),
		contextTokens: integer(read('contextTokens'), 8192, 512, 131_072),
		kernels: oneOf(read('kernels'), ['auto', 'reference', 'portable', 'avx2', 'avx512', 'amx', 'neon']),
		backend: oneOf(read('backend'), ['auto', 'metal', 'cpu']),
		matrixUnits: flag(read('matrixUnits'), false),
		rope: oneOf(read('rope'), ['reference', 'llamacpp']),
		cacheType: oneOf(read('cacheType'), ['f16', 'q8_0']),
		speculation: flag(read('speculation'), true),
		repackWeights: flag(read('repackWeights'), true),
		unloadAfterMinutes: number(read('unloadAfterMinutes'), 0, 0, 10_080),
		completion: {
			maxTokens: integer(read('completions.maxTokens'), 96, 1, 1024),
			multiline: oneOf(read('completions.multiline'), ['auto', 'always', 'never']),
			prefixTokens: integer(read('completions.prefixTokens'), 1024, 16, 65_536),
			suffixTokens: integer(read('completions.suffixTokens'), 256, 0, 65_536),
			relatedTokens: integer(read('completions.relatedTokens'), 512, 0, 65_536),
		},
		chat: {
			reasoningEffort: oneOf(read('chat.reasoningEffort'), ['medium', 'low', 'high']),
			maxTokens: integer(read('chat.maxTokens'), 4096, 1, 131_072),
			temperature: number(read('chat.temperature'), null, 0, 2),
			topP: number(read('chat.topP'), null, 0, 1),
			instructions: text(read('chat.instructions')),
		},
	};
}

/** Folders to look for models in, and where downloads go; absent: the engine's default. */
export function modelFolders(
	read: SettingReader,
	homeDirectory: string,
): { folders: string[]; downloadFolder?: string } {
	const folders = read('modelFolders');
	const downloadFolder = expandHome(text(read('downloadFolder')), homeDirectory);
	return {
		folders: (Array.isArray(folders) ? folders : [])
			.map((folder) => expandHome(text(folder), homeDirectory))
			.filter(Boolean),
		...(downloadFolder !== '' && { downloadFolder }),
	};
}

/** VS Code's own `http.*` settings as a download follows them. Without a proxy there, the environment's holds, as in VS Code. */
export function networkSettings(read: SettingReader): NetworkSettings {
	const off = read('proxySupport') === 'off';
	const proxy = text(read('proxy'));
	const authorization = text(read('proxyAuthorization'));
	const exceptions = read('noProxy');
	const noProxy = (Array.isArray(exceptions) ? exceptions : []).map(text).filter(Boolean);
	return {
		...((off || proxy !== '') && { proxy: off ? '' : proxy }),
		...(authorization !== '' && { proxyAuthorization: authorization }),
		...(noProxy.length > 0 && { noProxy }),
		...(read('proxyStrictSSL') === false && { strictTls: false }),
	};
}

function text(value: unknown): string {
	return typeof value === 'string' ? value.trim() : '';
}

function flag(value: unknown, fallback: boolean): boolean {
	return typeof value === 'boolean' ? value : fallback;
}

function number<T>(value: unknown, fallback: T, min: number, max: number): number | T {
	if (typeof value !== 'number' || !Number.isFinite(value)) return fallback;
	return Math.min(max, Math.max(min, value));
}

function integer(value: unknown, fallback: number, min: number, max: number): number {
	return Math.round(number(value, fallback, min, max));
}

/** `value` where it is one of `allowed`, else the first of them, which is the default. */
function oneOf<const T extends string>(value: unknown, allowed: readonly [T, ...T[]]): T {
	return allowed.find((candidate) => candidate === value) ?? allowed[0];
}

function expandHome(file: string, homeDirectory: string): string {
	return file === '~' || file.startsWith('~/') || file.startsWith('~\\') ? homeDirectory + file.slice(1) : file;
}
