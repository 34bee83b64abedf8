// Where the keys and values of each sequence are kept. Sequences lease blocks. Computed blocks enter a prefix tree that
// all sequences share. Blocks that no running sequence leases are evicted, the least recently used first. A request
// that begins like anything cached starts after the shared tokens.
import { BlockPool } from './block-pool';
import { type PrefixMatch, type PrefixNode, PrefixTree } from './prefix-tree';

/** A sequence's hold on the cache. */
export interface Lease {
	/** Block table: position p lives in blocks[floor(p / blockTokens)]. */
	readonly blocks: number[];
	/** Positions whose K/V are computed. */
	length: number;
	/** The tree's nodes of the leading full blocks. */
	readonly path: PrefixNode[];
}

interface KvCacheOptions {
	blockCount: number;
	blockTokens: number;
	/** Copies the K/V of a block's first `tokens` positions. */
	copyBlock(from: number, to: number, tokens: number): void;
}

/**
 * The policy of the KV cache. All calls must come between steps: blocks change hands at once, so a running step must
 * not use them.
 */
export class KvCache {
	readonly blockTokens: number;
	readonly #pool: BlockPool;
	readonly #tree = new PrefixTree();
	readonly #copyBlock: KvCacheOptions['copyBlock'];

	constructor(options: KvCacheOptions) {
		this.blockTokens = options.blockTokens;
		this.#pool = new BlockPool(options.blockCount);
		this.#copyBlock = options.copyBlock;
	}

	get blockCount(): number {
		return this.#pool.blockCount;
	}

	/** Blocks that a new lease could get: the free ones and those that only the tree holds. */
	get availableBlocks(): number {
		return this.#pool.blockCount - this.#pool.leasedBlocks;
	}

	/** Blocks that hold something, leased or cached. */
	get usedBlocks(): number {
		return this.#pool.blockCount - this.#pool.freeBlocks;
	}

	blocksFor(positions: number): number {
		return Math.ceil(positions / this.blockTokens);
	}

