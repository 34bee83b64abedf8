// The small real model of the tests, SmolLM2-135M-Instruct, if it can be fetched (see scripts/real-model.mjs).
import { realModel } from '../../scripts/real-model.mjs';
import type { Need } from './needs';

let lastLine = '';

/** The path of the model. undefined when it cannot be fetched. */
export const smollm2: string | undefined = await realModel((line: string) => {
	lastLine = line;
	console.warn(line);
});

export const smollm2Model: Need = {
	met: smollm2 !== undefined,
	...{ reason: 'no SmolLM2-135M-Instruct', cure: lastLine },
};
