// Decides whether and when a crashed engine is started again: with a growing delay, and only a limited number of times
// within a time span.

interface RestartLimits {
	/** After this many crashes within `spanMilliseconds` the engine stays down until the user asks for it. */
	crashes: number;
	spanMilliseconds: number;
	firstDelayMilliseconds: number;
	maxDelayMilliseconds: number;
}

type RestartDecision = { action: 'restart'; delayMilliseconds: number } | { action: 'give-up'; crashes: number };

/** VS Code uses the same limits for language servers: five crashes in three minutes. */
const DEFAULT_LIMITS: RestartLimits = {
	crashes: 5,
	spanMilliseconds: 3 * 60_000,
	firstDelayMilliseconds: 250,
	maxDelayMilliseconds: 10_000,
};

export class RestartPolicy {
	readonly #limits: RestartLimits;
	readonly #random: () => number;
	#crashTimes: number[] = [];

	/** @param random - spreads the restarts of windows that lost the same engine, so that two seldom start one at once */
	constructor(limits: RestartLimits = DEFAULT_LIMITS, random: () => number = Math.random) {
		this.#limits = limits;
		this.#random = random;
	}

	/**
	 * Records a crash and says what to do about it.
	 * @param now - milliseconds of a monotonic clock
	 */
	crashed(now: number): RestartDecision {
		this.#crashTimes = this.#crashTimes.filter((time) => now - time < this.#limits.spanMilliseconds);
		this.#crashTimes.push(now);
		const crashes = this.#crashTimes.length;
		if (crashes >= this.#limits.crashes) return { action: 'give-up', crashes };
		const backoff = this.#limits.firstDelayMilliseconds * 2 ** (crashes - 1);
		const spread = 1 + this.#random() / 2;
		return { action: 'restart', delayMilliseconds: Math.min(backoff * spread, this.#limits.maxDelayMilliseconds) };
	}

	/** Forgets past crashes, because the user asked for a fresh start. */
	reset(): void {
		this.#crashTimes = [];
	}
}
