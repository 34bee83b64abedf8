// What the report page shows of a benchmark: its rows, their change against another run, and the same as Markdown. This
// file does not use the DOM.
import type { BenchmarkReport, BenchmarkResult } from '../../engine/protocol';
import { formatBytes, gpuName } from '../../engine/units';

export interface ReportRow {
	/** llama-bench's short name, for example `pp512`. A row of another engine also has that engine's name. */
	test: string;
	/** What the test measures, in words. */
	description: string;
	tokensPerSecond?: { mean: number; stddev: number };
	milliseconds: { mean: number; stddev: number };
	/** Share of the machine's measured ceiling, for example `89.1 %`. Absent when the report has none. */
	bandwidth?: string;
	compute?: string;
	/** Speed divided by the baseline's speed; above 1 is faster. */
	ratio?: number;
	baseline?: { tokensPerSecond?: number; milliseconds: number };
}

/**
 * Makes one row of each result, in the report's order. A row whose test the baseline also has carries the comparison.
 */
export function reportRows(report: BenchmarkReport, baseline?: BenchmarkReport): ReportRow[] {
	return report.results.map((result) => {
		const row: ReportRow = {
			test: result.engine === 'hearth' ? result.test : `${result.test} (${result.engine})`,
			description: describeTest(result.test),
			milliseconds: result.milliseconds,
			...(result.tokensPerSecond && { tokensPerSecond: result.tokensPerSecond }),
			...(result.bandwidthShare !== undefined && { bandwidth: percent(result.bandwidthShare) }),
			...(result.computeShare !== undefined && { compute: percent(result.computeShare) }),
		};
		const other = baseline?.results.find(({ test, engine }) => test === result.test && engine === result.engine);
		if (!other) return row;
		const ratio = speedRatio(result, other);
		return {
			...row,
			...(ratio !== undefined && { ratio }),
			baseline: {
				milliseconds: other.milliseconds.mean,
				...(other.tokensPerSecond && { tokensPerSecond: other.tokensPerSecond.mean }),
			},
		};
	});
}

/**
 * Describes a test by its name: `pp512` → `Read a prompt of 512 tokens`. An unknown test is described by its name
 * alone.
 */
export function describeTest(test: string): string {
	if (test === 'load') return 'Load the model';
	if (test === 'forward') return 'First forward pass';
	if (test === 'load+forward') return 'Load to the first token';
	if (test === 'step1') return 'Steps of one token';
	if (test === 'edit') return 'Rewrite a file, guessing ahead';
	if (test === 'edit-plain') return 'Rewrite a file, token by token';
	if (test === 'first-token-cold') return 'First token after a new prompt';
	if (test === 'first-token-warm') return 'First token after a known prompt with a new end';
	const verify = /^verify(\d+)$/.exec(test);
	if (verify) return `Steps that verify ${verify[1]} tokens`;
	const deep = /^tg(\d+)@d(\d+)$/.exec(test);
	if (deep) return `Write ${deep[1]} tokens behind ${deep[2]} of context`;
	const prefill = /^pp(\d+)$/.exec(test);
	if (prefill) return `Read a prompt of ${prefill[1]} tokens`;
	const decode = /^tg(\d+)$/.exec(test);
	if (decode) return `Write ${decode[1]} tokens`;
	const batch = /^b(\d+)x(\d+)$/.exec(test);
	if (batch) return `${batch[1]} ${batch[1] === '1' ? 'stream' : 'streams at once'}, ${batch[2]} tokens each`;
	return test;
}

