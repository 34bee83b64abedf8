// The options of the commands that say how much memory a model would take.
import type { MemorySettings } from '../models/memory-need';
import { DEFAULT_SETTINGS } from '../server/settings';
import { SETTINGS } from '../settings';
import { choiceOption, integerOption } from './command';

export const MEMORY_OPTIONS = { context: { type: 'string' }, 'cache-type': { type: 'string' } } as const;

export const MEMORY_OPTIONS_HELP = `  --context N      count with a context of so many tokens (default ${DEFAULT_SETTINGS.contextTokens})
  --cache-type T   count with a KV cache of this type, ${SETTINGS.cacheType.choices.join(' or ')} (default ${DEFAULT_SETTINGS.cacheType})`;

/**
 * The memory settings that these options give, with the engine's defaults for the others.
 * @throws UsageError on a bad value.
 */
export function memorySettings(values: { [name in keyof typeof MEMORY_OPTIONS]?: string | undefined }): MemorySettings {
	const { completion, contextTokens, cacheType } = DEFAULT_SETTINGS;
	return {
		completion,
		contextTokens: integerOption('context', values.context, ...SETTINGS.contextTokens.accepts) ?? contextTokens,
		cacheType: choiceOption('cache-type', values['cache-type'], SETTINGS.cacheType.choices) ?? cacheType,
	};
}
