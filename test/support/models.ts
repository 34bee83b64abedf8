// Synthetic gpt-oss models for tests. They are made on the spot in a folder that is removed when the test file ends.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import type { ModelShape } from '../../engine/synth/architecture';
import { synthesize } from '../../engine/synth/synthesize';

/** Makes an empty folder. It is removed with its contents after the tests of the calling file. */
export function temporaryFolder(): string {
	const folder = mkdtempSync(path.join(os.tmpdir(), 'hearth-test-'));
	afterAll(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

/** Writes `<folder>/<name>.gguf`, which is the `tiny` preset with some of its sizes replaced. Resolves to its path. */
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
 * Shapes that together take every path that depends on a size: 8, 32 and 128 experts; 1, 4 and 8 query heads a
 * key/value head; head lengths 32, 64 and 128; widths that are multiples of 32 but not of 64; all types of attention
 * weights; windows other than gpt-oss's.
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

/**
 * What most of the following models have in common. They cover what `shapes` lacks: each other architecture, each
 * tensor type, each RoPE scaling, tied and untied embeddings, and small and large groups of heads.
 */
const usual = { layers: 3, embedding: 256, feedForward: 256, heads: 4, headsKv: 2, headLength: 64 } as const;
export const otherShapes = {
	'llama, F32': {
		...{ ...usual, architecture: 'llama', embedding: 96, feedForward: 80, headsKv: 4, headLength: 24 },
		...{ attentionType: 'F32', feedForwardType: 'F32' },
	},
	'llama with Llama 3 scaling, F16, tied': {
		...{ ...usual, architecture: 'llama', ropeScaling: 'llama3', tied: true },
		...{ attentionType: 'F16', feedForwardType: 'F16' },
	},
	'llama with linear scaling, Q4_0': {
		...{ ...usual, architecture: 'llama', ropeScaling: 'linear', embedding: 160, feedForward: 224 },
		...{ attentionType: 'Q4_0', feedForwardType: 'Q4_0' },
	},
	'llama, Q8_0 and Q4_1, tied': {
		...{
			...usual,
			architecture: 'llama',
			embedding: 288,
			feedForward: 352,
			heads: 9,
			headsKv: 3,
			headLength: 32,
			tied: true,
		},
		...{ attentionType: 'Q8_0', feedForwardType: 'Q4_1' },
	},
	'llama, Q6_K and Q4_K': {
		...{ ...usual, architecture: 'llama', feedForward: 512 },
		...{ attentionType: 'Q6_K', feedForwardType: 'Q4_K' },
	},
	'qwen2, BF16': {
		...{ ...usual, architecture: 'qwen2', headsKv: 1 },
		...{ attentionType: 'BF16', feedForwardType: 'BF16' },
	},
	'qwen2 with YaRN, Q5_0, tied': {
		...{ ...usual, architecture: 'qwen2', ropeScaling: 'yarn', tied: true },
		...{ attentionType: 'Q5_0', feedForwardType: 'Q5_0' },
	},
	'qwen2, Q4_K and Q6_K': {
		...{ ...usual, architecture: 'qwen2', heads: 2, headsKv: 1, headLength: 128 },
		...{ attentionType: 'Q4_K', feedForwardType: 'Q6_K' },
	},
	'qwen3, Q5_1': {
		...{ ...usual, architecture: 'qwen3', heads: 8, headLength: 64 },
		...{ attentionType: 'Q5_1', feedForwardType: 'Q5_1' },
	},
	'qwen3, Q5_K, tied': {
		...{ ...usual, architecture: 'qwen3', headLength: 128, tied: true },
		...{ attentionType: 'Q5_K', feedForwardType: 'Q5_K' },
	},
	'qwen3moe, Q4_1 and Q4_K': {
		...{ ...usual, architecture: 'qwen3moe', experts: 16, expertsUsed: 4 },
		...{ attentionType: 'Q4_1', feedForwardType: 'Q4_K' },
	},
	'gpt-oss, Q4_K and Q5_K': {
		...{ ...usual, architecture: 'gpt-oss', experts: 8, expertsUsed: 2 },
		...{ attentionType: 'Q4_K', feedForwardType: 'Q5_K' },
	},
} as const satisfies Record<string, Partial<ModelShape>>;
