// Byte-level BPE from a GGUF's own vocabulary and merges: text ↔ token ids. The tables come from an untrusted file, so everything
// in them is checked once here; after that no lookup can leave them.
import { isUtf8 } from 'node:buffer';
import type { GgufHeader, StringTable } from '../../native/index';
import {
	optionalFlag,
	optionalIntegers,
	optionalNumber,
	optionalString,
	requireString,
	requireStrings,
} from '../gguf/metadata';
import { quote } from '../quote';
import { decodeByteLevel } from './byte-level';
import { PieceMerge } from './piece-merge';
import { type PreTokenizer, preTokenizerOf } from './pre-tokenizer';
import type { Scanner } from './scanner';
import { MergeTable, TokenIndex } from './tables';

/** `tokenizer.ggml.token_type`, as llama.cpp numbers them. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** More tokens or merges than any vocabulary has (o200k: 201,088 and 446,189); keeps heap keys exact in a double. */
const MAX_TABLE = 2 ** 21;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Tokenizer {
	/** Raw bytes of all tokens; token i is `bytes.subarray(starts[i], starts[i + 1])`. Special tokens: their name. */
	private readonly bytes: Uint8Array;
	private readonly starts: Uint32Array;
	/** 1 where the token is no text: control, user-defined, unused. */
	private readonly special: Uint8Array;
	private readonly specialIds = new Map<string, number>();
	private specialPattern: RegExp | undefined;
	private readonly index: TokenIndex;
	private readonly merges: MergeTable;
	private readonly byteIds = new Int32Array(256);
	private readonly merge: PieceMerge;

	readonly vocabularySize: number;

	/** The token that text begins with, where the model wants one. */
	readonly bosId: number | undefined;
	private readonly preTokenizer: PreTokenizer;

	/**
	 * Reads `tokenizer.ggml.{model,pre,tokens,merges,token_type,bos_token_id,add_bos_token}`. Throws an error naming the key,
	 * token or merge at fault where the tables are missing, contradict each other, or need another kind of tokenizer.
	 */
	static fromGguf(header: GgufHeader): Tokenizer {
		const model = requireString(header, 'tokenizer.ggml.model');
		if (model !== 'gpt2') {
			throw new Error(`tokenizer.ggml.model ${quote(model)} is not supported; Hearth reads byte-level BPE ("gpt2")`);
		}
		const preTokenizer = preTokenizerOf(optionalString(header, 'tokenizer.ggml.pre') ?? '(none)');
		const tokens = requireStrings(header, 'tokenizer.ggml.tokens');
		const types = optionalIntegers(header, 'tokenizer.ggml.token_type');
		const bos = optionalNumber(header, 'tokenizer.ggml.bos_token_id');
		const addsBos = optionalFlag(header, 'tokenizer.ggml.add_bos_token') ?? preTokenizer.addsBos;
		if (addsBos && !(bos !== undefined && bos >= 0 && bos < tokens.offsets.length - 1)) {
			throw new Error('tokenizer.ggml.bos_token_id names no token, and the model wants one before the text');
		}
		const merges = requireStrings(header, 'tokenizer.ggml.merges');
		return new Tokenizer(tokens, merges, types, preTokenizer, addsBos ? bos : undefined);
	}

	private constructor(
		tokens: StringTable,
		merges: StringTable,
		types: Int32Array | undefined,
		preTokenizer: PreTokenizer,
		bosId: number | undefined,
	) {
		const count = tokens.offsets.length - 1;
		const mergeCount = merges.offsets.length - 1;
		if (count > MAX_TABLE) throw new Error(`tokenizer.ggml.tokens has ${count} entries; at most ${MAX_TABLE} are read`);
		if (mergeCount > MAX_TABLE) {
			throw new Error(`tokenizer.ggml.merges has ${mergeCount} entries; at most ${MAX_TABLE} are read`);
		}
		if (types && types.length !== count) {
			throw new Error(`tokenizer.ggml.token_type has ${types.length} entries for ${count} tokens`);
		}

		this.vocabularySize = count;
		this.preTokenizer = preTokenizer;
		this.bosId = bosId;
		this.bytes = new Uint8Array(tokens.bytes.length);
		this.starts = new Uint32Array(count + 1);
		this.special = new Uint8Array(count);
		this.index = new TokenIndex(this.bytes, this.starts, count);
		let end = 0;
		for (let id = 0; id < count; id++) {
			const from = tokens.offsets[id]!;
			const to = tokens.offsets[id + 1]!;
			this.starts[id] = end;
			const type = types ? types[id]! : TokenType.normal;
			// llama.cpp, too, takes <|…|> for a control token whatever its type says: text must never become one.
			if (type !== TokenType.normal || isControlName(tokens.bytes, from, to)) {
				this.special[id] = 1;
				this.bytes.set(tokens.bytes.subarray(from, to), end);
				end += to - from;
				this.starts[id + 1] = end;
				if (type !== TokenType.unused) this.specialIds.set(this.name(id), id);
			} else {
				end = decodeByteLevel(tokens.bytes, from, to, this.bytes, end);
				if (end < 0) throw new Error(`token ${id} in tokenizer.ggml.tokens is not byte-level text`);
				if (end === this.starts[id]) throw new Error(`token ${id} in tokenizer.ggml.tokens is empty`);
				this.starts[id + 1] = end;
				this.index.add(id);
			}
		}

		const oneByte = new Uint8Array(1);
		for (let byte = 0; byte < 256; byte++) {
			oneByte[0] = byte;
			const id = this.index.find(oneByte, 0, 1);
			if (id < 0 && isPlainText(byte)) {
				throw new Error(`tokenizer.ggml.tokens lacks the token of byte ${byte} (${quote(String.fromCodePoint(byte))})`);
			}
			this.byteIds[byte] = id;
		}
		this.merges = new MergeTable(merges, this.index);
		this.merge = new PieceMerge(this.merges, this.byteIds);
	}

	/**
	 * Token ids of `text`, without BOS; lone surrogates count as U+FFFD. Never yields a special token, whatever the text says.
	 * Bytes that the vocabulary has no token for (SmolLM's lacks some that no UTF-8 text has) are left out, as llama.cpp does.
	 */
	encode(text: string): Int32Array {
		return this.encodeInSteps(text, Number.POSITIVE_INFINITY).next().value as Int32Array;
	}

	/** `encode`, yielding after every so many bytes, so that others have their turn while megabytes are encoded. */
	*encodeInSteps(text: string, stepBytes: number): Generator<undefined, Int32Array> {
		const bytes = textEncoder.encode(text);
		const scanner = this.scan(bytes, bytes.length);
		const ids = new Int32Array(bytes.length);
		let count = 0;
		let step = stepBytes;
		for (let start = 0; start < bytes.length; ) {
			const end = scanner.pieceEnd(start);
			const whole = this.preTokenizer.wholePieces ? this.index.find(bytes, start, end) : -1;
			if (whole >= 0) {
				ids[count++] = whole;
			} else if (end - start <= stepBytes) {
				count = this.merge.begin(bytes, start, end).finish(ids, count);
			} else {
				// Of its own, since others encode in between.
				const merge = new PieceMerge(this.merges, this.byteIds).begin(bytes, start, end);
				while (!merge.advance(stepBytes)) yield;
				count = merge.finish(ids, count);
			}
			start = end;
			if (end >= step) {
				step = end + stepBytes;
				yield;
			}
		}
		return ids.slice(0, count);
	}

	/**
	 * The first text token that is a whole piece of text, but not what merging makes of that piece; undefined: whether whole pieces
	 * are taken as they are makes no difference.
	 */
	firstUnmerged(): number | undefined {
		const ids = new Int32Array(this.bytes.length);
		for (let id = 0; id < this.vocabularySize; id++) {
			const bytes = this.tokenBytes(id);
			// Of tokens with the same bytes only the first is ever found.
			if (this.special[id] || this.index.find(bytes, 0, bytes.length) !== id || !isUtf8(bytes)) continue;
			if (this.scan(bytes, bytes.length).pieceEnd(0) !== bytes.length) continue;
			if (this.merge.begin(bytes, 0, bytes.length).finish(ids, 0) !== 1 || ids[0] !== id) return id;
		}
		return undefined;
	}

	/** Cuts UTF-8 text, `bytes[0, length)`, into the pieces that merges never cross. */
	scan(bytes: Uint8Array, length: number): Scanner {
		return this.preTokenizer.scan(bytes, length);
	}

	/** How many tokens `encode(text)` gives. */
	count(text: string): number {
		return this.encode(text).length;
	}

	/** The bytes of `ids`, special tokens as their names. Throws on an id outside the vocabulary. */
	decode(ids: ArrayLike<number>): Uint8Array {
		let length = 0;
		for (let i = 0; i < ids.length; i++) length += this.tokenBytes(ids[i]!).length;
		const bytes = new Uint8Array(length);
		let end = 0;
		for (let i = 0; i < ids.length; i++) {
			const token = this.tokenBytes(ids[i]!);
			bytes.set(token, end);
			end += token.length;
		}
		return bytes;
	}

	/** The bytes of one token (a view: do not write). Throws on an id outside the vocabulary. */
	tokenBytes(id: number): Uint8Array {
		if (!(id >= 0 && id < this.vocabularySize && Number.isInteger(id))) {
			throw new Error(`token id ${id} is outside the vocabulary of ${this.vocabularySize} tokens`);
		}
		return this.bytes.subarray(this.starts[id]!, this.starts[id + 1]!);
	}

	/** Whether the token is control, user-defined or unused: never part of text. */
	isSpecial(id: number): boolean {
		return this.special[id] === 1;
	}

	/** The id of a special token such as `<|start|>`, or undefined where the vocabulary has none of that name. */
	findSpecial(name: string): number | undefined {
		return this.specialIds.get(name);
	}

	/** The names that `splitSpecials` finds. */
	specialNames(): Iterable<string> {
		return this.specialIds.keys();
	}

	/** The id of a special token such as `<|start|>`. Throws where the vocabulary has none of that name. */
	specialId(name: string): number {
		const id = this.specialIds.get(name);
		if (id === undefined) throw new Error(`the model's vocabulary has no special token ${name}`);
		return id;
	}

	/**
	 * Cuts text written by a model's publisher, such as a chat template's, at the names of special tokens: ids and the texts
	 * between them. Of names that begin alike the longest counts.
	 */
	splitSpecials(text: string): (number | string)[] {
		this.specialPattern ??= new RegExp(
			[...this.specialIds.keys()]
				.filter((name) => name !== '')
				.sort((a, b) => b.length - a.length)
				.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
				.join('|') || '(?!)',
			'g',
		);
		const parts: (number | string)[] = [];
		let end = 0;
		for (const match of text.matchAll(this.specialPattern)) {
			if (match.index > end) parts.push(text.slice(end, match.index));
			parts.push(this.specialId(match[0]));
			end = match.index + match[0].length;
		}
		if (end < text.length) parts.push(text.slice(end));
		return parts;
	}

	private name(id: number): string {
		return textDecoder.decode(this.tokenBytes(id));
	}
}

/** Rough number of tokens of `text`, from its length alone: code runs near 3.5 ASCII characters a token, other scripts near 1.5. */
export function estimateTokens(text: string): number {
	let other = 0;
	for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) other++;
	return Math.ceil((text.length - other) / 3.5 + other / 1.5);
}

/** Printable ASCII and the line break: no vocabulary of text goes without. */
function isPlainText(byte: number): boolean {
	return byte === 0x0a || (byte >= 0x20 && byte < 0x7f);
}

function isControlName(bytes: Uint8Array, from: number, to: number): boolean {
	return (
		to - from > 4 &&
		bytes[from] === 0x3c &&
		bytes[from + 1] === 0x7c &&
		bytes[to - 2] === 0x7c &&
		bytes[to - 1] === 0x3e
	); // <|…|>
}
