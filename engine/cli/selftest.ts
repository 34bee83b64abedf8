// `hearth selftest`: tests every kernel of this machine against plain references and measures its speed. The report can
// be attached to a bug report.
import { loadNative } from '../../native/index';
import { writeOutputFile } from '../files/output-file';
import { checkReadable } from '../models/header';
import { isSelfTest, renderSelfTest } from '../selftest/render';
import { failures, runSelfTest } from '../selftest/selftest';
import { turnOn } from '../selftest/verdict';
import { SETTINGS } from '../settings';
import { choiceOption, integerOption, parseCommandLine, withInterrupt, writeJson, writeOutput } from './command';
import { OVERWRITE_OPTION, overwriteHelp, reportOption } from './output-option';

const HELP = `usage: hearth selftest [MODEL] [options]

Runs every kernel on random inputs against a plain reference, on the CPU and, where there is one, on the GPU; then a small model,
and MODEL on Metal against the CPU if one is given. Prints a report with the error and the speed of each kernel. Where Metal
computes wrongly it is turned off: "--backend auto" then means the CPU until a self-test passes.

  --backend B      ${SETTINGS.backend.choices.join(', ')}: what to test (default auto: all there is)
  --quick          small shapes: a few seconds, but speeds that mean little
  --seed N         seed of the random inputs (default 1)
  --turn-on        only forget what an earlier self-test found: auto uses Metal again
  --save FILE      also write the report to a file (JSON if its name ends so, else Markdown)
${overwriteHelp('FILE')}
  --json           print the report as JSON
`;

const OPTIONS = {
	backend: { type: 'string' },
	quick: { type: 'boolean' },
	seed: { type: 'string' },
	'turn-on': { type: 'boolean' },
	save: { type: 'string' },
	...OVERWRITE_OPTION,
	json: { type: 'boolean' },
} as const;

export async function selftest(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, HELP, OPTIONS, ['[MODEL]']);
	const backend = choiceOption('backend', values.backend, SETTINGS.backend.choices) ?? SETTINGS.backend.default;
	const seed = integerOption('seed', values.seed, 0) ?? 1;
	if (values['turn-on']) {
		const gpus = loadNative()
			.devices()
			.filter(({ kind }) => kind === 'gpu');
		for (const gpu of gpus) turnOn(gpu);
		const effects = gpus.map(({ name, hardware, reason }) =>
			reason === undefined ? `auto uses ${name} on ${hardware}` : `there is no ${name} here: ${reason}`,
		);
		await writeOutput(`The verdict of earlier self-tests is forgotten; ${effects.join('; ')}.\n`);
		return;
	}
	const model = positionals[0];
	if (model !== undefined) await checkReadable(model);
	const place = values.save === undefined ? undefined : await reportOption(values.save, values.overwrite, isSelfTest);
	const report = await withInterrupt((signal) =>
		runSelfTest({
			...{ backend, seed, signal, quick: values.quick === true },
			...(model !== undefined && { model }),
			onProgress: (what, done) => {
				if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${done} checks, ${what}`);
			},
		}),
	);
	if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
	const markdown = renderSelfTest(report);
	const json = `${JSON.stringify(report, null, 2)}\n`;
	if (place) await writeOutputFile(place, place.file.endsWith('.json') ? json : markdown);
	if (values.json) await writeJson(report);
	else await writeOutput(markdown);
	const wrong = failures(report).length;
	if (wrong > 0)
		throw new Error(`${wrong} ${wrong === 1 ? 'check' : 'checks'} failed; please attach the report to a bug`);
}
