// Self-tests of the kernels, one at a time.
import { renderSelfTest, selfTestSummary } from '../selftest/render';
import type { SelfTestResult } from '../selftest/report';
import { failures, runSelfTest } from '../selftest/selftest';
import { describe, log } from './log';
import type { Models } from './models';

export class SelfTestService {
	readonly #models: Models;
	readonly #test: typeof runSelfTest;
	#running = false;

	/** @param test runs the self-test; tests of this class replace it. */
	constructor(models: Models, test = runSelfTest) {
		this.#models = models;
		this.#test = test;
	}

	/**
	 * Tests all kernels. Models are opened again where the result changes which device `auto` means.
	 * @throws an error if a self-test runs already; an AbortError when the signal is aborted.
	 */
	async run(
		quick: boolean,
		signal: AbortSignal,
		onProgress: (what: string, checksDone: number) => void,
	): Promise<SelfTestResult> {
		if (this.#running) throw new Error('a self-test is running already; wait for it or cancel it');
		this.#running = true;
		try {
			const report = await this.#test({ backend: 'auto', quick, signal, onProgress });
			if (report.gpus.some(({ state }) => state === 'off' || state === 'on-again')) {
				for (const host of Object.values(this.#models.hosts)) {
					host.reload().catch((error) => log(`opening the model again: ${describe(error)}`));
				}
			}
			return {
				passed: failures(report).length === 0,
				summary: selfTestSummary(report),
				markdown: renderSelfTest(report),
				report,
			};
		} finally {
			this.#running = false;
		}
	}
}
