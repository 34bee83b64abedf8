// Long work on the thread that all windows share. It is done a few milliseconds at a time, and ends once nobody waits
// for it.

/** Milliseconds after which the work lets others have their turn. A single step of the work may take longer. */
const SLICE = 8;

export class Pace {
	readonly #signal: AbortSignal;
	#since = performance.now();

	constructor(signal: AbortSignal) {
		this.#signal = signal;
	}

	/** Whether the work has gone on for long enough that others should have their turn. */
	get due(): boolean {
		return performance.now() - this.#since >= SLICE;
	}

	/**
	 * Lets the others have their turn.
	 * @throws the signal's reason once nobody waits any more.
	 */
	async rest(): Promise<void> {
		await new Promise((resolve) => setImmediate(resolve));
		this.#signal.throwIfAborted();
		this.#since = performance.now();
	}
}
