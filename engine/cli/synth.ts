// `hearth synth`: writes a model with random weights.
import { type MatrixType, matrixTypes } from '../gguf/tensor-types';
import { architectures, type ModelShape, ropeScalings } from '../synth/architecture';
import { type PresetName, presets } from '../synth/presets';
import { isSynthesized, synthesize } from '../synth/synthesize';
import {
	choiceOption,
	integerOption,
	parseCommandLine,
	UsageError,
	withInterrupt,
	writeJson,
	writeOutput,
} from './command';
import { OVERWRITE_OPTION, outputOption, overwriteHelp } from './output-option';
import { progressLine } from './progress';

const presetNames = Object.keys(presets) as PresetName[];

const matrixTypeNames = matrixTypes.map((type) => type.toLowerCase());

const help = `usage: hearth synth OUT [options]

Writes a model (GGUF) with seeded random weights: the work of a real model of that size without a download.

  --preset NAME          sizes to start from (default: tiny)
${presetNames.map((name) => `                           ${name.padEnd(6)}${presets[name].summary}`).join('\n')}
  --architecture NAME    ${architectures.join(', ')} (default: the preset's)
  --seed N               the same seed gives the same bytes everywhere (default: 0)
  --vocab o200k|small    vocabulary: gpt-oss's own, or some 800 tokens (default: the preset's)
  --layers N  --embedding N  --heads N  --kv-heads N  --head-length N
  --experts N  --experts-used N  --ffn N  --window N  --context N
                         replace single sizes of the preset
  --attention-type T     type of the attention and embedding matrices (default: q8_0):
                         ${matrixTypeNames.join(', ')}
  --ffn-type T           type of the feed-forward's matrices, the experts' or the dense ones (default: mxfp4;
                         for architectures other than the preset's: q8_0)
  --rope-scaling KIND    ${ropeScalings.join(', ')} (default: yarn for gpt-oss, else none)
  --tied                 the embedding is the output matrix, too; not for gpt-oss
  --sparse               only the header, the weights a hole in the file: enough for "hearth bench --count" and "hearth info"
${overwriteHelp('OUT').replace('--overwrite ', '--overwrite       ')}
  --json                 print a summary as JSON
`;

const sizeFlags = {
	layers: 'layers',
	embedding: 'embedding',
	heads: 'heads',
	'kv-heads': 'headsKv',
	'head-length': 'headLength',
	experts: 'experts',
	'experts-used': 'expertsUsed',
	ffn: 'feedForward',
	window: 'slidingWindow',
	context: 'contextLength',
} as const satisfies Record<string, keyof ModelShape>;

const text = { type: 'string' } as const;

/** Runs `hearth synth`. */
export async function synth(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(
		args,
		help,
		{
			preset: text,
			seed: text,
			vocab: text,
			layers: text,
			embedding: text,
			heads: text,
			'kv-heads': text,
			'head-length': text,
			experts: text,
			'experts-used': text,
			ffn: text,
			window: text,
			context: text,
			'attention-type': text,
			'ffn-type': text,
			architecture: text,
			'rope-scaling': text,
			tied: { type: 'boolean' },
			sparse: { type: 'boolean' },
			json: { type: 'boolean' },
			...OVERWRITE_OPTION,
		},
		['OUT'],
	);
	const file = positionals[0]!;
	const shape: Partial<ModelShape> = {};
	for (const [flag, key] of Object.entries(sizeFlags) as [
		keyof typeof sizeFlags,
		(typeof sizeFlags)[keyof typeof sizeFlags],
	][]) {
		const value = integerOption(flag, values[flag], 1);
		if (value !== undefined) shape[key] = value;
	}
	for (const [flag, key] of [
		['attention-type', 'attentionType'],
		['ffn-type', 'feedForwardType'],
	] as const) {
		const type = choiceOption(flag, values[flag]?.toLowerCase(), matrixTypeNames);
		if (type) shape[key] = type.toUpperCase() as MatrixType;
	}
	const architecture = choiceOption('architecture', values.architecture, architectures);
	if (architecture) shape.architecture = architecture;
	const ropeScaling = choiceOption('rope-scaling', values['rope-scaling'], ropeScalings);
	if (ropeScaling) shape.ropeScaling = ropeScaling;
	if (values.tied) shape.tied = true;
	const preset = choiceOption('preset', values.preset, presetNames);
	const vocabulary = choiceOption('vocab', values.vocab, ['o200k', 'small']);
	const seed = integerOption('seed', values.seed, 0);
	if (file === '') throw new UsageError('OUT is empty');
	const place = await outputOption(file, values.overwrite, isSynthesized);

	const started = performance.now();
	const result = await withInterrupt((signal) =>
		synthesize(place, {
			...(preset && { preset }),
			...(seed !== undefined && { seed }),
			...(vocabulary && { vocabulary }),
			shape,
			sparse: values.sparse === true,
			signal,
			onProgress: progressLine(),
		}),
	);
	const seconds = (performance.now() - started) / 1000;
	if (values.json) {
		await writeJson({ file, seconds, ...result });
	} else {
		await writeOutput(
			`${file}: ${result.fileBytes} bytes, ${result.tensorCount} tensors, ${(result.parameterCount / 1e6).toFixed(1)} M parameters, ` +
				`${result.vocabularySize} tokens, in ${seconds.toFixed(1)} s\n`,
		);
	}
}
