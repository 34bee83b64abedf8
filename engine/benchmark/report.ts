// Reading back what a benchmark saved.
import type { BenchmarkReport } from '../protocol';

/** Whether a parsed JSON file is a report of ours, of this version or an earlier one. */
export function isReport(value: unknown): value is BenchmarkReport {
	if (typeof value !== 'object' || value === null) return false;
	const { model, results } = value as Partial<BenchmarkReport>;
	return (
		typeof model?.name === 'string' &&
		Array.isArray(results) &&
		results.every((result) => typeof result?.test === 'string' && typeof result.milliseconds?.mean === 'number')
	);
}
