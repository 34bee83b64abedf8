// Synthetic gpt-oss models for tests, made on the spot in a folder that goes when the test file ends.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import type { ModelShape } from '../../engine/synth/architecture';
import { synthesize } from '../../engine/synth/synthesize';

/** An empty folder, removed with all it holds after the tests of the calling file. */
export function temporaryFolder(): string {
	const folder = mkdtempSync(path.join(os.tmpdir(), 'hearth-test-'));
	afterAll(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

/** Writes `<folder>/<name>.gguf`: the `tiny` preset with some of its sizes replaced. Returns its path. */
export async function makeModel(
	folder: string,
	name: string,
	shape: Partial<ModelShape> = {},
	seed = 1,
): Promise<string> {
	const file = path.join(folder, `${name}.gguf`);
	await synthesize(file, { preset: 'tiny', shape, seed });
	return file;
}

/**
 * Shapes that between them take every path that a size can take: 8, 32 and 128 experts; 1, 4 and 8 query heads a key/value
 * head; head lengths 32, 64 and 128; widths that are multiples of 32 but not of 64; all types of attention weights; windows
 * other than gpt-oss's.
 */
export const shapes = {
	'32 experts, Q8_0': {
		...{ layers: 4, embedding: 160, feedForward: 96, experts: 32, expertsUsed: 4 },
		...{ heads: 8, headsKv: 2, headLength: 64, slidingWindow: 128, attentionType: 'Q8_0' },
	},
	'128 experts, F16': {
		...{ layers: 4, embedding: 96, feedForward: 32, experts: 128, expertsUsed: 4 },
		...{ heads: 8, headsKv: 1, headLength: 32, slidingWindow: 128, attentionType: 'F16' },
	},
	'no head sharing, BF16': {
		...{ layers: 2, embedding: 96, feedForward: 160, experts: 32, expertsUsed: 2 },
		...{ heads: 4, headsKv: 4, headLength: 128, slidingWindow: 48, attentionType: 'BF16' },
	},
	'window of 1, F32': {
		...{ layers: 3, embedding: 128, feedForward: 64, experts: 8, expertsUsed: 8 },
		...{ heads: 4, headsKv: 1, headLength: 64, slidingWindow: 1, attentionType: 'F32' },
	},
	'wide window, Q8_0': {
		...{ layers: 2, embedding: 160, feedForward: 224, experts: 32, expertsUsed: 4 },
		...{ heads: 8, headsKv: 1, headLength: 64, slidingWindow: 1000, attentionType: 'Q8_0' },
	},
} as const satisfies Record<string, Partial<ModelShape>>;
