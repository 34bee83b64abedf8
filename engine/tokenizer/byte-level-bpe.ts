// Byte-level byte-pair encoding (GPT-2's and its successors'): a pre-tokenizer cuts text into pieces, and merges join the bytes of each
// piece. The tables come from read-byte-level-bpe.ts.
import { isUtf8 } from 'node:buffer';
import type { Encoder, Pace } from './encoder';
import type { MergeTable } from './merge-table';
import { PieceMerge } from './piece-merge';
import type { PreTokenizer } from './pre-tokenizer';
import type { Vocabulary } from './vocabulary';

export class ByteLevelBpe implements Encoder {
	readonly #vocabulary: Vocabulary;
	readonly #merges: MergeTable;
	readonly #byteIds: Int32Array;
	readonly #preTokenizer: PreTokenizer;
	readonly #merge: PieceMerge;

	/** @param byteIds the token of each byte, −1 where there is none. */
	constructor(vocabulary: Vocabulary, merges: MergeTable, byteIds: Int32Array, preTokenizer: PreTokenizer) {
		this.#vocabulary = vocabulary;
		this.#merges = merges;
		this.#byteIds = byteIds;
		this.#preTokenizer = preTokenizer;
		this.#merge = new PieceMerge(merges, byteIds);
	}

	get longestToken(): number {
		return this.#vocabulary.longestToken;
	}

	mostTokens(bytes: number): number {
		return bytes;
	}

	/**
	 * Bytes that the vocabulary has no token for (SmolLM's lacks some that no UTF-8 text has) are left out, as llama.cpp does. A piece
	 * that is longer than a turn is merged over several turns.
	 */
	*encode(text: Uint8Array, ids: Int32Array, count: number, pace: Pace): Generator<undefined, number> {
		const scanner = this.#preTokenizer.scan(text, text.length);
		const { index } = this.#vocabulary;
		let written = count;
		for (let start = 0; start < text.length; ) {
			const end = scanner.pieceEnd(start);
			const whole = this.#preTokenizer.wholePieces ? index.find(text, start, end) : -1;
			if (whole >= 0 && this.#vocabulary.comesFromText(whole)) {
				ids[written++] = whole;
			} else if (end - start <= pace.bytes) {
				written = this.#merge.begin(text, start, end).finish(ids, written);
			} else {
				// This piece has a merge of its own, since others encode in between.
				const merge = new PieceMerge(this.#merges, this.#byteIds).begin(text, start, end);
				while (!merge.advance(pace.bytes)) yield;
				written = merge.finish(ids, written);
			}
			pace.left -= end - start;
			start = end;
			if (pace.left <= 0) {
				pace.left = pace.bytes;
				yield;
			}
		}
		return written;
	}

	/**
	 * The start of the piece in which `open` lies, or of the last piece: merges never leave a piece. If a user-defined token does come
	 * at `open`, white space before that piece may be cut otherwise. This is left out of account: it is rare, and to take such white
	 * space back as well would cost a step on each indented line that begins with "<".
	 */
	stableEnd(text: Uint8Array, open: number): number {
		const scanner = this.#preTokenizer.scan(text, text.length);
		let start = 0;
		for (let end = 0; end < text.length && end <= open; ) {
			start = end;
			end = scanner.pieceEnd(start);
		}
		return start;
	}

	/**
	 * The first text token that is a whole piece of text, but not what merging makes of that piece; undefined: whether whole pieces
	 * are taken as they are makes no difference.
	 */
	firstUnmerged(): number | undefined {
		const vocabulary = this.#vocabulary;
		const ids = new Int32Array(vocabulary.longestToken);
		for (let id = 0; id < vocabulary.size; id++) {
			// Marks and user-defined tokens are not merged.
			if (vocabulary.isAdded(id)) continue;
			const bytes = vocabulary.tokenBytes(id);
			// Of tokens with the same bytes only the first is ever found.
			if (vocabulary.index.find(bytes, 0, bytes.length) !== id || !isUtf8(bytes)) continue;
			if (this.#preTokenizer.scan(bytes, bytes.length).pieceEnd(0) !== bytes.length) continue;
			if (this.#merge.begin(bytes, 0, bytes.length).finish(ids, 0) !== 1 || ids[0] !== id) return id;
		}
		return undefined;
	}
}
