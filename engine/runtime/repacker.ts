// Moves weights into the kernels' faster layout while nobody waits: layer by layer, and then the output matrix. It
// stops for every request. Both layouts give the same bits, so no output shows when a layer has moved.
import type { NativeModel } from '../../native/index';
import type { MachineMemory } from '../machine/memory';
import { machineMemory } from '../machine/memory';

/** Milliseconds of quiet before something moves. Nothing starts between the keystrokes of someone who types. */
const QUIET_MILLISECONDS = 1500;
/** Memory that must stay available to everything else on the machine once all weights have moved. */
const LEAST_LEFT_BYTES = 4 * 2 ** 30;
const LEAST_LEFT_SHARE = 0.25;

/** Whether moving `bytes` out of the file leaves the machine enough. */
export function mayRepack(bytes: number, memory: MachineMemory): boolean {
	const left = memory.availableBytes - bytes;
	return left >= Math.max(LEAST_LEFT_BYTES, memory.totalBytes * LEAST_LEFT_SHARE);
}

function total(parts: readonly number[]): number {
	return parts.reduce((sum, bytes) => sum + bytes, 0);
}

export class Repacker {
	readonly #model: NativeModel;
	/** Bytes of each part. */
	readonly #parts: readonly number[];
	readonly #memory: () => MachineMemory;
	readonly #quiet: () => boolean;
	readonly #onFailure: (error: unknown) => void;
	#next = 0;
	#timer: NodeJS.Timeout | undefined;
	#running: Promise<void> | undefined;
	#stopped = false;
	#paused = false;

	/**
	 * @param quiet whether the other models of this process are idle, too.
	 * @param onFailure is called with the reason why nothing moves any more, though it should.
	 */
	constructor(
		model: NativeModel,
		memory: () => MachineMemory = machineMemory,
		quiet: () => boolean = () => true,
		onFailure: (error: unknown) => void = () => {},
	) {
		this.#model = model;
		this.#memory = memory;
		this.#quiet = quiet;
		this.#onFailure = onFailure;
		this.#parts = model.repackBytes;
	}

	/** Bytes of the weights that have moved. */
	get movedBytes(): number {
		return total(this.#parts.slice(0, this.#next));
	}

	/** The engine has nothing to do. Moving begins after a quiet moment. */
	idle(): void {
		if (this.#stopped || this.#timer || this.#next >= this.#parts.length) return;
		this.#timer = setTimeout(() => {
			this.#timer = undefined;
			this.#running ??= this.#work(this.#quiet).finally(() => {
				this.#running = undefined;
				if (!this.#paused) this.idle();
			});
		}, QUIET_MILLISECONDS);
		// A process that has nothing else to do may end.
		this.#timer.unref();
	}

	/**
	 * A request has come. The part at hand is finished, which takes a fraction of a second. No other part begins until
	 * the engine is idle again.
	 */
	busy(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#paused = true;
	}

	/**
	 * Moves all remaining weights now, for benchmarks. Resolves with false where memory does not allow it, or where
	 * nothing can move.
	 */
	async finish(): Promise<boolean> {
		this.busy();
		await this.#running;
		await this.#work(() => true);
		return this.#parts.length > 0 && this.#next >= this.#parts.length;
	}

	async stop(): Promise<void> {
		this.#stopped = true;
		this.busy();
		await this.#running;
	}

	async #work(quiet: () => boolean): Promise<void> {
		this.#paused = false;
		while (this.#next < this.#parts.length && !this.#paused && quiet()) {
			if (!mayRepack(total(this.#parts.slice(this.#next)), this.#memory())) {
				this.#giveUp();
				return;
			}
			try {
				await this.#model.repack(this.#next);
				this.#next++;
			} catch (error) {
				// Either there was not enough memory after all, or the file has changed. Without memory, the weights that have
				// not moved work in the file as well.
				this.#giveUp();
				this.#onFailure(error);
			}
		}
	}

	#giveUp(): void {
		this.#stopped = true;
		this.#paused = true;
	}
}
