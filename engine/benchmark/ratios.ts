// The figures of a report that compare one result with another, and the comparison of a report with an earlier one.
import type { BenchmarkReport, BenchmarkResult } from './report';

/** How many times as fast `result` is as `other`, a result of the same work: one time over the other. */
function timesAsFast(result: BenchmarkResult, other: BenchmarkResult): number {
	return other.milliseconds.mean / result.milliseconds.mean;
}

/** The ratios among a report's results; see `BenchmarkReport.ratios`. */
export function ratiosOf(results: readonly BenchmarkResult[]): Record<string, number> {
	const ratios: Record<string, number> = {};
	const ours = results.filter(({ engine }) => engine === 'hearth');
	const named = (test: string) => ours.find((result) => result.test === test);
	for (const result of ours) {
		const peer = results.find(({ engine, test }) => engine !== 'hearth' && test === result.test);
		if (peer) ratios[`${result.test} vs ${peer.engine}`] = timesAsFast(result, peer);
	}
	const depths = ours.filter(({ test }) => /^tg\d+@d\d+$/.test(test));
	for (const deep of depths.slice(1)) {
		ratios[`${deep.test} / ${depths[0]!.test.split('@')[1]}`] = timesAsFast(deep, depths[0]!);
	}
	const step = named('step1');
	const verify = ours.find(({ test }) => test.startsWith('verify'));
	// The samples of both tests have the same number of steps.
	if (step && verify) ratios[`${verify.test} / step1`] = timesAsFast(step, verify);
	const [plain, edit] = [named('edit-plain'), named('edit')];
	if (plain && edit) ratios['edit / edit-plain'] = timesAsFast(edit, plain);
	const [cold, warm] = [named('first-token-cold'), named('first-token-warm')];
	if (cold && warm) ratios['first-token-warm / cold'] = timesAsFast(cold, warm);
	return ratios;
}

/** How many times as fast each test is as in an earlier report. Tests that only one report has are left out. */
export function compareReports(report: BenchmarkReport, earlier: BenchmarkReport): { test: string; ratio: number }[] {
	return report.results.flatMap((result) => {
		const other = earlier.results.find(({ test, engine }) => test === result.test && engine === result.engine);
		if (!other) return [];
		const test = result.engine === 'hearth' ? result.test : `${result.test} (${result.engine})`;
		return [{ test, ratio: timesAsFast(result, other) }];
	});
}
