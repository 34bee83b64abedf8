// Long work on the thread that all windows share: a few milliseconds at a time, and not for anyone who has stopped waiting.

/** How long others wait at most, in milliseconds, but for a single step of the work. */
const SLICE = 8;

export class Pace {
	readonly #signal: AbortSignal;
	#since = performance.now();

	constructor(signal: AbortSignal) {
		this.#signal = signal;
	}

	/** Whether it is the others' turn. */
	get due(): boolean {
		return performance.now() - this.#since >= SLICE;
	}

	/** Lets the others have their turn. @throws the signal's reason once nobody waits any more. */
	async rest(): Promise<void> {
		await new Promise((resolve) => setImmediate(resolve));
		this.#signal.throwIfAborted();
		this.#since = performance.now();
	}
}
