// `hearth bench MODEL`: measures load time, first forward pass, prefill, decode, batches, speculation and memory, and
// llama.cpp beside them if wanted.
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { checkBars } from '../benchmark/bars';
import { runBenchmark } from '../benchmark/benchmark';
import { countSteps } from '../benchmark/count';
import { renderCounts } from '../benchmark/count-table';
import {
	ALL_DEFAULTS,
	BENCHMARK_DEFAULTS,
	BENCHMARK_TESTS,
	type BenchmarkOptions,
	benchmarkDemand,
} from '../benchmark/options';
import { mergeRounds, type PeerAnswer, peerRound, peerVersion } from '../benchmark/peer';
import type { BenchmarkReport, BenchmarkTest } from '../benchmark/report';
import { isReport } from '../benchmark/report';
import { renderBars, renderMarkdown, renderReport } from '../benchmark/table';
import { writeOutputFile } from '../files/output-file';
import { openModel } from '../loading/open-model';
import { checkReadable } from '../models/header';
import { messageOf } from '../quote';
import { SETTINGS } from '../settings';
import { synthesize } from '../synth/synthesize';
import {
	choiceOption,
	integerOption,
	parseCommandLine,
	UsageError,
	withInterrupt,
	writeJson,
	writeOutput,
} from './command';
import { requireDraft } from './engine-options';
import { MODEL_OPTIONS, MODEL_OPTIONS_HELP, modelOptions } from './model-options';
import { OVERWRITE_OPTION, overwriteHelp, reportOption } from './output-option';

const HELP = `usage: hearth bench MODEL [options]
       hearth bench [MODEL] --backend metal --count [--json]

Measures load time, one forward pass, prefill, decode, a batch of streams with random tokens, and memory; in the same run
the read bandwidth and the arithmetic peak of what computes, the CPU or the GPU. Prints a table in llama-bench's manner:
mean ± standard deviation.

  --all            measure everything: also time by prompt and batch size, decoding behind a long context, steps that
                   verify drafts, a recorded code edit with speculation, and the first token with a warm cache
  --tests A,B…     only these: ${BENCHMARK_TESTS.join(', ')}
  --prompt N,…     prompt lengths (default ${BENCHMARK_DEFAULTS.prompt}, with --all ${ALL_DEFAULTS.prompt}; 0: skip)
  --generate N     tokens of the decode tests (default ${BENCHMARK_DEFAULTS.generate}; 0: skip)
  --batch N,…      streams of the batch tests (default ${BENCHMARK_DEFAULTS.batch}, with --all ${ALL_DEFAULTS.batch}; 0: skip)
  --length N       tokens a stream (default ${BENCHMARK_DEFAULTS.length})
  --depth N,…      context lengths of the depth test (default ${BENCHMARK_DEFAULTS.depth})
  --repeat N       samples a test (default ${BENCHMARK_DEFAULTS.repeat})
  --count          with Metal: count launches, barriers and bytes of steps instead of measuring, without running any; without
                   MODEL for gpt-oss-20b's shape
  --peer llama.cpp measure llama.cpp too (npm package node-llama-cpp), a round of each in turn
  --draft FILE     a draft head of the model, or a smaller model, that guesses ahead where a test speculates
  --no-repack      measure the weights as the file has them, not in the faster layout
${MODEL_OPTIONS_HELP}
  --save FILE      keep the report, as JSON
${overwriteHelp('FILE')}
  --compare FILE   show the speed over that of a report kept earlier
  --bars           check the project's bars, too; with --strict one that is missed is an error
  --markdown       print for an issue or a chat message
  --json           print the whole report as JSON
`;

