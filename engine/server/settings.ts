// Settings as a client sends them: anything may be missing or wrong, and then the default holds.

import { KERNEL_SETS } from '../loading/backend';
import { SAMPLING } from '../runtime/request-check';
import { flag, nullable, oneOf, realNumber, type Schema, text, wholeNumber } from '../schema';
import type { EngineSettings } from '../settings';

export const DEFAULT_SETTINGS: EngineSettings = {
	modelPath: '',
	completionModelPath: '',
	draftModelPath: '',
	threads: 0,
	contextTokens: 8192,
	kernels: 'auto',
	backend: 'auto',
	matrixUnits: false,
	rope: 'reference',
	cacheType: 'f16',
	speculation: true,
	repackWeights: true,
	unloadAfterMinutes: 0,
	completion: { maxTokens: 96, multiline: 'auto', prefixTokens: 1024, suffixTokens: 256, relatedTokens: 512 },
	chat: {
		reasoningEffort: 'medium',
		maxTokens: 4096,
		temperature: null,
		topP: null,
		instructions: '',
	},
};

type Checks<T> = { [K in keyof T]: Schema<T[K]> };

/** What a value of each setting may be. */
export const SETTINGS = {
	modelPath: text(),
	completionModelPath: text(),
	draftModelPath: text(),
	threads: wholeNumber(0, 1024),
	contextTokens: wholeNumber(64, 2 ** 24),
	kernels: oneOf(KERNEL_SETS),
	backend: oneOf(['auto', 'metal', 'cpu']),
	matrixUnits: flag,
	rope: oneOf(['reference', 'llamacpp']),
	cacheType: oneOf(['f16', 'q8_0']),
	speculation: flag,
	repackWeights: flag,
	unloadAfterMinutes: realNumber(0, 10_080),
	completion: {
		maxTokens: wholeNumber(1, 65_536),
		multiline: oneOf(['auto', 'always', 'never']),
		prefixTokens: wholeNumber(16, 2 ** 20),
		suffixTokens: wholeNumber(0, 2 ** 20),
		relatedTokens: wholeNumber(0, 2 ** 20),
	},
	chat: {
		reasoningEffort: oneOf(['low', 'medium', 'high']),
		maxTokens: wholeNumber(1, 2 ** 24),
		temperature: nullable(SAMPLING.temperature),
		topP: nullable(SAMPLING.topP),
		instructions: text(),
	},
} as const satisfies Checks<Omit<EngineSettings, 'completion' | 'chat'>> & {
	completion: Checks<EngineSettings['completion']>;
	chat: Checks<EngineSettings['chat']>;
};

/** Reads settings over `base`. Values of the wrong type or out of range leave the base's. */
export function readSettings(given: unknown, base: EngineSettings): EngineSettings {
	const { completion, chat, ...own } = SETTINGS;
	const settings = fields(given);
	return {
		...read<Omit<EngineSettings, 'completion' | 'chat'>>(own, settings, base),
		completion: read<EngineSettings['completion']>(completion, fields(settings['completion']), base.completion),
		chat: read<EngineSettings['chat']>(chat, fields(settings['chat']), base.chat),
	};
}

function read<T extends object>(checks: Checks<T>, given: Record<string, unknown>, base: T): T {
	const names = Object.keys(checks) as (keyof T & string)[];
	return Object.fromEntries(
		names.map((name) => [name, checks[name].problem(given[name], name) === undefined ? given[name] : base[name]]),
	) as T;
}

function fields(value: unknown): Record<string, unknown> {
	return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
