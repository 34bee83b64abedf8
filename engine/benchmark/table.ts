// The benchmark's report as text, in llama-bench's manner.

import { table } from '../text-table';
import { gpuName } from '../units';
import type { CheckedBar } from './bars';
import { compareReports } from './ratios';
import type { BenchmarkReport, BenchmarkResult } from './report';

/**
 * The report as text: a few lines on the machine and the model, then a Markdown table `| test | t/s | ms | GB/s | % of
 * bandwidth | % of int8 peak |` with mean ± standard deviation. Columns that no test fills are left out. With a peer,
 * the table also has the peer's speed and ours over it. With an earlier report, it has the speed over that report's.
 */
export function renderReport(report: BenchmarkReport, earlier?: BenchmarkReport): string {
	return [...facts(report), '', ...body(report, earlier), ''].join('\n');
}

/** The same report for an issue or a chat message, with the facts as a list. */
export function renderMarkdown(report: BenchmarkReport, earlier?: BenchmarkReport): string {
	return [...facts(report).map((line) => `- ${line}`), '', ...body(report, earlier), ''].join('\n');
}

/** One line for each bar, with `ok` or `short`. */
export function renderBars(bars: readonly CheckedBar[]): string {
	const rows = bars.map(({ what, value, limit, least, unit, ok }) => {
		const digits = unit === '%' || unit === 'MB' ? 0 : 2;
		const show = (number: number) => `${number.toFixed(digits)} ${unit}`;
		return [what, show(value), `${least ? '≥' : '≤'} ${show(limit)}`, ok ? 'ok' : 'short'];
	});
	return `${table([['bar', 'measured', 'wanted', ''], ...rows]).join('\n')}\n`;
}

function facts(report: BenchmarkReport): string[] {
	const { machine, model, memory, peer } = report;
	const memoryLine = (used: { peakBytes: number; averageBytes: number }) =>
		`peak ${gigabytes(used.peakBytes)}, average ${gigabytes(used.averageBytes)}`;
	const ceilings = machine.readBytesPerSecond
		? [
				`ceilings of the ${gpuName(report.backend) ? 'GPU' : 'CPU'}: reads ${gigabytes(machine.readBytesPerSecond)}/s` +
					(machine.multiplyAddsPerSecond
						? `, ${(machine.multiplyAddsPerSecond / 1e9).toFixed(0)} G ${arithmeticOf(report)} multiply-adds/s`
						: '') +
					(machine.tileMultiplyAddsPerSecond
						? ` by vectors (what shares are of), ${(machine.tileMultiplyAddsPerSecond / 1e9).toFixed(0)} G by tiles`
						: ''),
			]
		: [];
	const layout = report.repacked === undefined ? '' : `, weights ${report.repacked ? 'repacked' : 'as in the file'}`;
	return [
		`model: ${model.name} (${gigabytes(model.fileBytes)})${layout}`,
		`machine: ${machine.cpu}, ${machine.cores} cores, ${machine.platform}; ${computeOf(report)}`,
		...(report.backendNote === undefined ? [] : [`backend: ${report.backendNote}`]),
		...ceilings,
		`memory: ${memoryLine(memory)}, ${gigabytes(memory.mappedBytes)} of it mapped from the file at most`,
		...(peer ? [`${peer.engine} ${peer.version}: memory: ${memoryLine(peer.memory)}`] : []),
	];
}

/**
 * The arithmetic of the peak that shares are compared with. Reports of earlier versions do not name it; it is the CPU's
 * then.
 */
function arithmeticOf({ machine }: BenchmarkReport): string {
	return machine.arithmetic ?? 'int8';
}

/** The hardware that computed, in words. Reports of earlier versions name no device. */
function computeOf({ backend, device, kernels, threads }: BenchmarkReport): string {
	const gpu = gpuName(backend);
	return gpu !== undefined ? `${gpu} on ${device ?? 'the GPU'}` : `${kernels} kernels, ${threads} threads`;
}

function body(report: BenchmarkReport, earlier: BenchmarkReport | undefined): string[] {
	const rows = report.results.filter(({ engine }) => engine === 'hearth');
	const peerOf = ({ test }: BenchmarkResult) =>
		report.results.find((other) => other.test === test && other.engine !== 'hearth');
	const changes = earlier && compareReports(report, earlier);
	const columns: [string, (result: BenchmarkResult) => string][] = [
		['test', ({ test }) => test],
		['t/s', speed],
		['ms', ({ milliseconds }) => spread(milliseconds, 1)],
		['GB/s', (result) => rate(result)],
		['% of bandwidth', ({ bandwidthShare }) => percent(bandwidthShare)],
		[`% of ${arithmeticOf(report)} peak`, ({ computeShare }) => percent(computeShare)],
		['drafts right', ({ acceptance }) => percent(acceptance)],
		[
			'llama.cpp',
			(result) => {
				const peer = peerOf(result);
				return peer ? value(peer) : '';
			},
		],
		['Hearth is', ({ test }) => times(report.ratios?.[`${test} vs llama.cpp`])],
		['vs earlier', ({ test }) => times(changes?.find((change) => change.test === test)?.ratio)],
	];
	const always = ['test', 't/s', 'ms'];
	const shown = columns.filter(([name, cell]) => always.includes(name) || rows.some((row) => cell(row) !== ''));
	const others = Object.entries(report.ratios ?? {}).filter(([name]) => !name.endsWith(' vs llama.cpp'));
	return [
		...table([shown.map(([name]) => name), ...rows.map((row) => shown.map(([, cell]) => cell(row)))]),
		...(others.length > 0
			? ['', ...table([['ratio', ''], ...others.map(([name, ratio]) => [name, times(ratio)])])]
			: []),
		...(rows.some(({ bytesPerToken }) => bytesPerToken)
			? ['', 'GB/s counts each weight once a step, experts as independent routing touches them on average.']
			: []),
	];
}

const value = (result: BenchmarkResult) =>
	result.tokensPerSecond ? `${speed(result)} t/s` : `${spread(result.milliseconds, 1)} ms`;

const percent = (share: number | undefined) => (share === undefined ? '' : (share * 100).toFixed(1));

const times = (ratio: number | undefined) => (ratio === undefined ? '' : `${ratio.toFixed(2)}×`);

const rate = ({ bytesPerToken, tokensPerSecond }: BenchmarkResult) =>
	bytesPerToken && tokensPerSecond ? ((bytesPerToken * tokensPerSecond.mean) / 1e9).toFixed(2) : '';

function speed(result: BenchmarkResult): string {
	return result.tokensPerSecond ? spread(result.tokensPerSecond, 2) : '';
}

function spread({ mean, stddev }: { mean: number; stddev: number }, digits: number): string {
	return `${mean.toFixed(digits)} ± ${stddev.toFixed(digits)}`;
}

function gigabytes(bytes: number): string {
	return bytes >= 1e8 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
