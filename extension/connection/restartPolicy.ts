// Decides whether and when a crashed engine is started again: exponential backoff, capped by crashes within a time span.

interface RestartLimits {
	/** Crashes within `spanMilliseconds` after which it stays down until the user asks. */
	crashes: number;
	spanMilliseconds: number;
	firstDelayMilliseconds: number;
	maxDelayMilliseconds: number;
}

type RestartDecision = { action: 'restart'; delayMilliseconds: number } | { action: 'give-up'; crashes: number };

/** As VS Code itself counts for language servers: five crashes in three minutes. */
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

	/** @param random - spreads the windows that lost the same engine, so that rarely two start one at once */
	constructor(limits: RestartLimits = DEFAULT_LIMITS, random: () => number = Math.random) {
		this.#limits = limits;
		this.#random = random;
	}

	/** Records a crash at `now` (milliseconds of a clock that is never set) and says what to do about it. */
	crashed(now: number): RestartDecision {
		this.#crashTimes = this.#crashTimes.filter((time) => now - time < this.#limits.spanMilliseconds);
		this.#crashTimes.push(now);
		const crashes = this.#crashTimes.length;
		if (crashes >= this.#limits.crashes) return { action: 'give-up', crashes };
		const backoff = this.#limits.firstDelayMilliseconds * 2 ** (crashes - 1);
		const spread = 1 + this.#random() / 2;
		return { action: 'restart', delayMilliseconds: Math.min(backoff * spread, this.#limits.maxDelayMilliseconds) };
	}

	/** Forgets past crashes: the user asked for a fresh start. */
	reset(): void {
		this.#crashTimes = [];
	}
}
