// `hearth convert FOLDER OUT.gguf`: converts a Hugging Face folder to one GGUF file.
import { convertFolder } from '../convert/convert';
import { readOrigin } from '../convert/origin';
import { WEIGHT_CHOICES } from '../convert/plan';
import { choiceOption, parseCommandLine, UsageError, withInterrupt, writeJson } from './command';
import { OVERWRITE_OPTION, outputOption, overwriteHelp } from './output-option';
import { progressLine } from './progress';

const HELP = `usage: hearth convert FOLDER OUT.gguf [options]

Converts a Hugging Face model to GGUF. FOLDER has config.json, tokenizer.json and model.safetensors (or its shards with an
index). gpt-oss, llama, qwen2, qwen3 and EAGLE-3 draft heads can be converted; what cannot be mapped is named. Memory stays
below 500 MB whatever the model's size.

  --type T         what matrices become: keep (as the folder has them), f16, bf16 or q8_0
                   (default: keep; q8_0 beside MXFP4 experts, as in the published gpt-oss, and for draft heads).
                   Experts in MXFP4 stay so; norms, biases and routers are F32
  --target MODEL   for a draft head: the model it drafts for, a folder or a GGUF file; its tokenizer is copied
${overwriteHelp('OUT.gguf')}
  --json           print a summary as JSON
`;

/** Runs `hearth convert`. */
export async function convert(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(
		args,
		HELP,
		{ type: { type: 'string' }, target: { type: 'string' }, json: { type: 'boolean' }, ...OVERWRITE_OPTION },
		['FOLDER', 'OUT.gguf'],
	);
	const weights = choiceOption('type', values.type, WEIGHT_CHOICES);
	const [folder, out] = positionals as [string, string];
	if (folder === '' || out === '') throw new UsageError(`${folder === '' ? 'FOLDER' : 'OUT.gguf'} is empty`);
	const place = await outputOption(out, values.overwrite, async (file) => (await readOrigin(file)) !== undefined);
	const started = performance.now();
	const result = await withInterrupt((signal) =>
		convertFolder(folder, place, {
			...(weights !== undefined && { weights }),
			...(values.target !== undefined && { target: values.target }),
			onProgress: progressLine(),
			signal,
		}),
	);
	const seconds = (performance.now() - started) / 1000;
	if (values.json) {
		await writeJson({ file: out, ...result, seconds });
	} else {
		process.stderr.write(
			`${out}: ${result.name} (${result.architecture}), ${(result.fileBytes / 1e9).toFixed(2)} GB, ` +
				`${result.tensorCount} tensors, in ${seconds.toFixed(1)} s\n`,
		);
	}
}
