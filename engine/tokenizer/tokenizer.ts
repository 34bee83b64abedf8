// Text ↔ token ids. A tokenizer is a model's vocabulary together with its encoder. It first finds the user-defined
// tokens in a text. The encoder then makes tokens of the text between them.
import type { GgufHeader } from '../../native/index';
import { headerFault, optionalFlag, optionalString, requireString } from '../gguf/metadata';
import { specialIds } from '../gguf/special-ids';
import { messageOf } from '../quote';
import type { Encoder } from './encoder';
import { NfcNormalizer, NORMALIZER_KEY } from './normalizer';
import { readerOf } from './readers';
import { TokenMatcher } from './token-matcher';
import { fromUtf8, toUtf8 } from './utf8';
import type { Vocabulary } from './vocabulary';

export interface TokenizerOptions {
	/** The token that text begins with, where the model wants one. */
	bosId?: number | undefined;
	/** Normalises text before it is encoded, where the model wants this. */
	normalizer?: NfcNormalizer | undefined;
}

export class Tokenizer {
	readonly vocabulary: Vocabulary;
	readonly encoder: Encoder;
	/** The token that text begins with, where the model wants one. */
	readonly bosId: number | undefined;
	readonly #normalizer: NfcNormalizer | undefined;
	/** Finds the names of special and user-defined tokens. It is made when it is first needed. */
	#marks: TokenMatcher | undefined;

	constructor(vocabulary: Vocabulary, encoder: Encoder, { bosId, normalizer }: TokenizerOptions = {}) {
		this.vocabulary = vocabulary;
		this.encoder = encoder;
		this.bosId = bosId;
		this.#normalizer = normalizer;
	}

	/**
	 * Reads a tokenizer from `tokenizer.ggml.{model,add_bos_token}`, NORMALIZER_KEY and the keys that the reader of that
	 * model reads.
	 * @throws an error that names the file and the key, token or merge at fault, if the tables are missing, contradict
	 * each other or need another kind of tokenizer.
	 */
	static fromGguf(header: GgufHeader): Tokenizer {
		const steps = Tokenizer.#read(header);
		for (;;) {
			const { done, value } = steps.next();
			if (done) return value;
		}
	}

	/** Does the same a few milliseconds at a time. Others have their turn in between. */
	static async fromGgufInTurns(header: GgufHeader): Promise<Tokenizer> {
		const steps = Tokenizer.#read(header);
		for (;;) {
			const { done, value } = steps.next();
			if (done) return value;
			await new Promise((resolve) => setImmediate(resolve));
		}
	}

	static *#read(header: GgufHeader): Generator<undefined, Tokenizer> {
		try {
			const read = readerOf(requireString(header, 'tokenizer.ggml.model'));
			const givenBos = optionalFlag(header, 'tokenizer.ggml.add_bos_token');
			const normalizes = optionalString(header, NORMALIZER_KEY) === 'NFC';
			const { vocabulary, encoder, addsBos } = yield* read(header);
			return new Tokenizer(vocabulary, encoder, {
				bosId: (givenBos ?? addsBos) ? specialIds(header).ids.get('bos') : undefined,
				normalizer: normalizes ? new NfcNormalizer(vocabulary.userDefined) : undefined,
			});
		} catch (error) {
			throw headerFault(header, messageOf(error));
		}
	}

	/**
	 * The token ids of `text`, without BOS. Lone surrogates count as U+FFFD. Whatever the text says, it never becomes a
	 * token that does not come from text.
	 */
	encode(text: string): Int32Array {
		return this.encodeInSteps(text, Number.POSITIVE_INFINITY).next().value as Int32Array;
	}

	/**
	 * Does the same as `encode`, but yields after every so many bytes, so that others have their turn while megabytes are
	 * encoded.
	 */
	*encodeInSteps(text: string, stepBytes: number): Generator<undefined, Int32Array> {
		const bytes = toUtf8(this.#normalizer ? yield* this.#normalizer.normalize(text, Number.isFinite(stepBytes)) : text);
		const parts = this.vocabulary.userDefined.split(bytes);
		let room = 0;
		for (const part of parts) room += typeof part === 'number' ? 1 : this.encoder.mostTokens(part.length);
		const ids = new Int32Array(room);
		const pace = { bytes: stepBytes, left: stepBytes };
		let count = 0;
		for (const part of parts) {
			if (typeof part === 'number') ids[count++] = part;
			else count = yield* this.encoder.encode(part, ids, count, pace);
		}
		return ids.slice(0, count);
	}

	/** How many tokens `encode(text)` gives. */
	count(text: string): number {
		return this.encode(text).length;
	}

	/**
	 * The bytes of the tokens. Special tokens are decoded as their names.
	 * @throws an error on an id outside the vocabulary.
	 */
	decode(ids: ArrayLike<number>): Uint8Array {
		let length = 0;
		for (let i = 0; i < ids.length; i++) length += this.vocabulary.tokenBytes(ids[i]!).length;
		const bytes = new Uint8Array(length);
		let end = 0;
		for (let i = 0; i < ids.length; i++) {
			const token = this.vocabulary.tokenBytes(ids[i]!);
			bytes.set(token, end);
			end += token.length;
		}
		return bytes;
	}

	/** The most bytes of text that a single token can stand for. */
	get longestToken(): number {
		return this.encoder.longestToken;
	}

	/**
	 * The end of the stable part of UTF-8 text. However the text goes on, its tokens begin with the tokens of the stable
	 * part. The rest is the part that the encoder finds not stable, or a user-defined token that more text may make
	 * longer.
	 */
	stableEnd(text: Uint8Array): number {
		const { userDefined } = this.vocabulary;
		const open = userDefined.unfinished(text);
		/** The bounds of the text between two user-defined tokens in which `open` lies. */
		let [from, to] = [0, text.length];
		for (const { start, end } of userDefined.find(text, text.length)) {
			if (start > open) {
				to = start;
				break;
			}
			if (open < end) return start;
			from = end;
		}
		return from + this.encoder.stableEnd(text.subarray(from, to), open - from);
	}

	/**
	 * Cuts text at the names of special and user-defined tokens into ids and the texts between them. Only text by a
	 * model's publisher, such as the output of a chat template, may be cut like this.
	 */
	splitSpecials(text: string): (number | string)[] {
		if (!this.#marks) {
			this.#marks = new TokenMatcher();
			for (const [name, id] of this.vocabulary.named()) this.#marks.add(id, toUtf8(name));
		}
		return this.#marks.split(toUtf8(text)).map((part) => (typeof part === 'number' ? part : fromUtf8(part)));
	}
}
