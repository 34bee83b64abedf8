// The interface of encoders, which make token ids of text. A vocabulary says what the tokens are, and an encoder says
// which of them a text becomes. User-defined tokens are cut out of a text before the encoder sees the rest
// (tokenizer.ts), so no encoder has to know them.
import type { GgufHeader } from '../../native/index';
import type { Vocabulary } from './vocabulary';

/** How much is encoded before others have their turn. One pace serves all parts of a text. */
export interface Pace {
	/** Bytes of text that a turn takes. */
	readonly bytes: number;
	/** Bytes that are left of the present turn. */
	left: number;
}

export interface Encoder {
	/**
	 * The most bytes of text that one token stands for, user-defined tokens included. So n bytes are at least n /
	 * `longestToken` tokens.
	 */
	readonly longestToken: number;

	/** The most tokens that so many bytes of text can become. */
	mostTokens(bytes: number): number;

	/**
	 * Writes the ids of `text` to `ids[count]` and on, and yields whenever the pace's turn has ended. Others may encode
	 * meanwhile. `ids` has room for `mostTokens(text.length)` more.
	 * @param text valid UTF-8 that is not empty and has no user-defined token.
	 * @returns the new number of ids.
	 */
	encode(text: Uint8Array, ids: Int32Array, count: number, pace: Pace): Generator<undefined, number>;

	/**
	 * The end of the stable part of `text`. However the text goes on, its tokens begin with the tokens of the stable part
	 * alone. The end lies between two characters.
	 * @param text as in `encode`, or empty.
	 * @param open the place where a user-defined token may have begun, or `text.length`. The stable part ends there at the
	 * latest.
	 */
	stableEnd(text: Uint8Array, open: number): number;
}

/** The tokens and the encoder that were read from a file. */
export interface ReadTokens {
	vocabulary: Vocabulary;
	encoder: Encoder;
	/** Whether text begins with the BOS token where `tokenizer.ggml.add_bos_token` does not say. */
	addsBos: boolean;
}

/**
 * Reads the tables of one kind of tokenizer, some milliseconds at a time. It throws an error that names the key, token
 * or merge at fault. Files are untrusted: once a table has been read, no lookup can leave it.
 */
export type TokensReader = (header: GgufHeader) => Generator<undefined, ReadTokens>;
