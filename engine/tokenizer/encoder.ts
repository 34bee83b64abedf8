// What makes token ids of text. A vocabulary says what the tokens are; an encoder says which of them a text becomes. User-defined
// tokens are cut out of a text before an encoder sees the rest (tokenizer.ts), so no encoder has to know them.
import type { GgufHeader } from '../../native/index';
import type { Vocabulary } from './vocabulary';

/** How much is encoded before others have their turn. One pace serves all parts of a text. */
export interface Pace {
	/** Bytes of text that a turn takes. */
	readonly bytes: number;
	/** Bytes of them that are left of this turn. */
	left: number;
}

export interface Encoder {
	/** The most bytes of text that one token stands for, user-defined tokens included: n bytes are at least n / `longestToken` tokens. */
	readonly longestToken: number;

	/** The most tokens that so many bytes of text become. */
	mostTokens(bytes: number): number;

	/**
	 * Writes the ids of `text` to `ids[count]` and on, and yields whenever the pace's turn has ended. Others may encode meanwhile.
	 * `ids` has room for `mostTokens(text.length)` more.
	 * @param text valid UTF-8 that is not empty and in which no user-defined token is.
	 * @returns how many ids there are then.
	 */
	encode(text: Uint8Array, ids: Int32Array, count: number, pace: Pace): Generator<undefined, number>;

	/**
	 * The end of the stable part of `text`: whatever is written on behind `text`, its tokens begin with the tokens of the stable part
	 * alone. The end lies between two characters.
	 * @param text as in `encode`, or empty.
	 * @param open where a user-defined token may have begun, `text.length` if nowhere. The stable part ends there at the latest.
	 */
	stableEnd(text: Uint8Array, open: number): number;
}

/** What a file says of its tokens. */
export interface ReadTokens {
	vocabulary: Vocabulary;
	encoder: Encoder;
	/** Whether text begins with the BOS token where `tokenizer.ggml.add_bos_token` does not say. */
	addsBos: boolean;
}

/**
 * Reads the tables of one kind of tokenizer, some milliseconds at a time. It throws an error that names the key, token or merge at
 * fault. Files are untrusted: once a table has been read, no lookup can leave it.
 */
export type TokensReader = (header: GgufHeader) => Generator<undefined, ReadTokens>;
