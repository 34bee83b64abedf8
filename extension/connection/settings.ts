// Maps the editor's `hearth.*` settings to what the engine is sent.
import type { EngineSettings } from '../../engine/protocol';

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
		threads: integer(read('threads'), 0, 0, 1024),
		contextTokens: integer(read('contextTokens'), 8192, 512, 131_072),
		kernels: oneOf(read('kernels'), ['auto', 'reference', 'portable', 'avx2', 'avx512', 'neon']),
		backend: oneOf(read('backend'), ['auto', 'metal', 'cpu']),
		rope: oneOf(read('rope'), ['reference', 'llamacpp']),
		cacheType: oneOf(read('cacheType'), ['f16', 'q8_0']),
		speculation: flag(read('speculation'), true),
		repackWeights: flag(read('repackWeights'), true),
		completion: {
			maxTokens: integer(read('completions.maxTokens'), 96, 1, 1024),
			multiline: oneOf(read('completions.multiline'), ['auto', 'always', 'never']),
			prefixTokens: integer(read('completions.prefixTokens'), 1024, 16, 65_536),
			suffixTokens: integer(read('completions.suffixTokens'), 256, 0, 65_536),
		},
		chat: {
			reasoningEffort: oneOf(read('chat.reasoningEffort'), ['medium', 'low', 'high']),
			maxTokens: integer(read('chat.maxTokens'), 4096, 1, 131_072),
			temperature: number(read('chat.temperature'), 1, 0, 2),
			topP: number(read('chat.topP'), 1, 0, 1),
			instructions: text(read('chat.instructions')),
		},
	};
}

function text(value: unknown): string {
	return typeof value === 'string' ? value.trim() : '';
}

function flag(value: unknown, fallback: boolean): boolean {
	return typeof value === 'boolean' ? value : fallback;
}

function number(value: unknown, fallback: number, min: number, max: number): number {
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
