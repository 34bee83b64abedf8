// Settings as a client sends them: anything may be missing or wrong, and then the default holds.
import type { EngineSettings } from '../protocol';
import { KERNEL_SETS } from '../runtime/backend';

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

/** Reads settings over `base`. Values of the wrong type or out of range leave the base's. */
export function readSettings(given: unknown, base: EngineSettings): EngineSettings {
	const settings = fields(given);
	const completion = fields(settings['completion']);
	const chat = fields(settings['chat']);
	return {
		modelPath: text(settings['modelPath'], base.modelPath),
		completionModelPath: text(settings['completionModelPath'], base.completionModelPath),
		draftModelPath: text(settings['draftModelPath'], base.draftModelPath),
		threads: integer(settings['threads'], base.threads, 0, 1024),
		contextTokens: integer(settings['contextTokens'], base.contextTokens, 64, 2 ** 24),
		kernels: choice(settings['kernels'], base.kernels, KERNEL_SETS),
		backend: choice(settings['backend'], base.backend, ['auto', 'metal', 'cpu']),
		matrixUnits: flag(settings['matrixUnits'], base.matrixUnits),
		rope: choice(settings['rope'], base.rope, ['reference', 'llamacpp']),
		cacheType: choice(settings['cacheType'], base.cacheType, ['f16', 'q8_0']),
		speculation: flag(settings['speculation'], base.speculation),
		repackWeights: flag(settings['repackWeights'], base.repackWeights),
		unloadAfterMinutes: number(settings['unloadAfterMinutes'], base.unloadAfterMinutes, 0, 10_080),
		completion: {
			maxTokens: integer(completion['maxTokens'], base.completion.maxTokens, 1, 65_536),
			multiline: choice(completion['multiline'], base.completion.multiline, ['auto', 'always', 'never']),
			prefixTokens: integer(completion['prefixTokens'], base.completion.prefixTokens, 16, 2 ** 20),
			suffixTokens: integer(completion['suffixTokens'], base.completion.suffixTokens, 0, 2 ** 20),
			relatedTokens: integer(completion['relatedTokens'], base.completion.relatedTokens, 0, 2 ** 20),
		},
		chat: {
			reasoningEffort: choice(chat['reasoningEffort'], base.chat.reasoningEffort, ['low', 'medium', 'high']),
			maxTokens: integer(chat['maxTokens'], base.chat.maxTokens, 1, 2 ** 24),
			temperature: chat['temperature'] === null ? null : number(chat['temperature'], base.chat.temperature, 0, 100),
			topP: chat['topP'] === null ? null : number(chat['topP'], base.chat.topP, 0, 1),
			instructions: text(chat['instructions'], base.chat.instructions),
		},
	};
}

function fields(value: unknown): Record<string, unknown> {
	return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown, fallback: string): string {
	return typeof value === 'string' ? value : fallback;
}

function flag(value: unknown, fallback: boolean): boolean {
	return typeof value === 'boolean' ? value : fallback;
}

function number<T>(value: unknown, fallback: T, minimum: number, maximum: number): number | T {
	return typeof value === 'number' && value >= minimum && value <= maximum ? value : fallback;
}

function integer(value: unknown, fallback: number, minimum: number, maximum: number): number {
	return Number.isSafeInteger(value) ? number(value, fallback, minimum, maximum) : fallback;
}

function choice<const T extends string>(value: unknown, fallback: T, choices: readonly T[]): T {
	return choices.find((candidate) => candidate === value) ?? fallback;
}
