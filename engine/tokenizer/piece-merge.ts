// Byte-pair merging of one piece of text. It starts with single bytes and always merges the pair with the lowest rank,
// and the leftmost one among equals. With a heap, a piece of n bytes takes O(n log n). A piece may be megabytes long,
// so it can be merged a bit at a time.
import type { MergeTable } from './merge-table';

const RANK_UNIT = 2 ** 32;

/**
 * Merges one piece after another. It has a linked list of tokens and a heap of pairs, and keeps its arrays for the next
 * piece.
 */
export class PieceMerge {
	readonly #merges: MergeTable;
	readonly #byteIds: Int32Array;
	/** Bytes of the piece. */
	#length = 0;
	/** For how many bytes the pair with the next one has been looked up. */
	#paired = 0;
	/** [bytes] A linked list: each token stands at its first byte, with the places of the next and the previous token. */
	#token = new Int32Array(0);
	#next = new Int32Array(0);
	#previous = new Int32Array(0);
	/** [bytes] The line of the token's merge with the next token, or −1. */
	#line = new Int32Array(0);
	readonly #heap = new MinHeap();

	/** @param byteIds the token of each byte, or −1 if the byte has no token. */
	constructor(merges: MergeTable, byteIds: Int32Array) {
		this.#merges = merges;
		this.#byteIds = byteIds;
	}

	/** Begins with the piece `bytes[start, end)`. */
	begin(bytes: Uint8Array, start: number, end: number): this {
		const n = end - start;
		if (n > this.#token.length) {
			const capacity = Math.max(64, 2 * n);
			this.#token = new Int32Array(capacity);
			this.#next = new Int32Array(capacity);
			this.#previous = new Int32Array(capacity);
			this.#line = new Int32Array(capacity);
		}
		for (let i = 0; i < n; i++) {
			this.#token[i] = this.#byteIds[bytes[start + i]!]!;
			this.#next[i] = i + 1;
			this.#previous[i] = i - 1;
		}
		this.#length = n;
		this.#paired = 0;
		return this;
	}

	/** Goes on for so many pairs. Returns true when nothing is left to merge. */
	advance(pairs: number): boolean {
		const token = this.#token;
		const next = this.#next;
		const previous = this.#previous;
		const line = this.#line;
		const heap = this.#heap;
		const merges = this.#merges;
		const n = this.#length;
		let left = pairs;
		for (; this.#paired < n; this.#paired++) {
			if (left-- <= 0) return false;
			this.#pair(this.#paired);
		}
		for (; left > 0; left--) {
			const key = heap.pop();
			if (key < 0) return true;
			const rank = Math.floor(key / RANK_UNIT);
			const at = key - rank * RANK_UNIT;
			const merged = line[at]!;
			if (merged < 0 || merges.rank(merged) !== rank) continue; // one of its tokens has been merged since
			const right = next[at]!;
			token[at] = merges.result(merged);
			line[right] = -1;
			const after = next[right]!;
			next[at] = after;
			if (after < n) previous[after] = at;
			this.#pair(at);
			if (at > 0) this.#pair(previous[at]!);
		}
		return false;
	}

	/** Merges all pairs that are left and writes the ids from `ids[count]` on. Returns the new count. */
	finish(ids: Int32Array, count: number): number {
		this.advance(Number.POSITIVE_INFINITY);
		let written = count;
		for (let i = 0; i < this.#length; i = this.#next[i]!) {
			if (this.#token[i]! >= 0) ids[written++] = this.#token[i]!;
		}
		return written;
	}

	#pair(at: number): void {
		const right = this.#next[at]!;
		// A byte without a token merges with nothing.
		const line = right < this.#length ? this.#merges.find(this.#token[at]!, this.#token[right]!) : -1;
		this.#line[at] = line;
		if (line >= 0) this.#heap.push(this.#merges.rank(line) * RANK_UNIT + at);
	}
}

/** A binary heap of numbers with the smallest on top. */
class MinHeap {
	#items = new Float64Array(64);
	#size = 0;

	push(item: number): void {
		if (this.#size === this.#items.length) {
			const grown = new Float64Array(this.#size * 2);
			grown.set(this.#items);
			this.#items = grown;
		}
		let at = this.#size++;
		const items = this.#items;
		while (at > 0) {
			const parent = (at - 1) >> 1;
			if (items[parent]! <= item) break;
			items[at] = items[parent]!;
			at = parent;
		}
		items[at] = item;
	}

	/** Removes and returns the smallest number, or returns −1 if the heap is empty. */
	pop(): number {
		if (this.#size === 0) return -1;
		const items = this.#items;
		const top = items[0]!;
		const last = items[--this.#size]!;
		let at = 0;
		for (;;) {
			let child = 2 * at + 1;
			if (child >= this.#size) break;
			if (child + 1 < this.#size && items[child + 1]! < items[child]!) child++;
			if (items[child]! >= last) break;
			items[at] = items[child]!;
			at = child;
		}
		items[at] = last;
		return top;
	}
}
