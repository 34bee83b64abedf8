// What the tokens of a model are: their bytes, their names, and whether text may become them. How a text becomes tokens is an
// encoder's matter (encoder.ts), and how a file writes its tokens down is the matter of the reader that makes a vocabulary.
import { TokenIndex } from './token-index';
import { TokenMatcher } from './token-matcher';
import { fromUtf8, toUtf8 } from './utf8';

/** What a token is to text. */
export const TokenKind = {
	/** A piece of text, which an encoder makes. */
	text: 0,
	/** A mark between texts, or anything else that is no text: it is not shown, and no text becomes it. */
	control: 1,
	/** A piece of text that becomes this token before an encoder sees the rest. */
	userDefined: 2,
	/** As `control`, but its name means nothing, and nothing finds it by its name. */
	unused: 3,
} as const;
export type TokenKind = (typeof TokenKind)[keyof typeof TokenKind];

/** How tokens look that families write between messages. */
const MARK = /^(?:<.+>|\[.+\])$/s;

/** Tokens that are entered without others having their turn: some milliseconds. */
const TOKENS_A_TURN = 4096;

/** What a reader finds in a file. A vocabulary keeps these arrays: do not write to them later. */
export interface TokenTable {
	/** Bytes of all tokens: of text what the token writes, of a control token its name. */
	bytes: Uint8Array;
	/** [tokens + 1] Token i is `bytes.subarray(starts[i], starts[i + 1])`. */
	starts: Uint32Array;
	/** [tokens] `TokenKind` */
	kinds: Uint8Array;
}

export class Vocabulary {
	/** How many tokens there are; their ids are 0 to `size` − 1. */
	readonly size: number;
	/** Finds, by their bytes, the tokens that are text or user-defined. */
	readonly index: TokenIndex;
	/** Finds the user-defined tokens in a text, but for those that are reserved. */
	readonly userDefined = new TokenMatcher();
	/** Bytes of the longest token that text may become. */
	readonly longestToken: number;

	readonly #table: TokenTable;
	/** Tokens that templates and families name: control and user-defined ones. */
	readonly #names = new Map<string, number>();
	/** User-defined tokens that `reserve` has taken from text. */
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

	/** The bytes of one token (a view: do not write). Throws on an id outside the vocabulary. */
	tokenBytes(id: number): Uint8Array {
		if (!(id >= 0 && id < this.size && Number.isInteger(id))) {
			throw new Error(`token id ${id} is outside the vocabulary of ${this.size} tokens`);
		}
		const { bytes, starts } = this.#table;
		return bytes.subarray(starts[id]!, starts[id + 1]!);
	}

	/**
	 * Whether the token is a mark (control, unknown, unused, or by its name) and no text: it is not shown, and no text becomes it.
	 * What ends a text is another matter, which a family decides.
	 */
	isSpecial(id: number): boolean {
		const kind = this.#table.kinds[id];
		return kind === TokenKind.control || kind === TokenKind.unused;
	}

	/** Whether text may become the token. A family's own marks may be shown and still never come from text. */
	comesFromText(id: number): boolean {
		return !this.isSpecial(id) && !this.#reserved.has(id);
	}

	/** Whether the token is special or user-defined: not one of those that an encoder makes. */
	isAdded(id: number): boolean {
		return this.#table.kinds[id] !== TokenKind.text;
	}

	/**
	 * Text no longer becomes those of these ids that are user-defined and look like marks, `<…>` or `[…]`: a family writes them
	 * between its messages.
	 */
	reserve(ids: Iterable<number>): void {
		for (const id of new Set(ids)) {
			if (this.#table.kinds[id] !== TokenKind.userDefined || !MARK.test(this.#name(id))) continue;
			this.#reserved.add(id);
			this.userDefined.remove(this.tokenBytes(id));
		}
	}

	/** The id of a special or user-defined token such as `<|start|>`, or undefined where the vocabulary has none of that name. */
	findSpecial(name: string): number | undefined {
		return this.#names.get(name);
	}

	/** The id of a special or user-defined token such as `<|start|>`. Throws where the vocabulary has none of that name. */
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

	/** The names that no text of a user's may become where a tokenizer's `splitSpecials` looks for them. */
	*specialNames(): Iterable<string> {
		for (const [name, id] of this.#names) if (this.isSpecial(id) || MARK.test(name)) yield name;
	}

	#name(id: number): string {
		return fromUtf8(this.tokenBytes(id));
	}
}
