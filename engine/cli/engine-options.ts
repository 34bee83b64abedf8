// The options of the commands that run the engine's step loop: what makes it faster, each to be switched for measuring.
import path from 'node:path';
import type { OpenOptions } from '../runtime/model';

export const ENGINE_OPTIONS = {
	'no-speculation': { type: 'boolean' },
	'no-repack': { type: 'boolean' },
	'draft-model': { type: 'string' },
} as const;

export const ENGINE_OPTIONS_HELP = `  --no-speculation do not guess tokens ahead; the answer is the same either way
  --no-repack      leave the weights as the file has them; the answer is the same either way
  --draft-model F  a smaller model of the same vocabulary that guesses ahead; the answer is the same either way`;

export function engineOptions(values: {
	'no-speculation'?: boolean | undefined;
	'no-repack'?: boolean | undefined;
	'draft-model'?: string | undefined;
}): Pick<OpenOptions, 'speculation' | 'repack' | 'draftModelPath'> & { speculation: boolean; repack: boolean } {
	const draft = values['draft-model'];
	return {
		speculation: !values['no-speculation'],
		repack: !values['no-repack'],
		...(draft !== undefined && { draftModelPath: path.resolve(draft) }),
	};
}
