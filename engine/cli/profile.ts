// `hearth profile MODEL`: shows where the time of prefill and decode steps goes, as a table and as a trace file.
import { setMaxListeners } from 'node:events';
import {
	isTrace,
	type OperationTime,
	operationTimes,
	type ProfiledStep,
	Profiler,
	traceOf,
} from '../benchmark/profiler';
import { writeOutputFile } from '../files/output-file';
import { openModel } from '../loading/open-model';
import { table } from '../text-table';
import { integerOption, parseCommandLine, UsageError, withInterrupt, writeJson, writeOutput } from './command';
import { MODEL_OPTIONS, MODEL_OPTIONS_HELP, modelOptions } from './model-options';
import { OVERWRITE_OPTION, overwriteHelp, reportOption } from './output-option';

const DEFAULTS = { prompt: 512, generate: 32, batch: 1 };

const HELP = `usage: hearth profile MODEL [options]

Runs a prompt and some decode steps of random tokens, and prints the time of each operation, summed over the layers.

  --prompt N       tokens of each stream's prompt (default ${DEFAULTS.prompt})
  --generate N     tokens each stream generates (default ${DEFAULTS.generate}; 0: only the prompt)
  --batch N        streams (default ${DEFAULTS.batch})
  --out FILE       also write a trace of all steps; open it in https://ui.perfetto.dev or chrome://tracing
${overwriteHelp('FILE')}
  --no-repack      profile the weights as the file has them, not in the faster layout
${MODEL_OPTIONS_HELP}
  --json           print the table as JSON
`;

const OPTIONS = {
	...MODEL_OPTIONS,
	prompt: { type: 'string' },
	generate: { type: 'string' },
	batch: { type: 'string' },
	out: { type: 'string' },
	...OVERWRITE_OPTION,
	'no-repack': { type: 'boolean' },
	json: { type: 'boolean' },
} as const;

interface Phase {
	phase: 'prefill' | 'decode';
	steps: number;
	rows: number;
	milliseconds: number;
	operations: OperationTime[];
}

export async function profile(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, HELP, OPTIONS, ['MODEL']);
	const prompt = integerOption('prompt', values.prompt, 1) ?? DEFAULTS.prompt;
	const generate = integerOption('generate', values.generate, 0) ?? DEFAULTS.generate;
	const batch = integerOption('batch', values.batch, 1, 4096) ?? DEFAULTS.batch;
	if (values.out === '') throw new UsageError('--out is empty');
	const place = values.out === undefined ? undefined : await reportOption(values.out, values.overwrite, isTrace);
	const profiler = new Profiler();
	await withInterrupt(async (signal) => {
		setMaxListeners(0, signal); // each stream adds a listener
		const stream = prompt + generate + 1;
		const { engine } = await openModel(positionals[0]!, {
			...modelOptions(values),
			contextTokens: stream,
			// A stream's last block is rarely full. 64 positions are more than any block has.
			cacheTokens: batch * (Math.ceil(stream / 64) + 1) * 64,
			...{ maxRunning: batch, maxWaiting: batch, latencyBudget: Number.POSITIVE_INFINITY },
			repack: !values['no-repack'],
			instrument: (model) => profiler.instrument(model),
		});
		try {
			const random = (count: number) =>
				Array.from({ length: count }, () => Math.floor(Math.random() * engine.info.vocabularySize));
			const run = (streams: number, tokens: number, maxTokens: number) =>
				Promise.all(
					Array.from({ length: streams }, () =>
						engine.generate({
							...{ tokens: random(tokens), maxTokens, forced: random(maxTokens), signal },
							...{ priority: 'benchmark', speculation: false },
						}),
					),
				);
			await engine.finishRepacking();
			// The first pass must read weights from the disk, and that time belongs to no operation.
			await run(1, Math.min(prompt, 64), 1);
			profiler.steps.length = 0;
			await run(batch, prompt, generate);
		} finally {
			await engine.close();
		}
	});
	const { steps } = profiler;
	// A decode step has one row for each sequence. A prompt of one token counts as decoded.
	const isDecode = ({ rows, sequences }: ProfiledStep) => rows === sequences;
	const phases = [
		phaseOf(
			'prefill',
			steps.filter((step) => !isDecode(step)),
		),
		phaseOf('decode', steps.filter(isDecode)),
	].filter(({ steps: count }) => count > 0);
	if (place) await writeOutputFile(place, JSON.stringify(traceOf(steps)));
	if (values.json) await writeJson({ phases });
	else
		await writeOutput(`${phases.map(render).join('\n')}${values.out === undefined ? '' : `\ntrace: ${values.out}\n`}`);
}

function phaseOf(phase: Phase['phase'], steps: ProfiledStep[]): Phase {
	const sum = (value: (step: ProfiledStep) => number) => steps.reduce((total, step) => total + value(step), 0);
	return {
		...{ phase, steps: steps.length, rows: sum(({ rows }) => rows), milliseconds: sum((step) => step.milliseconds) },
		operations: operationTimes(steps),
	};
}

function render({ phase, steps, rows, milliseconds, operations }: Phase): string {
	const speed = (rows / milliseconds) * 1000;
	const lines = operations.map(({ operation, milliseconds: time, share }) => [
		...[operation, time.toFixed(1), (time / steps).toFixed(3), (time / rows).toFixed(4), (share * 100).toFixed(1)],
	]);
	return [
		`${phase}: ${steps} steps, ${rows} rows, ${milliseconds.toFixed(1)} ms, ${speed.toFixed(2)} rows/s`,
		...table([['operation', 'ms', 'ms a step', 'ms a row', '%'], ...lines]),
		'',
	].join('\n');
}
