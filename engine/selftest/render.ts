// The self-test's report as Markdown: for the terminal, for an editor, and to attach to a bug report.
import type { KernelCheck } from '../../native/index';
import { quote } from '../quote';
import { table } from '../text-table';
import type { GpuResult, SelfTestReport } from './report';
import { failures, namesOf } from './selftest';

const TITLE = '# Hearth self-test';

/** The verdict in one or two sentences. */
export function selfTestSummary(report: SelfTestReport): string {
	const wrong = failures(report);
	const total = report.kernels.length + report.models.length;
	const sets = [...kernelSets(report).keys()];
	const result =
		wrong.length === 0
			? `All ${total} checks of ${sets.join(' and ')} passed.`
			: `${wrong.length} of ${total} checks FAILED (${namesOf(wrong)}). Please attach this report to a bug.`;
	return [result, ...report.gpus.map(gpuLine)].join(' ');
}

/** The checks of each set of kernels, under the set's name, in the order of the report. */
function kernelSets({ kernels, gpus }: SelfTestReport): Map<string, KernelCheck[]> {
	const sets = new Map<string, KernelCheck[]>();
	for (const check of kernels) {
		const gpu = gpus.find(({ id }) => id === check.backend);
		const name = gpu === undefined ? `the CPU's ${check.set} kernels` : `${gpu.name} on ${check.set}`;
		sets.set(name, [...(sets.get(name) ?? []), check]);
	}
	return sets;
}

function gpuLine({ id, name, state, device, reason }: GpuResult): string {
	switch (state) {
		case 'ok':
			return `${name} computes correctly on ${device}.`;
		case 'on-again':
			return `${name} computes correctly on ${device} and is turned on again.`;
		case 'off':
			return `${name} is turned off: the CPU computes until a self-test passes, or the backend is set to ${quote(id)}.`;
		case 'absent':
			return `${name} is not used: ${reason ?? 'it is not there'}.`;
		case 'untested':
			return `${name} was not tested.`;
	}
}

/** Whether a file's text is a report of ours, as Markdown or as JSON. */
export function isSelfTest(text: string): boolean {
	if (text.startsWith(`${TITLE}\n`)) return true;
	// Reports of earlier versions have `metal` in place of `gpus`.
	const report = JSON.parse(text) as Partial<SelfTestReport> & { metal?: { state?: unknown } };
	const { kernels, models, gpus, metal } = report;
	return Array.isArray(kernels) && Array.isArray(models) && (Array.isArray(gpus) || typeof metal?.state === 'string');
}

export function renderSelfTest(report: SelfTestReport): string {
	const { machine, models } = report;
	const sets = [...kernelSets(report)];
	const modelRows = models.map(({ backend, what, ok, divergence }) => [
		...[backend, what, ok ? 'ok' : 'WRONG', divergence === undefined ? '' : divergence.toExponential(1)],
	]);
	const wrong = failures(report);
	return [
		TITLE,
		'',
		selfTestSummary(report),
		'',
		`- Hearth ${report.version}, ${report.createdAt}, ${report.sizes} sizes, seed ${report.seed}`,
		`- ${machine.cpu}, ${machine.cores} cores, ${(machine.memoryBytes / 1e9).toFixed(1)} GB, ${machine.platform}`,
		`- CPU features: ${machine.features.join(', ') || 'none that matter'}`,
		...report.gpus.flatMap(({ device }) => (device === undefined ? [] : [`- GPU: ${device}`])),
		...sets.map(([name, checks]) => `- ${name}: ${checks.filter(({ ok }) => ok).length} of ${checks.length} right`),
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
		'one thread. Speeds are of the fastest of a few runs; Gop/s are 10⁹ multiplications and additions a second.',
		'',
		...sets.flatMap(([name, checks]) => [
			`### ${name[0]?.toUpperCase()}${name.slice(1)}`,
			'',
			...kernelTable(checks),
			'',
		]),
		'## Whole models',
		'',
		...table([['backend', 'what', '', 'divergence (nats)'], ...modelRows]),
		'',
	].join('\n');
}

function kernelTable(checks: readonly KernelCheck[]): string[] {
	const speed = (amount: number, milliseconds: number) => {
		if (!(amount > 0 && milliseconds > 0)) return '';
		const rate = amount / milliseconds / 1e6;
		return rate < 1 ? rate.toPrecision(2) : rate.toFixed(1);
	};
	const rows = checks.map((check) => [
		...[check.kernel, check.shape, check.ok ? 'ok' : 'WRONG'],
		...[check.error.toExponential(1), check.tolerance.toExponential(1)],
		check.milliseconds > 0 ? check.milliseconds.toPrecision(3) : '',
		...[speed(check.bytes, check.milliseconds), speed(check.operations, check.milliseconds)],
	]);
	return table([['kernel', 'shape', '', 'error', 'allowed', 'ms', 'GB/s', 'Gop/s'], ...rows]);
}