/** The facts about the run as pairs of label and value. */
export function reportFacts(report: BenchmarkReport): [string, string][] {
	const { machine, model, memory } = report;
	const gpu = gpuName(report.backend);
	const facts: [string, string][] = [
		['Model', `${model.name}, ${formatBytes(model.fileBytes)}, ${formatCount(model.parameterCount)} parameters`],
		['Processor', `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)} memory`],
		['System', `${machine.platform}${machine.features.length > 0 ? `, ${machine.features.join(' ')}` : ''}`],
		[
			'Engine',
			`Hearth ${report.version}, ${gpu !== undefined ? `${gpu} on ${report.device ?? 'the GPU'}` : `${report.backend}, ${report.kernels} kernels, ${report.threads} threads`}`,
		],
		['Memory', `peak ${formatBytes(memory.peakBytes)}, average ${formatBytes(memory.averageBytes)}`],
	];
	if (memory.mappedBytes > 0) facts.push(['Mapped file', formatBytes(memory.mappedBytes)]);
	if (machine.readBytesPerSecond) {
		const peak = machine.multiplyAddsPerSecond
			? `, ${(machine.multiplyAddsPerSecond / 1e9).toFixed(0)} G ${arithmeticOf(report)} multiply-adds a second${byTiles(machine)}`
			: '';
		const of = gpu !== undefined ? 'GPU' : 'CPU';
		facts.push([`Measured ceilings of the ${of}`, `reads ${formatBytes(machine.readBytesPerSecond)} a second${peak}`]);
	}
	if (report.repacked !== undefined) {
		facts.push(['Weights', report.repacked ? 'in the faster layout' : 'as the file has them']);
	}
	const ratios = Object.entries(report.ratios ?? {});
	if (ratios.length > 0)
		facts.push(['Ratios', ratios.map(([name, ratio]) => `${name}: ${ratioText(ratio)}`).join('; ')]);
	if (model.bytesPerToken > 0) facts.push(['Read for each token', formatBytes(model.bytesPerToken)]);
	return facts;
}

/**
 * A processor with a tile unit has two int8 peaks. Shares refer to the peak of the vector unit; this text names both.
 */
function byTiles({ tileMultiplyAddsPerSecond: tiles }: BenchmarkReport['machine']): string {
	return tiles ? ` by vectors (what shares are of), ${(tiles / 1e9).toFixed(0)} G by tiles` : '';
}

/** The report as Markdown, for an issue or a chat message. */
export function reportMarkdown(report: BenchmarkReport, baseline?: BenchmarkReport): string {
	const rows = reportRows(report, baseline);
	const compared = rows.some((row) => row.baseline);
	const shares = hasShares(rows);
	const lines = [
		`**Hearth benchmark**, ${report.createdAt}`,
		'',
		...reportFacts(report).map(([label, value]) => `- ${label}: ${cell(value)}`),
		...(compared && baseline ? [`- Compared with: ${cell(baseline.model.name)}, ${baseline.createdAt}`] : []),
		'',
		`| test | tok/s | ms |${shares ? ` % of bandwidth | % of ${arithmeticOf(report)} peak |` : ''}${compared ? ' against |' : ''}`,
		`|---|--:|--:|${shares ? '--:|--:|' : ''}${compared ? '--:|' : ''}`,
		...rows.map(
			(row) =>
				`| ${cell(row.test)} | ${row.tokensPerSecond ? meanText(row.tokensPerSecond) : ''} | ${meanText(row.milliseconds)} |${
					shares ? ` ${row.bandwidth ?? ''} | ${row.compute ?? ''} |` : ''
				}${compared ? ` ${row.ratio === undefined ? '' : ratioText(row.ratio)} |` : ''}`,
		),
	];
	return `${lines.join('\n')}\n`;
}

/**
 * The kind of arithmetic whose peak the shares refer to. Reports of earlier versions do not name it; they measured int8
 * on the CPU.
 */
export function arithmeticOf({ machine }: BenchmarkReport): string {
	return machine.arithmetic ?? 'int8';
}

/** Whether any row tells its share of the machine's ceilings. */
export function hasShares(rows: readonly ReportRow[]): boolean {
	return rows.some((row) => row.bandwidth !== undefined);
}

function percent(share: number): string {
	return `${(share * 100).toFixed(1)} %`;
}

/** `12.34 ± 0.05` */
export function meanText({ mean, stddev }: { mean: number; stddev: number }): string {
	const digits = mean >= 1000 ? 0 : mean >= 100 ? 1 : 2;
	return stddev > 0 ? `${mean.toFixed(digits)} ± ${stddev.toFixed(digits)}` : mean.toFixed(digits);
}

/** `1.25×` */
export function ratioText(ratio: number): string {
	return `${ratio.toFixed(2)}×`;
}

function speedRatio(result: BenchmarkResult, other: BenchmarkResult): number | undefined {
	const ratio =
		result.tokensPerSecond && other.tokensPerSecond
			? result.tokensPerSecond.mean / other.tokensPerSecond.mean
			: other.milliseconds.mean / result.milliseconds.mean;
	return Number.isFinite(ratio) ? ratio : undefined;
}

function formatCount(count: number): string {
	return count >= 1e9 ? `${(count / 1e9).toFixed(1)} G` : `${(count / 1e6).toFixed(1)} M`;
}

function cell(text: string): string {
	return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
