// Finds whole tokens in text: user-defined tokens, which are cut out before the pre-tokenizer sees the rest, or marks
// in the output of a chat template. If tokens overlap, the longest one in the whole text goes first, then the one with
// the lowest id, then the leftmost (llama.cpp's `tokenizer_st_partition`).

/** Longer tokens are never found. So the work stays in proportion to the text, whatever a file says. */
const MAX_BYTES = 512;
/** The most nodes of the trie. This is twice what the largest known vocabularies need. */
const MAX_NODES = 2 ** 20;

export interface TokenMatch {
	start: number;
	end: number;
	id: number;
}

export class TokenMatcher {
	/**
	 * A trie in a table with open addressing: [slot][node · 256 + byte, child of that node for that byte]. Node 0 is the
	 * root.
	 */
	#slots = new Float64Array(2 * 1024).fill(-1);
	#nodes = 1;
	/** [nodes] The token that ends at the node, or −1. */
	readonly #ids: number[] = [-1];
	/** [nodes] Whether longer tokens go on from the node. */
	readonly #goesOn: boolean[] = [false];
	/** [256] Is 1 for each byte that begins a token. */
	readonly #begins = new Uint8Array(256);
	/** How many tokens can be found. */
	#size = 0;

	/**
	 * Enters a token. If several tokens have the same bytes, the first one counts. Empty and overlong tokens are never
	 * found.
	 */
	add(id: number, bytes: Uint8Array): void {
		if (bytes.length === 0 || bytes.length > MAX_BYTES || this.#nodes + bytes.length > MAX_NODES) return;
		let node = 0;
		for (const byte of bytes) {
			let child = this.#child(node, byte);
			if (child < 0) {
				child = this.#nodes++;
				this.#ids.push(-1);
				this.#goesOn.push(false);
				this.#goesOn[node] = true;
				this.#insert(256 * node + byte, child);
			}
			node = child;
		}
		this.#begins[bytes[0]!] = 1;
		if (this.#ids[node]! >= 0) return;
		this.#ids[node] = id;
		this.#size++;
	}

	/** Removes the token with these bytes, so that it is no longer found. */
	remove(bytes: Uint8Array): void {
		let node = 0;
		for (const byte of bytes) {
			node = this.#child(node, byte);
			if (node < 0) return;
		}
		if (this.#ids[node]! < 0) return;
		this.#ids[node] = -1;
		this.#size--;
	}

	/** The tokens in `bytes[0, length)` in the order of their places. They do not overlap. */
	find(bytes: Uint8Array, length: number): TokenMatch[] {
		if (this.#size === 0) return [];
		// The candidates by their length. A candidate that overlaps a longer token makes room for the next shorter one at its
		// place.
		const waiting: TokenMatch[][] = [];
		const wait = (start: number, most: number) => {
			const match = this.#longest(bytes, start, Math.min(most, length - start));
			if (!match) return;
			const size = match.end - match.start;
			waiting[size] ??= [];
			waiting[size].push(match);
		};
		for (let start = 0; start < length; start++) if (this.#begins[bytes[start]!] === 1) wait(start, MAX_BYTES);
		if (waiting.length === 0) return [];
		const taken = new Uint8Array(length);
		const found: TokenMatch[] = [];
		for (let size = waiting.length - 1; size > 0; size--) {
			const matches = waiting[size];
			if (!matches) continue;
			matches.sort((a, b) => a.id - b.id || a.start - b.start);
			for (const match of matches) {
				if (taken[match.start] === 1) continue;
				// A token that is taken already is not shorter, so if it overlaps this one at all, it covers its end.
				if (taken[match.end - 1] === 0) {
					taken.fill(1, match.start, match.end);
					found.push(match);
					continue;
				}
				wait(match.start, taken.indexOf(1, match.start) - match.start);
			}
		}
		return found.sort((a, b) => a.start - b.start);
	}

	/** Cuts `bytes` at the tokens in them into ids and views of the bytes between them. No view is empty. */
	split(bytes: Uint8Array): (number | Uint8Array)[] {
		const matches = this.find(bytes, bytes.length);
		if (matches.length === 0) return bytes.length === 0 ? [] : [bytes];
		const parts: (number | Uint8Array)[] = [];
		let last = 0;
		for (const { start, end, id } of matches) {
			if (start > last) parts.push(bytes.subarray(last, start));
			parts.push(id);
			last = end;
		}
		if (last < bytes.length) parts.push(bytes.subarray(last));
		return parts;
	}

	/** The start of the longest end of `bytes` that more bytes could make a token, or `bytes.length` if there is none. */
	unfinished(bytes: Uint8Array): number {
		const { length } = bytes;
		if (this.#size === 0) return length;
		for (let start = Math.max(0, length - MAX_BYTES); start < length; start++) {
			let node = this.#begins[bytes[start]!] === 1 ? 0 : -1;
			for (let at = start; node >= 0 && at < length; at++) node = this.#child(node, bytes[at]!);
			if (node >= 0 && this.#goesOn[node]) return start;
		}
		return length;
	}

	#longest(bytes: Uint8Array, start: number, most: number): TokenMatch | undefined {
		let found: TokenMatch | undefined;
		let node = 0;
		for (let at = start; at < start + most; at++) {
			node = this.#child(node, bytes[at]!);
			if (node < 0) break;
			const id = this.#ids[node]!;
			if (id >= 0) found = { start, end: at + 1, id };
		}
		return found;
	}

	#child(node: number, byte: number): number {
		const key = 256 * node + byte;
		const slots = this.#slots;
		const mask = slots.length / 2 - 1;
		for (let slot = firstSlot(key) & mask; ; slot = (slot + 1) & mask) {
			const other = slots[2 * slot]!;
			if (other === key) return slots[2 * slot + 1]!;
			if (other < 0) return -1;
		}
	}

	#insert(key: number, child: number): void {
		if (4 * this.#nodes > this.#slots.length) {
			const old = this.#slots;
			this.#slots = new Float64Array(2 * old.length).fill(-1);
			for (let i = 0; i < old.length; i += 2) if (old[i]! >= 0) this.#place(old[i]!, old[i + 1]!);
		}
		this.#place(key, child);
	}

	#place(key: number, child: number): void {
		const slots = this.#slots;
		const mask = slots.length / 2 - 1;
		let slot = firstSlot(key) & mask;
		while (slots[2 * slot]! >= 0) slot = (slot + 1) & mask;
		slots[2 * slot] = key;
		slots[2 * slot + 1] = child;
	}
}

/** The first slot to look at for a key below 2^40, before masking. */
function firstSlot(key: number): number {
	const hash = Math.imul(key % 2 ** 32, 0x9e3779b1) ^ Math.imul(key / 2 ** 32, 0x85ebca77);
	return hash ^ (hash >>> 15);
}
