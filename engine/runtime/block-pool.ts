// The KV cache's blocks and their holders. A block is free, leased by running sequences, cached by the prefix tree, or
// both leased and cached.

/** Reference counts of `blockCount` cache blocks. The pool holds no keys and values; the native cache does. */
export class BlockPool {
	readonly blockCount: number;
	readonly #leases: Uint32Array;
	readonly #cached: Uint8Array;
	readonly #free: number[] = [];
	#leasedBlocks = 0;

	constructor(blockCount: number) {
		this.blockCount = blockCount;
		this.#leases = new Uint32Array(blockCount);
		this.#cached = new Uint8Array(blockCount);
		// Lowest block first: untouched blocks of a lazily committed cache stay untouched.
		for (let block = blockCount - 1; block >= 0; block--) this.#free.push(block);
	}

	/** Blocks nobody holds. */
	get freeBlocks(): number {
		return this.#free.length;
	}

	/** Blocks held by at least one running sequence. */
	get leasedBlocks(): number {
		return this.#leasedBlocks;
	}

	/** Takes a free block with one lease on it. Undefined if there is none. */
	take(): number | undefined {
		const block = this.#free.pop();
		if (block !== undefined) this.lease(block);
		return block;
	}

	lease(block: number): void {
		if (this.#leases[block]!++ === 0) this.#leasedBlocks++;
	}

	release(block: number): void {
		if (this.#leases[block] === 0) throw new Error(`cache block ${block} was released twice`);
		this.#leases[block]!--;
		if (this.#leases[block]! > 0) return;
		this.#leasedBlocks--;
		if (!this.#cached[block]) this.#free.push(block);
	}

	isLeased(block: number): boolean {
		return this.#leases[block]! > 0;
	}

	/** The prefix tree keeps the block beyond its leases. */
	cache(block: number): void {
		this.#cached[block] = 1;
	}

	/** The prefix tree gives the block up. */
	uncache(block: number): void {
		this.#cached[block] = 0;
		if (this.#leases[block] === 0) this.#free.push(block);
	}
}
