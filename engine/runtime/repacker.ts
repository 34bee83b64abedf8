// Moves expert weights into the kernels' faster layout while nobody waits: layer by layer, stopping for every request.
// Since both layouts give the same bits, no one can tell when a layer has moved.
import type { NativeModel } from '../../native/index';
import type { MachineMemory } from '../protocol';
import { machineMemory } from './machine-memory';

/** Quiet time before a layer moves: between keystrokes of someone who types, nothing starts. */
const QUIET_MILLISECONDS = 1500;
/** What must stay available to everything else on the machine once all layers have moved. */
const LEAST_LEFT_BYTES = 4 * 2 ** 30;
const LEAST_LEFT_SHARE = 0.25;

/** Whether moving `bytes` out of the file leaves the machine enough. */
export function mayRepack(bytes: number, memory: MachineMemory): boolean {
	const left = memory.availableBytes - bytes;
	return left >= Math.max(LEAST_LEFT_BYTES, memory.totalBytes * LEAST_LEFT_SHARE);
}

export class Repacker {
	readonly #model: NativeModel;
	readonly #layers: number;
	readonly #memory: () => MachineMemory;
	readonly #quiet: () => boolean;
	#next = 0;
	#timer: NodeJS.Timeout | undefined;
	#running: Promise<void> | undefined;
	#stopped = false;
	#paused = false;

	/** @param quiet whether no other model of this process computes either. */
	constructor(model: NativeModel, memory: () => MachineMemory = machineMemory, quiet: () => boolean = () => true) {
		this.#model = model;
		this.#memory = memory;
		this.#quiet = quiet;
		this.#layers = model.repackBytes > 0 ? model.info.layers : 0;
	}

	/** Layers that have moved. */
	get done(): number {
		return this.#next;
	}

	/** The engine has nothing to do: begin after a quiet moment. */
	idle(): void {
		if (this.#stopped || this.#timer || this.#next >= this.#layers) return;
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

	/** A request has come: the layer at hand is finished (a fraction of a second), then nothing until idle again. */
	busy(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#paused = true;
	}

	/** Moves everything that is left, now; for benchmarks. Resolves with false where memory does not allow it, or nothing can move. */
	async finish(): Promise<boolean> {
		this.busy();
		await this.#running;
		await this.#work(() => true);
		return this.#layers > 0 && this.#next >= this.#layers;
	}

	async stop(): Promise<void> {
		this.#stopped = true;
		this.busy();
		await this.#running;
	}

	async #work(quiet: () => boolean): Promise<void> {
		this.#paused = false;
		while (this.#next < this.#layers && !this.#paused && quiet()) {
			const left = (this.#layers - this.#next) * this.#model.repackBytes;
			if (!mayRepack(left, this.#memory())) {
				this.#giveUp();
				return;
			}
			try {
				await this.#model.repack(this.#next);
				this.#next++;
			} catch {
				// No memory after all: the layers that have not moved stay in the file, where they work as well.
				this.#giveUp();
			}
		}
	}

	#giveUp(): void {
		this.#stopped = true;
		this.#paused = true;
	}
}
