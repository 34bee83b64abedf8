// Benchmarks of the model that chats, one at a time.
import { runBenchmark } from '../benchmark/benchmark';
import type { BenchmarkOptions } from '../benchmark/options';
import type { BenchmarkReport } from '../benchmark/report';
import type { Activity } from './activity';
import type { Models } from './models';

export class BenchmarkService {
	readonly #models: Models;
	readonly #activity: Activity;

	constructor(models: Models, activity: Activity) {
		this.#models = models;
		this.#activity = activity;
	}

	/**
	 * @param onProgress gets the part that is done, from 0 to 1, and the name of the test that runs now.
	 * @throws NoModelError, an error if a benchmark runs already, or what the benchmark throws.
	 */
	async run(
		options: BenchmarkOptions,
		signal: AbortSignal,
		onProgress: (fraction: number, test: string) => void,
	): Promise<BenchmarkReport> {
		const model = await this.#models.modelFor('chat');
		if (this.#activity.counts.benchmark > 0) {
			throw new Error('a benchmark is running already; wait for it or cancel it');
		}
		return this.#activity.run('benchmark', () => runBenchmark({ model, options, signal, onProgress }));
	}
}
