// Finds the merge of two neighbouring tokens by a hash table from pairs of ids to merges. The table is in typed arrays.
// It indexes 446,189 merges in a fraction of the time and memory that a Map with strings would take.
import type { StringTable } from '../../native/index';
import { decodeByteLevel } from './byte-level';
import { capacityFor, type TokenIndex } from './token-index';

/** So many merges are read before others have their turn. They take some milliseconds. */
const MERGES_A_TURN = 4096;

/** Whether merges may name this text although it is not a token that merges make. */
type IsOther = (bytes: Uint8Array, from: number, to: number) => boolean;

export class MergeTable {
	/** [capacity] The line of a merge, or −1, by open addressing. */
	readonly #slots: Int32Array;
	readonly #mask: number;
	/** [lines] The ids of the left part, the right part, and the token that they make. */
	readonly #left: Int32Array;
	readonly #right: Int32Array;
	readonly #made: Int32Array;
	/** Whether the rank of a merge is the id of the token that it makes, and not its line. */
	#ranksByToken = true;
	/** The token that the merge of the line before makes. */
	#previous = -1;
	/** Room for the decoded bytes of a line. */
	#scratch = new Uint8Array(256);

	private constructor(count: number) {
		const capacity = capacityFor(count);
		this.#slots = new Int32Array(capacity).fill(-1);
		this.#mask = capacity - 1;
		this.#left = new Int32Array(count);
		this.#right = new Int32Array(count);
		this.#made = new Int32Array(count);
	}

	/**
	 * Parses "left right" lines of byte-level text. It yields now and then, so that others have their turn. A merge with a
	 * part or result that `isOther` knows is left out.
	 *
	 * The rank of a merge is its line, or the id of the token that it makes if the lines are in the order of these ids.
	 * Tables that are derived from tiktoken's ranks have this order, with several lines a token. The id is tiktoken's own
	 * rank. It makes a difference where two overlapping pairs make the same token.
	 * @throws an error that names the first merge that is malformed or whose parts or result are no tokens.
	 */
	static *read(table: StringTable, index: TokenIndex, isOther: IsOther): Generator<undefined, MergeTable> {
		const count = table.offsets.length - 1;
		const merges = new MergeTable(count);
		for (let line = 0; line < count; ) {
			const end = Math.min(count, line + MERGES_A_TURN);
			for (; line < end; line++) merges.#enter(line, table, index, isOther);
			yield;
		}
		return merges;
	}

	#enter(line: number, table: StringTable, index: TokenIndex, isOther: IsOther): void {
		const from = table.offsets[line]!;
		const to = table.offsets[line + 1]!;
		let space = from;
		while (space < to && table.bytes[space] !== 0x20) space++;
		if (space === from || space >= to - 1)
			throw new Error(`merge ${line} in tokenizer.ggml.merges is not "left right"`);
		if (to - from > this.#scratch.length) this.#scratch = new Uint8Array(2 * (to - from));
		const scratch = this.#scratch;
		const previous = this.#previous;
		const middle = decodeByteLevel(table.bytes, from, space, scratch, 0);
		const end = middle < 0 ? -1 : decodeByteLevel(table.bytes, space + 1, to, scratch, middle);
		const left = end < 0 ? -1 : index.find(scratch, 0, middle);
		const right = end < 0 ? -1 : index.find(scratch, middle, end);
		let made = -1;
		if (end >= 0) {
			const same = previous >= 0 && index.isToken(previous, scratch, 0, end);
			made = same ? previous : index.find(scratch, 0, end);
		}
		if (left < 0 || right < 0 || made < 0) {
			const known = (id: number, at: number, to: number) => id >= 0 || isOther(scratch, at, to);
			if (end >= 0 && known(left, 0, middle) && known(right, middle, end) && known(made, 0, end)) return;
			throw new Error(`merge ${line} in tokenizer.ggml.merges names text that is no token`);
		}
		if (made < previous) this.#ranksByToken = false;
		this.#previous = made;
		this.#left[line] = left;
		this.#right[line] = right;
		this.#made[line] = made;
		this.#insert(line);
	}

	/** The line of the merge of two tokens, or −1 if they do not merge. */
	find(left: number, right: number): number {
		for (let slot = firstSlot(left, right) & this.#mask; ; slot = (slot + 1) & this.#mask) {
			const line = this.#slots[slot]!;
			if (line < 0 || (this.#left[line] === left && this.#right[line] === right)) return line;
		}
	}

	/** The rank of a line's merge. The merge with the lowest rank comes first. */
	rank(line: number): number {
		return this.#ranksByToken ? this.#made[line]! : line;
	}

	/** The token that a line's merge makes. */
	result(line: number): number {
		return this.#made[line]!;
	}

	/** Enters a line. If several lines have the same pair, the first one counts. */
	#insert(line: number): void {
		const left = this.#left[line]!;
		const right = this.#right[line]!;
		let slot = firstSlot(left, right) & this.#mask;
		for (; this.#slots[slot]! >= 0; slot = (slot + 1) & this.#mask) {
			const other = this.#slots[slot]!;
			if (this.#left[other] === left && this.#right[other] === right) return;
		}
		this.#slots[slot] = line;
	}
}

function firstSlot(left: number, right: number): number {
	const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
	return hash ^ (hash >>> 15);
}
