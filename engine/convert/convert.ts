// Makes one GGUF file of a Hugging Face folder (config.json, tokenizer.json, safetensors). The weights are streamed:
// memory holds a few chunks of them, whatever the model's size. No weight is written before the whole folder is known
// to be convertible and the file to be loadable.
import path from 'node:path';
import { type OutputTarget, outputTarget } from '../files/output-file';
import { stringTable } from '../gguf/string-table';
import type { TensorType } from '../gguf/tensor-types';
import { GgufFile, tensorBytes } from '../gguf/writer';
import { addSizes, architectureOf, readSizes } from './architectures';
import { checkLoads } from './check';
import { checkKeys } from './config-keys';
import { isEagle3, planEagle3 } from './eagle3';
import type { ConvertOptions } from './options';
import { BYTES_KEY, FILES_KEY, IDENTITY_KEY, identityOf, SOURCE_KEY } from './origin';
import { type Job, Plan } from './plan';
import { SafetensorsFolder } from './safetensors';
import { lookAgain, Sources } from './source-folder';
import { addTokenizer } from './tokenizer';

export interface ConvertResult {
	architecture: string;
	name: string;
	fileBytes: number;
	tensorCount: number;
}

/** How many jobs run at once. Reads of several shards overlap with each other and with the arithmetic. */
const LANES = 4;

/** llama.cpp's `general.file_type` for the tensor type that most of the file's bytes have. */
const FILE_TYPES: Partial<Record<TensorType, number>> = { F32: 0, F16: 1, Q8_0: 7, BF16: 32, MXFP4: 38 };

/**
 * Converts `folder` to a file, which appears under its name when it is complete. It replaces what lies there: the
 * caller has to know whether that is allowed.
 * @param to the file's name, or a place that `outputTarget` has checked.
 * @throws an error of one line naming the file, tensor or key that cannot be mapped, or the signal's reason. Nothing is
 * left behind.
 */
export async function convertFolder(
	folder: string,
	to: string | OutputTarget,
	options: ConvertOptions = {},
): Promise<ConvertResult> {
	const { signal, onProgress } = options;
	const sources = new Sources(folder, options.target);
	const config = await sources.folder.config();
	const head = isEagle3(config);
	const architecture = head ? 'eagle3' : architectureOf(config).name;
	if (!head) checkKeys(config, architecture);
	// sentence-transformers adds this file to embedding models of the same class.
	if ((await sources.folder.text('modules.json'))?.includes('.Pooling')) {
		throw new Error(`${folder} makes embeddings and does not write`);
	}
	const source = await SafetensorsFolder.open(sources.folder);
	try {
		const name = modelName(folder);
		const mxfp4 = [...source.tensors.keys()].some((tensor) => tensor.endsWith('_blocks'));
		const plan = new Plan(source, options.weights ?? (head || mxfp4 ? 'q8_0' : 'keep'));
		plan.metadata.set('general.architecture', { type: 'string', value: architecture });
		plan.metadata.set('general.type', { type: 'string', value: 'model' });
		plan.metadata.set('general.name', { type: 'string', value: name });
		plan.metadata.set('general.quantization_version', { type: 'u32', value: 2 });
		if (head) {
			await planEagle3(plan, config, sources, options.target);
		} else {
			const sizes = readSizes(config);
			addSizes(plan.metadata, architecture, config, sizes);
			architectureOf(config).plan(plan, config, sizes);
			plan.finish();
			await addTokenizer(plan.metadata, sources.folder, config, sizes.vocabulary);
		}
		plan.finish();
		plan.metadata.set('general.file_type', { type: 'u32', value: fileType(plan) });
		const digest = sources.digest(choicesOf(options));
		plan.metadata.set(SOURCE_KEY, { type: 'string', value: digest });
		plan.metadata.set(FILES_KEY, { type: 'strings', value: stringTable(sources.names) });
		plan.metadata.set(IDENTITY_KEY, { type: 'string', value: await identityOf(folder, options) });
		const bytes = plan.tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
		plan.metadata.set(BYTES_KEY, { type: 'u64', value: bytes });
		signal?.throwIfAborted();
		const target = typeof to === 'string' ? await outputTarget(to) : to;
		if (target.found && (await sources.includes(target.found))) {
			throw new Error(`cannot write ${target.file}: it is one of the files that are converted`);
		}
		const output = await GgufFile.create(target, plan.metadata, plan.tensors, onProgress ? { onProgress } : {});
		try {
			const made = (job: Job) => job.shard === '';
			await runJobs(plan.jobs.filter(made), output, signal);
			await checkLoads(output.unfinishedPath, head, options.target).catch((error: Error) => {
				const reason = error.message.replace(`${output.unfinishedPath}: `, '').replaceAll(output.unfinishedPath, 'it');
				throw new Error(`${folder} would become a file that Hearth cannot load: ${reason}`);
			});
			await runJobs(byTurns(plan.jobs.filter((job) => !made(job))), output, signal);
			const now = await lookAgain(folder, options.target, sources.names);
			if (now.digest(choicesOf(options)) !== digest) {
				throw new Error(`${folder} was changed while it was converted; convert it again`);
			}
			await output.commit();
		} catch (error) {
			await output.discard();
			throw output.explain(error);
		}
		return { architecture, name, fileBytes: output.totalBytes, tensorCount: plan.tensors.length };
	} finally {
		await source.close();
	}
}

/** The choices that decide what the file holds, beside what was read. */
export function choicesOf({ weights, target }: ConvertOptions): unknown {
	return [weights ?? null, target ?? null];
}

/**
 * A model's name: the name of its folder, or in Hugging Face's cache (models--OWNER--NAME/snapshots/HASH) that of the
 * repository.
 */
export function modelName(folder: string): string {
	const parts = path.resolve(folder).split(path.sep);
	const cached = parts.at(-2) === 'snapshots' ? parts.at(-3)?.match(/^models--.+?--(.+)$/)?.[1] : undefined;
	return cached ?? parts.at(-1) ?? 'model';
}

function fileType(plan: Plan): number {
	const bytes = new Map<TensorType, number>();
	for (const tensor of plan.tensors) bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensorBytes(tensor));
	if (bytes.has('MXFP4')) return FILE_TYPES.MXFP4!;
	const [[type]] = [...bytes].sort((a, b) => b[1] - a[1]) as [[TensorType, number]];
	return FILE_TYPES[type] ?? 0;
}

/** Orders jobs so that each takes the next shard in turn. Neighbouring jobs then read different files. */
function byTurns(jobs: readonly Job[]): Job[] {
	const shards = new Map<string, Job[]>();
	for (const job of jobs) shards.set(job.shard, [...(shards.get(job.shard) ?? []), job]);
	const queues = [...shards.values()].map((queue) => queue.values());
	const order: Job[] = [];
	while (order.length < jobs.length) {
		for (const queue of queues) {
			const { value } = queue.next();
			if (value) order.push(value);
		}
	}
	return order;
}

async function runJobs(jobs: readonly Job[], output: GgufFile, signal: AbortSignal | undefined): Promise<void> {
	// The first failure stops the other lanes, too. All of them have ended before the caller removes the file.
	const failed = new AbortController();
	const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
	const queue = jobs.values();
	const lane = async () => {
		for (const job of queue) {
			stop.throwIfAborted();
			try {
				await job.run(output, stop);
			} catch (error) {
				failed.abort(error);
				throw error;
			}
		}
	};
	const results = await Promise.allSettled(Array.from({ length: LANES }, lane));
	signal?.throwIfAborted();
	failed.signal.throwIfAborted();
	for (const result of results) if (result.status === 'rejected') throw result.reason;
}