const OPTIONS = {
	...MODEL_OPTIONS,
	all: { type: 'boolean' },
	tests: { type: 'string' },
	prompt: { type: 'string' },
	generate: { type: 'string' },
	batch: { type: 'string' },
	length: { type: 'string' },
	depth: { type: 'string' },
	repeat: { type: 'string' },
	count: { type: 'boolean' },
	peer: { type: 'string' },
	draft: { type: 'string' },
	'no-repack': { type: 'boolean' },
	save: { type: 'string' },
	...OVERWRITE_OPTION,
	compare: { type: 'string' },
	bars: { type: 'boolean' },
	strict: { type: 'boolean' },
	markdown: { type: 'boolean' },
	json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof OPTIONS>>['values'];

export async function bench(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, HELP, OPTIONS, ['[MODEL]']);
	if (values.count) return count(positionals[0], values);
	const options = benchmarkOptions(values);
	const peer = choiceOption('peer', values.peer, ['llama.cpp']);
	const [file] = positionals;
	if (file === undefined) throw new UsageError('MODEL is missing');
	await checkReadable(file);
	const earlier = values.compare === undefined ? undefined : await readReport(values.compare);
	const place = values.save === undefined ? undefined : await reportOption(values.save, values.overwrite, isReportText);
	const measure = async (signal: AbortSignal, repeat: number, done: number): Promise<BenchmarkReport> => {
		const model = await openModel(file, {
			...modelOptions(values),
			...benchmarkDemand(options),
			maxRunning: Math.max(1, ...options.batch),
			maxWaiting: Math.max(1, ...options.batch),
			// No other request waits for a step here.
			latencyBudget: Number.POSITIVE_INFINITY,
			repack: options.repack,
			...(values.draft !== undefined && { draftModelPath: values.draft }),
		});
		await requireDraft(model);
		try {
			return await runBenchmark({
				...{ model, signal, fresh: true, options: { ...options, repeat } },
				onProgress: (fraction, test) => showProgress(done + (fraction * repeat) / options.repeat, test),
			});
		} finally {
			await model.engine.close();
		}
	};
	const report = await withInterrupt(async (signal) => {
		if (!peer) {
			await warmFile(file, signal);
			return measure(signal, options.repeat, 0);
		}
		await peerVersion(signal);
		const ours: BenchmarkReport[] = [];
		const theirs: PeerAnswer[] = [];
		for (let round = 0; round < options.repeat; round++) {
			await warmFile(file, signal);
			ours.push(await measure(signal, 1, round / options.repeat));
			await warmFile(file, signal);
			showProgress((round + 0.5) / options.repeat, peer);
			theirs.push(await peerRound({ model: path.resolve(file), threads: ours[round]!.threads, options }, signal));
		}
		return mergeRounds(ours, theirs);
	});
	if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
	if (place) await writeOutputFile(place, `${JSON.stringify(report, null, 2)}\n`);
	const bars = values.bars || values.strict ? checkBars(report) : [];
	if (values.json) await writeJson(report);
	else await writeOutput(values.markdown ? renderMarkdown(report, earlier) : renderReport(report, earlier));
	if (bars.length > 0 && !values.json) await writeOutput(`\n${renderBars(bars)}`);
	const short = bars.filter(({ ok }) => !ok);
	if (values.strict && short.length > 0) {
		throw new Error(`${short.length} of ${bars.length} bars missed: ${short.map(({ what }) => what).join('; ')}`);
	}
}

/**
 * Counts the steps of a model. Without a model, it counts those of a temporary file that has gpt-oss-20b's shape and
 * only a header.
 */
async function count(given: string | undefined, values: Values): Promise<void> {
	const { choices } = SETTINGS.backend;
	const backend = choiceOption('backend', values.backend, choices);
	if (backend === 'cpu') {
		const gpus = choices.filter((id) => id !== 'cpu' && id !== 'auto');
		throw new UsageError(`--count counts the launches of --backend ${gpus.join(' or ')}`);
	}
	const print = async (file: string) => {
		const report = await countSteps(file, backend);
		await (values.json ? writeJson(report) : writeOutput(renderCounts(report)));
	};
	if (given !== undefined) {
		await checkReadable(given);
		return print(given);
	}
	const folder = await mkdtemp(path.join(os.tmpdir(), 'hearth-count-'));
	try {
		const file = path.join(folder, '20b.gguf');
		await synthesize(file, { preset: '20b', sparse: true });
		await print(file);
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
}

function benchmarkOptions(values: Values): BenchmarkOptions {
	if (values.all && values.tests !== undefined) throw new UsageError('give one of --all and --tests');
	if (values.json && values.markdown) throw new UsageError('give one of --json and --markdown');
	const defaults = values.all ? ALL_DEFAULTS : BENCHMARK_DEFAULTS;
	return {
		tests: values.tests === undefined ? defaults.tests : testsOption(values.tests),
		prompt: integersOption('prompt', values.prompt, 0) ?? defaults.prompt,
		generate: integerOption('generate', values.generate, 0) ?? defaults.generate,
		batch: integersOption('batch', values.batch, 0, 4096) ?? defaults.batch,
		length: integerOption('length', values.length, 1) ?? defaults.length,
		depth: integersOption('depth', values.depth, 0) ?? defaults.depth,
		repeat: integerOption('repeat', values.repeat, 1, 1000) ?? defaults.repeat,
		repack: !values['no-repack'],
		fit: defaults.fit,
	};
}

function testsOption(text: string): BenchmarkTest[] {
	return text.split(',').map((name) => choiceOption('tests', name.trim(), BENCHMARK_TESTS)!);
}

function integersOption(name: string, text: string | undefined, minimum: number, maximum?: number) {
	return text?.split(',').map((part) => integerOption(name, part, minimum, maximum)!);
}

async function readReport(file: string): Promise<BenchmarkReport> {
	let value: unknown;
	try {
		value = JSON.parse(await readFile(file, 'utf8'));
	} catch (error) {
		throw new Error(`cannot compare with ${file}: ${messageOf(error)}`);
	}
	if (!isReport(value)) throw new Error(`cannot compare with ${file}: it is no benchmark report`);
	return value;
}

const isReportText = (text: string) => isReport(JSON.parse(text));

/**
 * Reads the file once, so that loading is measured with the file in the system's cache. A file that would not fit there
 * is not read.
 */
async function warmFile(file: string, signal: AbortSignal): Promise<void> {
	if ((await stat(file)).size > os.totalmem() * 0.8) return;
	showProgress(0, 'reading the file');
	for await (const _ of createReadStream(file, { highWaterMark: 8 << 20, signal }));
}

function showProgress(fraction: number, what: string): void {
	if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${Math.round(fraction * 100)} % ${what}`);
}
