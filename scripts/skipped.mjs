// Tells which tests were skipped and why. `npm test` prints this before its last line.

/**
 * What a skipped test lacks. `cure` names what to install. Without a cure, nothing makes the test run on this machine.
 * @typedef {{ reason: string, cure?: string }} Unmet
 */

/**
 * Counts the skipped tests in reports of vitest's JSON reporter by their reasons, the most frequent reason first.
 * `curable` has the reasons with a cure; in CI they are a fault. A test without a reason counts as curable: it was
 * skipped in another way than by `needs` of test/support/needs.ts.
 * @param {{ testResults: { assertionResults: { status: string, meta?: { unmet?: Unmet } }[] }[] }[]} reports
 * @returns {{ count: number, reasons: string[], curable: string[] }}
 */
export function skippedTests(reports) {
	const byReason = new Map();
	const tests = reports.flatMap(({ testResults }) => testResults.flatMap(({ assertionResults }) => assertionResults));
	for (const { status, meta } of tests) {
		if (status === 'passed' || status === 'failed') continue;
		const { reason, cure } = meta?.unmet ?? { reason: 'for no stated reason', cure: 'see test/support/needs.ts' };
		const seen = byReason.get(reason) ?? { count: 0, cure };
		byReason.set(reason, { ...seen, count: seen.count + 1 });
	}
	const sorted = [...byReason].sort(([, a], [, b]) => b.count - a.count);
	return {
		count: sorted.reduce((sum, [, { count }]) => sum + count, 0),
		reasons: sorted.map(([reason, { count }]) => `${count} ${reason}`),
		curable: sorted.flatMap(([reason, { count, cure }]) => (cure === undefined ? [] : [`${count} ${reason}: ${cure}`])),
	};
}
