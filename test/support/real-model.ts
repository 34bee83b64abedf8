// The small real model of the tests (see scripts/real-model.mjs): SmolLM2-135M-Instruct, where it can be had.
import { realModel } from '../../scripts/real-model.mjs';

/** Its path; undefined, with a line that says why, where it cannot be had: tests that need it are then skipped. */
export const smollm2: string | undefined = await realModel((line: string) => console.warn(line));
