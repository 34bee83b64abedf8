// The self-test's report as Markdown: for the terminal, an editor, and to attach to a bug.
import { table } from '../benchmark/table';
import type { SelfTestReport } from '../protocol';
import { failures, namesOf } from './selftest';

/** The verdict in one or two sentences. */
export function selfTestSummary(report: SelfTestReport): string {
	const wrong = failures(report);
	const total = report.kernels.length + report.models.length;
	const result =
		wrong.length === 0
			? `All ${total} checks passed.`
			: `${wrong.length} of ${total} checks FAILED (${namesOf(wrong)}). Please attach this report to a bug.`;
	return `${result} ${metalLine(report.metal)}`;
}

function metalLine({ state, device, reason }: SelfTestReport['metal']): string {
	switch (state) {
		case 'ok':
			return `Metal computes correctly on ${device}.`;
		case 'on-again':
			return `Metal computes correctly on ${device} and is turned on again.`;
		case 'off':
			return `Metal is turned off: the CPU computes until a self-test passes, or the backend is set to "metal".`;
		case 'absent':
			return `Metal is not used: ${reason ?? 'it is not there'}.`;
		case 'untested':
			return 'Metal was not tested.';
	}
}

export function renderSelfTest(report: SelfTestReport): string {
	const { machine, kernels, models } = report;
	const speed = (amount: number, milliseconds: number) =>
		amount > 0 && milliseconds > 0 ? (amount / milliseconds / 1e6).toFixed(1) : '';
	const kernelRows = kernels.map((check) => [
		...[`${check.backend} ${check.set}`, check.kernel, check.shape, check.ok ? 'ok' : 'WRONG'],
		...[check.error.toExponential(1), check.tolerance.toExponential(1)],
		check.milliseconds > 0 ? check.milliseconds.toPrecision(3) : '',
		...[speed(check.bytes, check.milliseconds), speed(check.operations, check.milliseconds)],
	]);
	const modelRows = models.map(({ backend, what, ok, divergence }) => [
		...[backend, what, ok ? 'ok' : 'WRONG', divergence === undefined ? '' : divergence.toExponential(1)],
	]);
	const wrong = failures(report);
	return [
		'# Hearth self-test',
		'',
		selfTestSummary(report),
		'',
		`- Hearth ${report.version}, ${report.createdAt}, ${report.sizes} sizes, seed ${report.seed}`,
		`- ${machine.cpu}, ${machine.cores} cores, ${(machine.memoryBytes / 1e9).toFixed(1)} GB, ${machine.platform}`,
		`- CPU features: ${machine.features.join(', ') || 'none that matter'}`,
		...(report.metal.device === undefined ? [] : [`- GPU: ${report.metal.device}`]),
		...(wrong.length === 0 ? [] : ['', '## Wrong', '']),
		...wrong.map((check) =>
			'kernel' in check
				? `- ${check.backend} ${check.set}, ${check.kernel}, ${check.shape}: ${check.problem}`
				: `- ${check.backend}, ${check.what}: ${check.problem}`,
		),
		'',
		'## Kernels',
		'',
		'Each against a plain computation in double precision; the error is relative to the size of what was summed up. CPU kernels on',
		'one thread. Speeds are of the fastest of a few runs.',
		'',
		...table([['backend', 'kernel', 'shape', '', 'error', 'allowed', 'ms', 'GB/s', 'G operations/s'], ...kernelRows]),
		'',
		'## Whole models',
		'',
		...table([['backend', 'what', '', 'divergence (nats)'], ...modelRows]),
		'',
	].join('\n');
}
