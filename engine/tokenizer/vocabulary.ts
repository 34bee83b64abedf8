// The tokens of a model: their bytes, their names, and whether text may become them. Encoders decide how a text becomes
// tokens (encoder.ts). The readers that make a vocabulary know how a file writes its tokens down.
import { TokenIndex } from './token-index';
import { TokenMatcher } from './token-matcher';
import { fromUtf8, toUtf8 } from './utf8';

/** How a token relates to text. */
export const TokenKind = {
	/** A piece of text. Encoders make these tokens. */
	text: 0,
	/** A mark between texts, or anything else that is no text. It is not shown, and no text becomes it. */
	control: 1,
	/** A piece of text that becomes this token before an encoder sees the rest. */
	userDefined: 2,
	/** Like `control`, but its name means nothing, so it cannot be found by its name. */
	unused: 3,
} as const;
export type TokenKind = (typeof TokenKind)[keyof typeof TokenKind];

/** The shape of the tokens that families write between messages. */
const MARK = /^(?:<.+>|\[.+\])$/s;

/** So many tokens are entered before others have their turn. They take some milliseconds. */
const TOKENS_A_TURN = 4096;

/**
 * The tokens as a reader finds them in a file. The vocabulary keeps these arrays, so the reader must not write to them
 * later.
 */
export interface TokenTable {
	/** The bytes of all tokens: the text of a text token, and the name of a control token. */
	bytes: Uint8Array;
	/** [tokens + 1] Token i is `bytes.subarray(starts[i], starts[i + 1])`. */
	starts: Uint32Array;
	/** [tokens] `TokenKind` */
	kinds: Uint8Array;
}

export class Vocabulary {
	/** The number of tokens. Their ids are 0 to `size` − 1. */
	readonly size: number;
	/** Finds text tokens and user-defined tokens by their bytes. */
	readonly index: TokenIndex;
	/** Finds the user-defined tokens in a text, except for the reserved ones. */
	readonly userDefined = new TokenMatcher();
	/** The bytes of the longest token that text may become. */
	readonly longestToken: number;

	readonly #table: TokenTable;
	/** The ids of control tokens and user-defined tokens by name. Templates and families use these names. */
	readonly #names = new Map<string, number>();
	/** The user-defined tokens that text may no longer become, because of `reserve`. */
	readonly #reserved = new Set<number>();

	private constructor(table: TokenTable, index: TokenIndex, longestToken: number) {
		this.size = table.kinds.length;
		this.index = index;
		this.longestToken = longestToken;
		this.#table = table;
		for (let id = 0; id < this.size; id++) {
			const kind = table.kinds[id];
			if (kind === TokenKind.control || kind === TokenKind.userDefined) this.#names.set(this.#name(id), id);
			if (kind === TokenKind.userDefined) this.userDefined.add(id, this.tokenBytes(id));
		}
	}

	/** Makes a vocabulary some milliseconds at a time. */
	static *of(table: TokenTable): Generator<undefined, Vocabulary> {
		const { bytes, starts, kinds } = table;
		const index = new TokenIndex(bytes, starts, kinds.length);
		let longest = 0;
		for (let id = 0; id < kinds.length; id++) {
			if (id % TOKENS_A_TURN === TOKENS_A_TURN - 1) yield;
			if (kinds[id] !== TokenKind.text && kinds[id] !== TokenKind.userDefined) continue;
			index.add(id);
			longest = Math.max(longest, starts[id + 1]! - starts[id]!);
		}
		return new Vocabulary(table, index, longest);
	}

	/**
	 * The bytes of one token, as a view that must not be written to.
	 * @throws an error on an id outside the vocabulary.
	 */
	tokenBytes(id: number): Uint8Array {
		if (!(id >= 0 && id < this.size && Number.isInteger(id))) {
			throw new Error(`token id ${id} is outside the vocabulary of ${this.size} tokens`);
		}
		const { bytes, starts } = this.#table;
		return bytes.subarray(starts[id]!, starts[id + 1]!);
	}

	/**
	 * Whether the token is a mark and no text, by its type (control, unknown, unused) or by its name. It is not shown, and
	 * no text becomes it. Whether it ends a text is for the model's family to decide.
	 */
	isSpecial(id: number): boolean {
		const kind = this.#table.kinds[id];
		return kind === TokenKind.control || kind === TokenKind.unused;
	}

	/** Whether text may become the token. A family's own marks may be shown and still never come from text. */
	comesFromText(id: number): boolean {
		return !this.isSpecial(id) && !this.#reserved.has(id);
	}

	/** Whether the token is special or user-defined. Encoders do not make such tokens. */
	isAdded(id: number): boolean {
		return this.#table.kinds[id] !== TokenKind.text;
	}

	/**
	 * Reserves those of these tokens that are user-defined and look like marks (`<…>` or `[…]`). A family writes them
	 * between messages, so text no longer becomes one of them.
	 */
	reserve(ids: Iterable<number>): void {
		for (const id of new Set(ids)) {
			if (this.#table.kinds[id] !== TokenKind.userDefined || !MARK.test(this.#name(id))) continue;
			this.#reserved.add(id);
			this.userDefined.remove(this.tokenBytes(id));
		}
	}

	/**
	 * The id of a special or user-defined token such as `<|start|>`, or undefined if the vocabulary has none of that name.
	 */
	findSpecial(name: string): number | undefined {
		return this.#names.get(name);
	}

	/**
	 * The id of a special or user-defined token such as `<|start|>`.
	 * @throws an error if the vocabulary has none of that name.
	 */
	specialId(name: string): number {
		const id = this.#names.get(name);
		if (id === undefined) throw new Error(`the model's vocabulary has no special token ${name}`);
		return id;
	}

	/** The token that is exactly this text, whatever its kind. */
	findToken(text: string): number | undefined {
		const bytes = toUtf8(text);
		const id = this.#names.get(text) ?? this.index.find(bytes, 0, bytes.length);
		return id < 0 ? undefined : id;
	}

	/** The names and ids of special and user-defined tokens. */
	named(): Iterable<[string, number]> {
		return this.#names;
	}

	/** The names that must not come from a user's text when `Tokenizer.splitSpecials` cuts the output of a template. */
	*specialNames(): Iterable<string> {
		for (const [name, id] of this.#names) if (this.isSpecial(id) || MARK.test(name)) yield name;
	}

	#name(id: number): string {
		return fromUtf8(this.tokenBytes(id));
	}
}
