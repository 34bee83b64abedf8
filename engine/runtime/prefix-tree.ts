// A tree over tokens whose nodes are cache blocks. The path from the root to a node has all tokens up to the end of the
// node's block. Only nodes of full blocks have children. A sequence's unfilled last block is kept as a leaf.

export interface PrefixNode {
	readonly block: number;
	/** The tokens whose keys and values the block holds, at most as many as a block has positions. */
	readonly tokens: Int32Array;
	readonly parent: PrefixNode | undefined;
	/**
	 * Children by their first token. Several children begin with the same token where the rest differs, e.g. after edits
	 * in the middle of a file.
	 */
	readonly children: Map<number, PrefixNode[]>;
}

export interface PrefixMatch {
	node: PrefixNode;
	/** Leading tokens of the node that match. */
	length: number;
}

/**
 * A prefix tree that keeps its nodes in least-recently-used order. The tree knows nothing of leases: the caller says
 * which nodes may go.
 */
export class PrefixTree {
	readonly #roots = new Map<number, PrefixNode[]>();
	/**
	 * All nodes, least recently used first. A node is touched before its parent. So among unused nodes a leaf always
	 * comes before its ancestors, and eviction from the front never meets a node that still has children.
	 */
	readonly #order = new Set<PrefixNode>();

	get size(): number {
		return this.#order.size;
	}

	/** The child of `parent` (undefined: the root) sharing the most leading tokens with `tokens[start, end)`. */
	match(
		parent: PrefixNode | undefined,
		tokens: ArrayLike<number>,
		start: number,
		end: number,
	): PrefixMatch | undefined {
		if (start >= end) return undefined;
		let best: PrefixMatch | undefined;
		for (const node of this.#childrenOf(parent).get(tokens[start]!) ?? []) {
			const limit = Math.min(node.tokens.length, end - start);
			let length = 1;
			while (length < limit && node.tokens[length] === tokens[start + length]) length++;
			if (!best || length > best.length) best = { node, length };
		}
		return best;
	}

	/**
	 * Adds a block under `parent` as the most recently used one. Removes the leaves whose tokens are a true prefix of the
	 * new node's: the new node serves whatever they could serve.
	 * @returns the new node and the blocks of the removed leaves.
	 */
	insert(
		parent: PrefixNode | undefined,
		block: number,
		tokens: Int32Array,
	): { node: PrefixNode; superseded: number[] } {
		const node: PrefixNode = { block, tokens, parent, children: new Map() };
		const children = this.#childrenOf(parent);
		const siblings = children.get(tokens[0]!) ?? [];
		const superseded = siblings.filter(
			(sibling) =>
				sibling.tokens.length < tokens.length && sibling.tokens.every((token, index) => token === tokens[index]),
		);
		for (const sibling of superseded) this.#order.delete(sibling);
		children.set(tokens[0]!, [...siblings.filter((sibling) => !superseded.includes(sibling)), node]);
		this.#order.add(node);
		return { node, superseded: superseded.map((sibling) => sibling.block) };
	}

	/** Makes a node the most recently used one. Touch children before their parents. */
	touch(node: PrefixNode): void {
		if (this.#order.delete(node)) this.#order.add(node);
	}

	/** Removes a leaf. */
	remove(node: PrefixNode): void {
		const children = this.#childrenOf(node.parent);
		const siblings = (children.get(node.tokens[0]!) ?? []).filter((sibling) => sibling !== node);
		if (siblings.length > 0) children.set(node.tokens[0]!, siblings);
		else children.delete(node.tokens[0]!);
		this.#order.delete(node);
	}

	/** Removes the least recently used leaf that `mayGo` allows and returns it. */
	evict(mayGo: (node: PrefixNode) => boolean): PrefixNode | undefined {
		for (const node of this.#order) {
			if (node.children.size > 0 || !mayGo(node)) continue;
			this.remove(node);
			return node;
		}
		return undefined;
	}

	#childrenOf(parent: PrefixNode | undefined): Map<number, PrefixNode[]> {
		return parent ? parent.children : this.#roots;
	}
}
