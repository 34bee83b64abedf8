// Fits a linear classifier to samples by the passive-aggressive rule for several classes (Crammer et al. 2006). Where
// the right class does not lead by the margin, the rule makes the smallest change of the weights that makes it lead
// so. This goes on until every sample is right.
import { setImmediate } from 'node:timers/promises';

interface FitProblem {
	/** [samples][width]. */
	features: Float32Array;
	width: number;
	/** [samples]: the right class of each sample. */
	classes: Int32Array;
	classCount: number;
}

/** The most passes over all samples. Separable samples need far fewer. */
const MAX_PASSES = 150;

/**
 * @returns weights [classCount][width]. With them each sample's right class leads all others by 1, as far as the
 * samples can be told apart. A class without samples gets the weight 0. Rejects with the signal's reason once the
 * signal is aborted.
 */
export async function fitLinear(
	{ features, width, classes, classCount }: FitProblem,
	signal?: AbortSignal,
): Promise<Float32Array> {
	const samples = classes.length;
	const present = [...new Set(classes)];
	const columnOf = new Int32Array(classCount);
	for (const [column, class_] of present.entries()) columnOf[class_] = column;
	const columns = present.length;

	// A correction adds a multiple of one sample to the weights of two classes. All dot products between samples are at
	// hand, so the scores change by two rows of additions and need not be computed again.
	const products = await dotProducts(features, width, samples, signal);
	const scores = Array.from({ length: columns }, () => new Float32Array(samples));
	const weights = new Float32Array(classCount * width);
	const add = (column: number, sample: number, amount: number) => {
		const score = scores[column]!;
		const row = sample * samples;
		for (let n = 0; n < samples; n++) score[n]! += amount * products[row + n]!;
		const at = present[column]! * width;
		const x = sample * width;
		for (let i = 0; i < width; i++) weights[at + i]! += amount * features[x + i]!;
	};

	for (let pass = 0, mended = 1; pass < MAX_PASSES && mended > 0; pass++) {
		await pause(signal);
		mended = 0;
		for (let n = 0; n < samples; n++) {
			const right = columnOf[classes[n]!]!;
			let rival = -1;
			for (let column = 0; column < columns; column++) {
				if (column !== right && (rival < 0 || scores[column]![n]! > scores[rival]![n]!)) rival = column;
			}
			const missing = 1 - (scores[right]![n]! - scores[rival]![n]!);
			if (missing <= 1e-3) continue;
			const step = missing / (2 * products[n * samples + n]!);
			add(right, n, step);
			add(rival, n, -step);
			mended++;
		}
	}
	return weights;
}

/** Computes [samples][samples], the dot products of all pairs. */
async function dotProducts(
	features: Float32Array,
	width: number,
	samples: number,
	signal: AbortSignal | undefined,
): Promise<Float32Array> {
	const products = new Float32Array(samples * samples);
	// The loops work in tiles, whose samples stay in the cache.
	const TILE = 64;
	for (let rowTile = 0; rowTile < samples; rowTile += TILE) {
		await pause(signal);
		for (let columnTile = 0; columnTile <= rowTile; columnTile += TILE) {
			const rowEnd = Math.min(samples, rowTile + TILE);
			for (let row = rowTile; row < rowEnd; row++) {
				const columnEnd = Math.min(row + 1, columnTile + TILE);
				for (let column = columnTile; column < columnEnd; column++) {
					let [even, odd] = [0, 0];
					const a = row * width;
					const b = column * width;
					for (let i = 0; i < width; i += 2) {
						even += features[a + i]! * features[b + i]!;
						odd += features[a + i + 1]! * features[b + i + 1]!;
					}
					products[row * samples + column] = even + odd;
					products[column * samples + row] = even + odd;
				}
			}
		}
	}
	return products;
}

/** Lets events be handled, so that the work can be cancelled. */
async function pause(signal: AbortSignal | undefined): Promise<void> {
	await setImmediate();
	signal?.throwIfAborted();
}
