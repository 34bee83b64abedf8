// Peak and average memory over a stretch of work.

const INTERVAL_MILLISECONDS = 100;

/**
 * Samples this process's resident memory until stopped. Resident memory includes the mapped weights that are in use.
 */
export class MemorySampler {
	readonly #timer: NodeJS.Timeout;
	#peak = 0;
	#sum = 0;
	#count = 0;

	constructor() {
		this.#sample();
		this.#timer = setInterval(() => this.#sample(), INTERVAL_MILLISECONDS);
		this.#timer.unref();
	}

	get peakBytes(): number {
		return this.#peak;
	}

	get averageBytes(): number {
		return Math.round(this.#sum / this.#count);
	}

	/** Takes a last sample and ends. */
	stop(): void {
		clearInterval(this.#timer);
		this.#sample();
	}

	#sample(): void {
		const bytes = process.memoryUsage.rss();
		this.#peak = Math.max(this.#peak, bytes);
		this.#sum += bytes;
		this.#count++;
	}
}
