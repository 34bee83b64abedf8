// `hearth logits MODEL`: writes the logits of every position of a token sequence, for comparing engines.
import { stat } from 'node:fs/promises';
import { type CacheType, loadNative, type NativeCache, type NativeModel } from '../../native/index';
import { type OutputTarget, PartialFile } from '../files/output-file';
import { checkReadable } from '../models/header';
import {
	integerOption,
	parseCommandLine,
	parseTokenIds,
	readStandardInput,
	UsageError,
	withInterrupt,
	writeJson,
} from './command';
import { CACHE_OPTIONS, CACHE_OPTIONS_HELP, MODEL_OPTIONS, MODEL_OPTIONS_HELP, modelOptions } from './model-options';
import { OVERWRITE_OPTION, outputOption, overwriteHelp } from './output-option';

const HELP = `usage: hearth logits MODEL --tokens 1,2,3 --out FILE [options]

Writes the logits after each of the tokens: little-endian float32, one row of vocabulary size a position. The ids are
taken as they are; nothing is added.

  --tokens IDS     token ids separated by commas or spaces; "-" reads them from standard input
  --out FILE       where to write
${overwriteHelp('FILE')}
  --batch N        rows a step (default 32)
${MODEL_OPTIONS_HELP}
${CACHE_OPTIONS_HELP}
  --json           print a summary as JSON
`;

export async function logits(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(
		args,
		HELP,
		{
			...MODEL_OPTIONS,
			...CACHE_OPTIONS,
			tokens: { type: 'string' },
			out: { type: 'string' },
			...OVERWRITE_OPTION,
			batch: { type: 'string' },
			json: { type: 'boolean' },
		},
		['MODEL'],
	);
	if (values.tokens === undefined) throw new UsageError('--tokens is missing');
	if (values.out === undefined) throw new UsageError('--out is missing');
	const rowsPerStep = integerOption('batch', values.batch, 1, 4096) ?? 32;
	const { cacheType, rope = 'reference', ...options } = modelOptions(values);
	const tokens = parseTokenIds('--tokens', values.tokens === '-' ? String(await readStandardInput()) : values.tokens);

	const file = positionals[0]!;
	await checkReadable(file);
	const model = await loadNative().openModel(file, { ...options, rope });
	let cache: NativeCache | undefined;
	try {
		const { info } = model;
		if (tokens.length > info.contextLength) {
			throw new Error(`${tokens.length} tokens are more than the model's context of ${info.contextLength}`);
		}
		// A file that consists of whole rows of this vocabulary counts as one that an earlier run has written.
		const isOurs = async (out: string) => (await stat(out)).size % (4 * info.vocabularySize) === 0;
		const place = await outputOption(values.out, values.overwrite, isOurs);
		cache = createCache(model, tokens.length, cacheType);
		const milliseconds = await writeLogits(model, cache, tokens, rowsPerStep, place);
		if (values.json) {
			await writeJson({
				out: values.out,
				rows: tokens.length,
				vocabularySize: info.vocabularySize,
				kernels: info.kernels,
				threads: info.threads,
				rope,
				cacheType: cacheType ?? 'default',
				milliseconds,
			});
		}
	} finally {
		cache?.close();
		model.close();
	}
}

function createCache(model: NativeModel, positions: number, type?: CacheType): NativeCache {
	const options = type && { type };
	const probe = model.createCache({ blocks: 1, ...options });
	const blocks = Math.ceil(positions / probe.blockTokens);
	probe.close();
	return model.createCache({ blocks, ...options });
}

/** Runs `rowsPerStep` tokens at a time and appends the rows of each step to the file, so memory holds only one step. */
async function writeLogits(
	model: NativeModel,
	cache: NativeCache,
	tokens: number[],
	rowsPerStep: number,
	place: OutputTarget,
): Promise<number> {
	const blockTable = Int32Array.from({ length: cache.blockCount }, (_, block) => block);
	const file = await PartialFile.create(place);
	try {
		const milliseconds = await withInterrupt(async (signal) => {
			let milliseconds = 0;
			for (let start = 0; start < tokens.length && !signal.aborted; start += rowsPerStep) {
				const rows = Math.min(rowsPerStep, tokens.length - start);
				const result = await model.step(cache, {
					tokens: Int32Array.from(tokens.slice(start, start + rows)),
					positions: Int32Array.from({ length: rows }, (_, row) => start + row),
					sequences: new Int32Array(rows),
					blockTables: [blockTable],
					outputs: Int32Array.from({ length: rows }, (_, row) => row),
					logits: true,
				});
				milliseconds += result.milliseconds;
				const data = result.logits!;
				// All platforms that Hearth runs on are little-endian, as the format wants.
				await file.handle.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
			}
			return milliseconds;
		});
		await file.place();
		return milliseconds;
	} catch (error) {
		await file.discard();
		throw error;
	}
}
