// Byte-level byte-pair encoding (GPT-2's and its successors'): a pre-tokenizer cuts text into pieces, and merges join
// the bytes of each piece. The tables come from read-byte-level-bpe.ts.
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

	/** @param byteIds the token of each byte, or −1 if the byte has no token. */
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
	 * Bytes without a token are left out, as llama.cpp does. (SmolLM's vocabulary lacks some bytes that no UTF-8 text
	 * has.) A piece that is longer than a turn is merged over several turns.
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
				// This piece has a `PieceMerge` of its own, since other texts are encoded in between.
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
	 * The start of the piece in which `open` lies, or of the last piece, since merges never leave a piece. There is one
	 * exception. If a user-defined token does come at `open`, white space before that piece may be cut into other pieces.
	 * This is ignored, since it is rare. Taking such white space back as well would cost a step on each indented line that
	 * begins with "<".
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
	 * The first text token whose text is a whole piece that merging turns into other tokens. If there is none, it makes no
	 * difference whether whole pieces are looked up or merged.
	 */
	firstUnmerged(): number | undefined {
		const vocabulary = this.#vocabulary;
		const ids = new Int32Array(vocabulary.longestToken);
		for (let id = 0; id < vocabulary.size; id++) {
			// Special and user-defined tokens are not merged.
			if (vocabulary.isAdded(id)) continue;
			const bytes = vocabulary.tokenBytes(id);
			// If several tokens have the same bytes, only the first one is ever found.
			if (vocabulary.index.find(bytes, 0, bytes.length) !== id || !isUtf8(bytes)) continue;
			if (this.#preTokenizer.scan(bytes, bytes.length).pieceEnd(0) !== bytes.length) continue;
			if (this.#merge.begin(bytes, 0, bytes.length).finish(ids, 0) !== 1 || ids[0] !== id) return id;
		}
		return undefined;
	}
}
