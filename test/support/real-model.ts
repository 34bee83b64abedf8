// The small real model of the tests (see scripts/real-model.mjs): SmolLM2-135M-Instruct, where it can be had.
import { realModel } from '../../scripts/real-model.mjs';
import type { Need } from './needs';

let lastLine = '';

/** Its path; undefined where it cannot be had. */
export const smollm2: string | undefined = await realModel((line: string) => {
	lastLine = line;
	console.warn(line);
});

export const smollm2Model: Need = {
	met: smollm2 !== undefined,
	...{ reason: 'no SmolLM2-135M-Instruct', cure: lastLine },
};
