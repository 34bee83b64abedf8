// How many requests of each kind run or wait, for the status and for the clock that unloads idle models.

/** The kinds by which requests are counted. */
export type ActivityKind = 'completion' | 'chat' | 'benchmark';

export class Activity {
	readonly #counts: Record<ActivityKind, number> = { completion: 0, chat: 0, benchmark: 0 };
	readonly #changed: () => void;

	/** @param changed called after each change of `counts`. */
	constructor(changed: () => void) {
		this.#changed = changed;
	}

	get counts(): Record<ActivityKind, number> {
		return { ...this.#counts };
	}

	/** Whether any request runs or waits. */
	get busy(): boolean {
		return Object.values(this.#counts).some((count) => count > 0);
	}

	/** Runs a request's work, which counts until it has settled. */
	async run<T>(kind: ActivityKind, work: () => Promise<T>): Promise<T> {
		this.#counts[kind]++;
		this.#changed();
		try {
			return await work();
		} finally {
			this.#counts[kind]--;
			this.#changed();
		}
	}
}
