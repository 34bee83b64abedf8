// Measures how far one engine's predictions are from another's, over many positions.

/** The log softmax of row `row` of [rows × vocabulary] logits. */
export function logProbabilities(logits: Float32Array, row: number, vocabulary: number): Float64Array {
	const values = Float64Array.from(logits.subarray(row * vocabulary, (row + 1) * vocabulary));
	const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
	let total = 0;
	for (const value of values) total += Math.exp(value - largest);
	const shift = largest + Math.log(total);
	return values.map((value) => value - shift);
}

/**
 * The distance at one position: the Kullback–Leibler divergence of `other` from `reference` in nats, and whether both
 * rate the same token highest.
 */
export interface PositionDistance {
	kl: number;
	sameTop: boolean;
}

/** Compares [rows × vocabulary] logits position by position. */
export function distances(reference: Float32Array, other: Float32Array, vocabulary: number): PositionDistance[] {
	if (reference.length !== other.length || reference.length % vocabulary !== 0)
		throw new Error(`${reference.length} and ${other.length} logits do not compare`);
	return Array.from({ length: reference.length / vocabulary }, (_, row) => {
		const p = logProbabilities(reference, row, vocabulary);
		const q = logProbabilities(other, row, vocabulary);
		let kl = 0;
		for (let i = 0; i < vocabulary; i++) kl += Math.exp(p[i]!) * (p[i]! - q[i]!);
		return { kl: Math.max(0, kl), sameTop: top(p) === top(q) };
	});
}

function top(values: Float64Array): number {
	let best = 0;
	for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
	return best;
}

export const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** The standard error of the mean of independent values. */
export function standardError(values: readonly number[]): number {
	const center = mean(values);
	return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1) / values.length);
}
