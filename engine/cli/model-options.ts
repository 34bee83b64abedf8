// The options of all commands that run a model.
import type { CacheType } from '../../native/index';
import type { OpenOptions } from '../loading/open-model';
import { SETTINGS } from '../settings';
import { choiceOption, integerOption } from './command';

const CACHE_TYPES = [...SETTINGS.cacheType.choices, 'f32'] as const satisfies CacheType[];

export const MODEL_OPTIONS = {
	threads: { type: 'string' },
	kernels: { type: 'string' },
	backend: { type: 'string' },
	'matrix-units': { type: 'boolean' },
	rope: { type: 'string' },
} as const;

export const MODEL_OPTIONS_HELP = `  --threads N      threads (default: physical cores)
  --kernels SET    ${SETTINGS.kernels.choices.join(', ')} (default auto)
  --backend B      ${SETTINGS.backend.choices.join(', ')}: what computes (default auto: Metal where there is a usable one, else the CPU)
  --matrix-units   Metal: read prompts with the GPU's matrix units; faster, but tokens may depend on how a prompt was cut
  --rope MODE      reference (the publisher's) or llamacpp: how YaRN's correction range is rounded (default reference)`;

export const CACHE_OPTIONS = { 'cache-type': { type: 'string' } } as const;

export const CACHE_OPTIONS_HELP = `  --cache-type T   KV cache: f16; q8_0, half the memory; f32, for the reference kernels
                   (default: f32 with those, f16 with all others)`;

/**
 * The options for opening a model.
 * @throws UsageError on a bad value.
 */
export function modelOptions(
	values: {
		[name in Exclude<keyof (typeof MODEL_OPTIONS & typeof CACHE_OPTIONS), 'matrix-units'>]?: string | undefined;
	} & { 'matrix-units'?: boolean | undefined },
): OpenOptions {
	// In the settings, 0 threads stands for the physical cores. On the command line, leaving the option out does.
	const [, mostThreads] = SETTINGS.threads.accepts;
	const threads = integerOption('threads', values.threads, 1, mostThreads);
	const kernels = choiceOption('kernels', values.kernels, SETTINGS.kernels.choices);
	const backend = choiceOption('backend', values.backend, SETTINGS.backend.choices);
	const rope = choiceOption('rope', values.rope, SETTINGS.rope.choices);
	const cacheType = choiceOption('cache-type', values['cache-type'], CACHE_TYPES);
	return {
		...(threads !== undefined && { threads }),
		...(kernels !== undefined && { kernels }),
		...(backend !== undefined && { backend }),
		...(rope !== undefined && { rope }),
		...(values['matrix-units'] && { matrixUnits: true }),
		...(cacheType !== undefined && { cacheType }),
		onBackendNote: (note) => process.stderr.write(`hearth: ${note}\n`),
	};
}