	/**
	 * Leases blocks for all of `tokens`, and shares the longest cached prefix. Of a block that matches in part, the
	 * matching positions are copied. The last token is never taken from the cache, because its logits are wanted.
	 * @returns undefined, with nothing changed, if there are not enough blocks.
	 */
	acquire(tokens: ArrayLike<number>): Lease | undefined {
		const lease: Lease = { blocks: [], length: 0, path: [] };
		const limit = tokens.length - 1;
		this.advance(lease, tokens, limit);
		const partial = this.#tree.match(lease.path.at(-1), tokens, lease.length, limit);
		if (partial && this.#copyPartial(lease, partial, tokens.length)) return lease;
		if (this.grow(lease, tokens.length)) return lease;
		for (const block of lease.blocks) this.#pool.release(block);
		return undefined;
	}

	/**
	 * Lets a lease that stands at a block's start skip the full blocks others have cached since, as far as `limit`.
	 * @returns positions skipped.
	 */
	advance(lease: Lease, tokens: ArrayLike<number>, limit: number): number {
		const before = lease.length;
		while (lease.length === lease.path.length * this.blockTokens) {
			const match = this.#tree.match(lease.path.at(-1), tokens, lease.length, limit);
			if (match?.length !== this.blockTokens) break;
			this.#pool.lease(match.node.block);
			const replaced = lease.blocks[lease.path.length];
			if (replaced !== undefined) this.#pool.release(replaced);
			lease.blocks[lease.path.length] = match.node.block;
			lease.path.push(match.node);
			lease.length += this.blockTokens;
		}
		return lease.length - before;
	}

	/**
	 * Leases blocks for positions up to `length`, evicting cached ones as needed.
	 * @returns false, with nothing changed, if there are not enough.
	 */
	grow(lease: Lease, length: number): boolean {
		const missing = this.blocksFor(length) - lease.blocks.length;
		if (missing > this.availableBlocks) return false;
		for (let i = 0; i < missing; i++) {
			if (this.#pool.freeBlocks === 0) {
				const evicted = this.#tree.evict((node) => !this.#pool.isLeased(node.block));
				if (evicted) this.#pool.uncache(evicted.block);
			}
			lease.blocks.push(this.#pool.take()!);
		}
		return true;
	}

	/**
	 * Records that a step computed the keys and values of `tokens[lease.length, length)`, and shares the blocks that it
	 * filled. Positions that a step wrote beyond `length` (rejected drafts) do not count and are overwritten later.
	 */
	commit(lease: Lease, tokens: ArrayLike<number>, length: number): void {
		lease.length = length;
		while ((lease.path.length + 1) * this.blockTokens <= length) {
			const index = lease.path.length;
			const parent = lease.path.at(-1);
			const start = index * this.blockTokens;
			const own = lease.blocks[index]!;
			const same = this.#tree.match(parent, tokens, start, start + this.blockTokens);
			if (same?.length === this.blockTokens) {
				// Another sequence has computed the same block meanwhile, with the same bits. Only one copy is kept.
				this.#pool.lease(same.node.block);
				lease.blocks[index] = same.node.block;
				this.#pool.release(own);
				lease.path.push(same.node);
			} else {
				lease.path.push(this.#insert(parent, own, slice(tokens, start, start + this.blockTokens)));
			}
		}
	}

	/** Gives a lease up. The positions that it computed stay cached until they are evicted. */
	release(lease: Lease, tokens: ArrayLike<number>): void {
		const start = lease.path.length * this.blockTokens;
		if (lease.length > start) {
			const parent = lease.path.at(-1);
			const match = this.#tree.match(parent, tokens, start, lease.length);
			if (match?.length === lease.length - start) this.#tree.touch(match.node);
			else this.#insert(parent, lease.blocks[lease.path.length]!, slice(tokens, start, lease.length));
		}
		for (let i = lease.path.length - 1; i >= 0; i--) this.#tree.touch(lease.path[i]!);
		for (const block of lease.blocks) this.#pool.release(block);
		lease.blocks.length = 0;
		lease.path.length = 0;
		lease.length = 0;
	}

	/**
	 * Drops what is cached for this token sequence alone: the blocks that no longer sequence shares and no lease uses.
	 */
	forget(tokens: ArrayLike<number>): void {
		const path: PrefixNode[] = [];
		for (let start = 0; start < tokens.length; ) {
			const match = this.#tree.match(path.at(-1), tokens, start, tokens.length);
			if (!match || match.length < match.node.tokens.length) break;
			path.push(match.node);
			start += match.length;
		}
		for (const node of path.reverse()) {
			if (node.children.size > 0 || this.#pool.isLeased(node.block)) return;
			this.#tree.remove(node);
			this.#pool.uncache(node.block);
		}
	}

	/**
	 * Grows a new lease and copies the positions that match in part. The block that they are copied from is leased
	 * meanwhile, so that making room does not evict it. That block can be the one block too many.
	 */
	#copyPartial(lease: Lease, { node, length }: PrefixMatch, positions: number): boolean {
		this.#pool.lease(node.block);
		const grown = this.grow(lease, positions);
		if (grown) {
			this.#copyBlock(node.block, lease.blocks[lease.path.length]!, length);
			this.#tree.touch(node);
			lease.length += length;
		}
		this.#pool.release(node.block);
		return grown;
	}

	#insert(parent: PrefixNode | undefined, block: number, tokens: Int32Array): PrefixNode {
		const { node, superseded } = this.#tree.insert(parent, block, tokens);
		this.#pool.cache(block);
		for (const old of superseded) this.#pool.uncache(old);
		return node;
	}
}

function slice(tokens: ArrayLike<number>, start: number, end: number): Int32Array {
	return Int32Array.from({ length: end - start }, (_, index) => tokens[start + index]!);
}
