// Named sizes of synthetic models.
import type { ModelShape } from './architecture';
import { demoShape } from './demo-model';

export type VocabularyName = 'o200k' | 'small';

interface Preset {
	summary: string;
	/** The file's `general.name`. */
	name: string;
	vocabulary: VocabularyName;
	shape: ModelShape;
}

const gptOss20b: ModelShape = {
	architecture: 'gpt-oss',
	layers: 24,
	embedding: 2880,
	heads: 64,
	headsKv: 8,
	headLength: 64,
	experts: 32,
	expertsUsed: 4,
	feedForward: 2880,
	slidingWindow: 128,
	contextLength: 131_072,
	ropeScaling: 'yarn',
	tied: false,
	attentionType: 'Q8_0',
	feedForwardType: 'MXFP4',
};

export const presets = {
	'20b': {
		summary: 'gpt-oss-20b: every tensor as published, 12.1 GB',
		name: 'gpt-oss-20b with random weights',
		vocabulary: 'o200k',
		shape: gptOss20b,
	},
	'120b': {
		summary: 'gpt-oss-120b, 63 GB',
		name: 'gpt-oss-120b with random weights',
		vocabulary: 'o200k',
		shape: { ...gptOss20b, layers: 36, experts: 128 },
	},
	tiny: {
		summary: 'every part of the architecture in less than a megabyte, with a small vocabulary',
		name: 'tiny gpt-oss with random weights',
		vocabulary: 'small',
		shape: {
			architecture: 'gpt-oss',
			layers: 4,
			embedding: 96,
			heads: 6,
			headsKv: 2,
			headLength: 32,
			experts: 8,
			expertsUsed: 3,
			feedForward: 64,
			slidingWindow: 128,
			contextLength: 131_072,
			ropeScaling: 'yarn',
			tied: false,
			attentionType: 'Q8_0',
			feedForwardType: 'MXFP4',
		},
	},
	demo: {
		summary: 'completes a few functions and answers a few questions by heart, to try the editor with; 4 MB',
		name: 'Hearth demo',
		vocabulary: 'small',
		shape: demoShape,
	},
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof presets;
