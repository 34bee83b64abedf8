// Makes models of any architecture and size: the right tensors, metadata and vocabulary, with random weights. They take
// the same work as a real model of that size and need no download. The text that they write makes no sense.
import { loadNative } from '../../native/index';
import type { OutputTarget } from '../files/output-file';
import { type WriteOptions, writeGguf } from '../gguf/writer';
import { checkShape, type ModelShape, metadataOf, planTensors, type TensorPlan } from './architecture';
import { writeDemoModel } from './demo-model';
import { demoCorpus } from './demo-text';
import { type PresetName, presets, type VocabularyName } from './presets';
import { randomTensor } from './random-weights';
import { o200kVocabulary, trainedVocabulary } from './vocabulary';

interface SynthesizeOptions extends WriteOptions {
	/** Default: `tiny`. */
	preset?: PresetName;
	/** The same seed gives the same bytes on every machine. Default: 0. */
	seed?: number;
	/** Default: the preset's. */
	vocabulary?: VocabularyName;
	/** Sizes that replace those of the preset. */
	shape?: Partial<ModelShape>;
}

interface SynthesizeResult {
	fileBytes: number;
	tensorCount: number;
	parameterCount: number;
	vocabularySize: number;
}

/** The number of merges of the small vocabulary. */
const SMALL_MERGES = 500;

/** Whether `synthesize` has made a file, by the name of the model in it. */
export async function isSynthesized(file: string): Promise<boolean> {
	const name = (await loadNative().readGguf(file)).metadata.get('general.name');
	return name === presets.demo.name || (typeof name === 'string' && name.endsWith(' with random weights'));
}

/**
 * Writes a model to `file`. Memory holds a few chunks of it, whatever its size.
 * @throws an error naming the flag at fault where the sizes are impossible, or saying what went wrong with the file.
 */
export async function synthesize(
	file: string | OutputTarget,
	options: SynthesizeOptions = {},
): Promise<SynthesizeResult> {
	const preset = presets[options.preset ?? 'tiny'];
	const seed = options.seed ?? 0;
	if (options.preset === 'demo') {
		if (options.vocabulary || Object.keys(options.shape ?? {}).length > 0) {
			throw new Error('--preset demo has sizes and a vocabulary of its own');
		}
		const { plans, ...result } = await writeDemoModel(file, preset.name, seed, options);
		return { ...result, ...countOf(plans) };
	}
	const shape: ModelShape = { ...baseOf(preset.shape, options.shape?.architecture), ...options.shape };
	checkShape(shape);
	const vocabularyName = options.vocabulary ?? preset.vocabulary;
	const vocabulary = vocabularyName === 'o200k' ? await o200kVocabulary() : trainedVocabulary(demoCorpus, SMALL_MERGES);
	const vocabularySize = vocabulary.tokenTypes.length;
	const plans = planTensors(shape, vocabularySize);
	const fileBytes = await writeGguf(
		file,
		metadataOf(shape, vocabulary, preset.name.replace('gpt-oss', shape.architecture)),
		plans.map((plan) => randomTensor(plan, seed)),
		options,
	);
	return { fileBytes, vocabularySize, ...countOf(plans) };
}

/**
 * The sizes of a preset. For an architecture that is not the preset's, RoPE scaling and the type of the experts are
 * replaced, since only gpt-oss has them.
 */
function baseOf(shape: ModelShape, architecture: ModelShape['architecture'] = shape.architecture): ModelShape {
	return architecture === shape.architecture
		? shape
		: { ...shape, ropeScaling: 'none', feedForwardType: shape.attentionType };
}

function countOf(plans: TensorPlan[]): { tensorCount: number; parameterCount: number } {
	const parameterCount = plans.reduce((sum, plan) => sum + plan.shape.reduce((product, n) => product * n, 1), 0);
	return { tensorCount: plans.length, parameterCount };
}
