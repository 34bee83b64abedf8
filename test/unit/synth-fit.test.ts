import { describe, expect, it } from 'vitest';
import { fitLinear } from '../../engine/synth/linear-fit';

/** Samples of random signs. They are nearly orthogonal, so any assignment of classes can be learned. */
function problem(samples: number, width: number, classCount: number) {
	let state = 1;
	const next = () => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return state >>> 16;
	};
	const features = Float32Array.from({ length: samples * width }, () => (next() & 1 ? 1 : -1));
	const classes = Int32Array.from({ length: samples }, () => 1 + (next() % (classCount - 1)));
	return { features, width, classes, classCount };
}

describe('fitLinear', () => {
	it('lets the right class of every sample lead by 1', async () => {
		const { features, width, classes, classCount } = problem(300, 200, 12);
		const weights = await fitLinear({ features, width, classes, classCount });
		const score = (n: number, c: number) => {
			let sum = 0;
			for (let i = 0; i < width; i++) sum += features[n * width + i]! * weights[c * width + i]!;
			return sum;
		};
		const leads = Array.from(classes, (right, n) => {
			const rivals = Array.from({ length: classCount }, (_, c) => c).filter((c) => c > 0 && c !== right);
			return score(n, right) - Math.max(...rivals.map((c) => score(n, c)));
		});
		expect(Math.min(...leads)).toBeGreaterThan(0.99);
		expect(weights.subarray(0, width).every((weight) => weight === 0)).toBe(true);
	});

	it('can be canceled', async () => {
		const controller = new AbortController();
		const fitting = fitLinear(problem(300, 200, 12), controller.signal);
		controller.abort(new Error('stopped'));
		await expect(fitting).rejects.toThrow('stopped');
	});
});
