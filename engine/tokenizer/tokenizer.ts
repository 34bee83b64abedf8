// Byte-level BPE from a GGUF's own vocabulary and merges: text ↔ token ids. The tables come from an untrusted file, so everything
// in them is checked once here; after that no lookup can leave them.
import { isUtf8 } from 'node:buffer';
import type { GgufHeader, StringTable } from '../../native/index';
import {
	headerFault,
	optionalFlag,
	optionalIntegers,
	optionalString,
	requireString,
	requireStrings,
} from '../gguf/metadata';
import { specialIds } from '../gguf/special-ids';
import { messageOf, quote } from '../quote';
import { decodeByteLevel } from './byte-level';
import { isControlName } from './control-names';
import { PieceMerge } from './piece-merge';
import { type PreTokenizer, preTokenizerOf } from './pre-tokenizer';
import { ENTRIES_A_TURN, MergeTable, TokenIndex } from './tables';
import { TokenMatcher } from './token-matcher';

/** `tokenizer.ggml.token_type`, as llama.cpp numbers them. */
export const TokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** More tokens or merges than any vocabulary has (o200k: 201,088 and 446,189); keeps heap keys exact in a double. */
const MAX_TABLE = 2 ** 21;

/** How tokens look that families write between messages. */
const MARK = /^(?:<.+>|\[.+\])$/s;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Of a GGUF that Hearth has converted: "NFC" where the tokenizer normalises text so before all else. Nobody else's files say it: they
 * leave text as it is, as llama.cpp does.
 */
export const NORMALIZER_KEY = 'hearth.text_normalizer';
/**
 * So many marks in a row are no text (Unicode's Stream-Safe Text Format, UAX 15, has at most 30), and to put them in order takes time
 * with the square of their number.
 */
const TOO_MANY_MARKS = /\p{M}{64}/u;
/** Characters that the one before may take in: marks, and the vowels and ends of Hangul syllables. */
const JOINING = /[\p{M}\u1160-\u11ff]*/uy;
/** UTF-16 units. */
const NORMALIZED_TOGETHER = 65_536;

export class Tokenizer {
	/** Raw bytes of all tokens; token i is `bytes.subarray(starts[i], starts[i + 1])`. Special tokens: their name. */
	private readonly bytes: Uint8Array;
	private readonly starts: Uint32Array;
	/** 1 where the token is a mark and no text, 2 where it is a user-defined one, which is. */
	private readonly special: Uint8Array;
	/** User-defined tokens that text becomes before anything else, and those that `reserve` took out of them. */
	private readonly userDefined = new TokenMatcher();
	private readonly reserved = new Set<number>();
	/** Tokens that templates and families name: special and user-defined ones. */
	private readonly names = new Map<string, number>();
	private marks: TokenMatcher | undefined;
	/** 0: not looked for yet. */
	private longest = 0;
	private readonly index: TokenIndex;
	private merges!: MergeTable;
	private readonly byteIds = new Int32Array(256);
	private merge!: PieceMerge;

	readonly vocabularySize: number;

	/** The token that text begins with, where the model wants one. */
	readonly bosId: number | undefined;
	private readonly preTokenizer: PreTokenizer;

	/**
	 * Reads `tokenizer.ggml.{model,pre,tokens,merges,token_type,add_bos_token}`, our own key and the ids of special tokens. Throws an error naming
	 * the file, and the key, token or merge at fault, where the tables are missing, contradict each other, or need another kind of
	 * tokenizer. The native core checks the same when it reads a header (native/core/vocabulary.cpp).
	 */
	static fromGguf(header: GgufHeader): Tokenizer {
		const steps = Tokenizer.read(header);
		for (;;) {
			const { done, value } = steps.next();
			if (done) return value;
		}
	}

	/** The same, a few milliseconds at a time: others have their turn in between. */
	static async fromGgufInTurns(header: GgufHeader): Promise<Tokenizer> {
		const steps = Tokenizer.read(header);
		for (;;) {
			const { done, value } = steps.next();
			if (done) return value;
			await new Promise((resolve) => setImmediate(resolve));
		}
	}

	private static *read(header: GgufHeader): Generator<undefined, Tokenizer> {
		try {
			const model = requireString(header, 'tokenizer.ggml.model');
			if (model !== 'gpt2') {
				throw new Error(`tokenizer.ggml.model ${quote(model)} is not supported; Hearth reads byte-level BPE ("gpt2")`);
			}
			const preTokenizer = preTokenizerOf(optionalString(header, 'tokenizer.ggml.pre') ?? '(none)');
			const tokens = requireStrings(header, 'tokenizer.ggml.tokens');
			const types = optionalIntegers(header, 'tokenizer.ggml.token_type');
			const addsBos = optionalFlag(header, 'tokenizer.ggml.add_bos_token') ?? preTokenizer.addsBos;
			const merges = requireStrings(header, 'tokenizer.ggml.merges');
			const { ids, marks } = specialIds(header);
			const bosId = addsBos ? ids.get('bos') : undefined;
			const normalizes = optionalString(header, NORMALIZER_KEY) === 'NFC';
			const tokenizer = new Tokenizer(tokens, merges, types, preTokenizer, bosId, normalizes);
			yield* tokenizer.fill(tokens, merges, types, marks);
			return tokenizer;
		} catch (error) {
			throw headerFault(header, messageOf(error));
		}
	}

	/** Checks the tables' sizes; `fill` reads them. */
	private constructor(
		tokens: StringTable,
		merges: StringTable,
		types: Int32Array | undefined,
		preTokenizer: PreTokenizer,
		bosId: number | undefined,
		private readonly normalizes: boolean,
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
	}

	/** @param marks ids that the file says begin or end something: no text, even if their type is user-defined. */
	private *fill(
		tokens: StringTable,
		merges: StringTable,
		types: Int32Array | undefined,
		marks: ReadonlySet<number>,
	): Generator<undefined, void> {
		/** Texts by which merges may name tokens that they do not make: such merges are left out. */
		const others = new Set<string>();
		const written = bytesWithTokens(tokens, types);
		let end = 0;
		for (let id = 0; id < this.vocabularySize; id++) {
			if (id % ENTRIES_A_TURN === ENTRIES_A_TURN - 1) yield;
			const from = tokens.offsets[id]!;
			const to = tokens.offsets[id + 1]!;
			const start = end;
			this.starts[id] = start;
			const type = types ? types[id]! : TokenType.normal;
			const isControl = mayBeControlName(tokens.bytes, from, to) && isControlName(decode(tokens.bytes, from, to));
			const decoded = decodeByteLevel(tokens.bytes, from, to, this.bytes, start);
			const userDefined = type === TokenType.userDefined && !isControl && to > from;
			if (type === TokenType.normal && !isControl) {
				if (decoded < 0) throw new Error(`token ${id} in tokenizer.ggml.tokens is not byte-level text`);
				if (decoded === start) throw new Error(`token ${id} in tokenizer.ggml.tokens is empty`);
			}
			const isText =
				(type === TokenType.normal && !isControl) ||
				(type === TokenType.byte && decoded === start + 1) ||
				// A token of the merges under another type.
				(userDefined &&
					decoded - start < to - from &&
					(isWrittenText(this.bytes.subarray(start, Math.max(start, decoded))) ||
						// Without it, this byte could not be written.
						(decoded === start + 1 && written[this.bytes[start]!] === 0)));
			if (isText) {
				end = decoded;
				this.starts[id + 1] = end;
				this.index.add(id);
				continue;
			}
			if (type === TokenType.normal || type === TokenType.userDefined) {
				others.add(latin1(tokens.bytes, from, to));
				if (decoded > start) others.add(latin1(this.bytes, start, decoded));
			}
			this.bytes.set(tokens.bytes.subarray(from, to), start);
			end += to - from;
			this.starts[id + 1] = end;
			if (type !== TokenType.unused) this.names.set(this.name(id), id);
			// A single byte stays text, whatever a file says of it: no text could be written without.
			const isMark = !userDefined || (marks.has(id) && to - from > 1);
			if (!isMark) this.index.add(id);
			this.special[id] = isMark ? 1 : 2;
			if (!isMark) this.userDefined.add(id, this.tokenBytes(id));
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
		this.merges = yield* MergeTable.read(merges, this.index, (bytes, from, to) => others.has(latin1(bytes, from, to)));
		this.merge = new PieceMerge(this.merges, this.byteIds);
	}

	/**
	 * Token ids of `text`, without BOS; lone surrogates count as U+FFFD. Never yields a token that does not come from text, whatever
	 * the text says. Bytes that the vocabulary has no token for (SmolLM's lacks some that no UTF-8 text has) are left out, as llama.cpp does.
	 */
	encode(text: string): Int32Array {
		return this.encodeInSteps(text, Number.POSITIVE_INFINITY).next().value as Int32Array;
	}

	/** `encode`, yielding after every so many bytes, so that others have their turn while megabytes are encoded. */
	*encodeInSteps(text: string, stepBytes: number): Generator<undefined, Int32Array> {
		const bytes = textEncoder.encode(this.normalizes ? yield* this.normalizeInSteps(text, stepBytes) : text);
		const ids = new Int32Array(bytes.length);
		let count = 0;
		const pace = { bytes: stepBytes, left: stepBytes };
		let start = 0;
		for (const { start: at, end, id } of this.userDefined.find(bytes, bytes.length)) {
			count = yield* this.encodePart(bytes.subarray(start, at), ids, count, pace);
			ids[count++] = id;
			start = end;
		}
		return ids.slice(0, yield* this.encodePart(bytes.subarray(start), ids, count, pace));
	}

	/** Text in the form NFC but for user-defined tokens, which are looked for in it as it is; yields as `encodeInSteps` does. */
	private *normalizeInSteps(text: string, stepBytes: number): Generator<undefined, string> {
		let whole = '';
		for (let start = 0; start < text.length; ) {
			const end = startOfCharacter(text, start + NORMALIZED_TOGETHER);
			whole += this.normalized(text.slice(start, end));
			start = end;
			if (Number.isFinite(stepBytes)) yield;
		}
		return whole;
	}

	private normalized(text: string): string {
		if (TOO_MANY_MARKS.test(text) || text.normalize('NFC') === text) return text;
		const bytes = textEncoder.encode(text);
		let whole = '';
		let last = 0;
		for (const { start, end } of this.userDefined.find(bytes, bytes.length)) {
			whole += decode(bytes, last, start).normalize('NFC') + decode(bytes, start, end);
			last = end;
		}
		return whole + decode(bytes, last, bytes.length).normalize('NFC');
	}

	/** Appends the ids of text without user-defined tokens at `ids[count]`. Returns how many there are then. */
	private *encodePart(
		bytes: Uint8Array,
		ids: Int32Array,
		count: number,
		pace: { readonly bytes: number; left: number },
	): Generator<undefined, number> {
		const scanner = this.preTokenizer.scan(bytes, bytes.length);
		let written = count;
		for (let start = 0; start < bytes.length; ) {
			const end = scanner.pieceEnd(start);
			const whole = this.preTokenizer.wholePieces ? this.index.find(bytes, start, end) : -1;
			if (whole >= 0 && !this.reserved.has(whole)) {
				ids[written++] = whole;
			} else if (end - start <= pace.bytes) {
				written = this.merge.begin(bytes, start, end).finish(ids, written);
			} else {
				// Of its own, since others encode in between.
				const merge = new PieceMerge(this.merges, this.byteIds).begin(bytes, start, end);
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
	 * The first text token that is a whole piece of text, but not what merging makes of that piece; undefined: whether whole pieces
	 * are taken as they are makes no difference.
	 */
	firstUnmerged(): number | undefined {
		const ids = new Int32Array(this.bytes.length);
		for (let id = 0; id < this.vocabularySize; id++) {
			const bytes = this.tokenBytes(id);
			// Marks and user-defined tokens are not merged; of tokens with the same bytes only the first is ever found.
			if (this.special[id] !== 0) continue;
			if (this.index.find(bytes, 0, bytes.length) !== id || !isUtf8(bytes)) continue;
			if (this.preTokenizer.scan(bytes, bytes.length).pieceEnd(0) !== bytes.length) continue;
			if (this.merge.begin(bytes, 0, bytes.length).finish(ids, 0) !== 1 || ids[0] !== id) return id;
		}
		return undefined;
	}

	/**
	 * Where the end of UTF-8 text begins that more text can still give other tokens: its last piece, which merges never leave, or
	 * the piece or the token within which a user-defined token may have begun. `bytes.length`: nowhere.
	 */
	lastPiece(bytes: Uint8Array): number {
		const open = this.userDefined.unfinished(bytes);
		/** Text without user-defined tokens that `open`, or the end, lies in. */
		let [from, to] = [0, bytes.length];
		for (const { start, end } of this.userDefined.find(bytes, bytes.length)) {
			if (start > open) {
				to = start;
				break;
			}
			if (open < end) return start;
			from = end;
		}
		const part = bytes.subarray(from, to);
		const scanner = this.preTokenizer.scan(part, part.length);
		let start = 0;
		for (let end = 0; end < part.length && from + end <= open; ) {
			start = end;
			end = scanner.pieceEnd(start);
		}
		return from + start;
	}

	/** Bytes of the longest token that text may become. */
	get longestToken(): number {
		if (this.longest === 0) {
			for (let id = 0; id < this.vocabularySize; id++)
				if (this.special[id] !== 1) this.longest = Math.max(this.longest, this.starts[id + 1]! - this.starts[id]!);
		}
		return this.longest;
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

	/**
	 * Whether the token is a mark (control, unknown, unused, or by its name) and no text: it is not shown, and no text becomes it.
	 * What ends a text is another matter, which a family decides.
	 */
	isSpecial(id: number): boolean {
		return this.special[id] === 1;
	}

	/** Whether text may become the token. A family's own marks may be shown and still never come from text. */
	comesFromText(id: number): boolean {
		return this.special[id] !== 1 && !this.reserved.has(id);
	}

	/** Whether the token is special or user-defined: not one of those that merges make. */
	isAdded(id: number): boolean {
		return this.special[id] !== 0;
	}

	/**
	 * Text no longer becomes those of these ids that are user-defined and look like marks, `<…>` or `[…]`: a family writes them
	 * between its messages.
	 */
	reserve(ids: Iterable<number>): void {
		for (const id of new Set(ids)) {
			if (this.special[id] !== 2 || !MARK.test(this.name(id))) continue;
			this.reserved.add(id);
			this.userDefined.remove(this.tokenBytes(id));
		}
	}

	/** The id of a special or user-defined token such as `<|start|>`, or undefined where the vocabulary has none of that name. */
	findSpecial(name: string): number | undefined {
		return this.names.get(name);
	}

	/** The token that is exactly this text, whatever its type. */
	findToken(text: string): number | undefined {
		const bytes = textEncoder.encode(text);
		const id = this.names.get(text) ?? this.index.find(bytes, 0, bytes.length);
		return id < 0 ? undefined : id;
	}

	/** The names that no text of a user's may become where `splitSpecials` looks for them. */
	*specialNames(): Iterable<string> {
		for (const [name, id] of this.names) if (this.special[id] === 1 || MARK.test(name)) yield name;
	}

	/** The id of a special token such as `<|start|>`. Throws where the vocabulary has none of that name. */
	specialId(name: string): number {
		const id = this.names.get(name);
		if (id === undefined) throw new Error(`the model's vocabulary has no special token ${name}`);
		return id;
	}

	/**
	 * Cuts text written by a model's publisher, such as a chat template's, at the names of special and user-defined tokens: ids and
	 * the texts between them.
	 */
	splitSpecials(text: string): (number | string)[] {
		if (!this.marks) {
			this.marks = new TokenMatcher();
			for (const [name, id] of this.names) this.marks.add(id, textEncoder.encode(name));
		}
		const bytes = textEncoder.encode(text);
		const parts: (number | string)[] = [];
		let last = 0;
		for (const { start, end, id } of this.marks.find(bytes, bytes.length)) {
			if (start > last) parts.push(decode(bytes, last, start));
			parts.push(id);
			last = end;
		}
		if (last < bytes.length) parts.push(decode(bytes, last, bytes.length));
		return parts;
	}

	private name(id: number): string {
		return textDecoder.decode(this.tokenBytes(id));
	}
}

/** The first place from `at` on where text can be cut so that both parts are normalised as the whole is. */
function startOfCharacter(text: string, at: number): number {
	if (at >= text.length) return text.length;
	const low = text.charCodeAt(at);
	JOINING.lastIndex = at + (low >= 0xdc00 && low < 0xe000 ? 1 : 0);
	JOINING.test(text);
	return JOINING.lastIndex;
}

/** Rough number of tokens of `text`, from its length alone: code runs near 3.5 ASCII characters a token, other scripts near 1.5. */
export function estimateTokens(text: string): number {
	let other = 0;
	for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) other++;
	return Math.ceil((text.length - other) / 3.5 + other / 1.5);
}

/** [256] 1 for each byte that has a token in the byte-level alphabet of a type that is text without doubt. */
function bytesWithTokens({ bytes, offsets }: StringTable, types: Int32Array | undefined): Uint8Array {
	const written = new Uint8Array(256);
	const byte = new Uint8Array(2);
	for (let id = 0; id < offsets.length - 1; id++) {
		const [from, to] = [offsets[id]!, offsets[id + 1]!];
		if (to - from > 2 || to === from) continue;
		const type = types ? types[id] : TokenType.normal;
		if (type !== TokenType.normal && type !== TokenType.byte) continue;
		if (decodeByteLevel(bytes, from, to, byte, 0) === 1) written[byte[0]!] = 1;
	}
	return written;
}

/** Printable ASCII and the line break: no vocabulary of text goes without. */
function isPlainText(byte: number): boolean {
	return byte === 0x0a || (byte >= 0x20 && byte < 0x7f);
}

function decode(bytes: Uint8Array, from: number, to: number): string {
	return textDecoder.decode(bytes.subarray(from, to));
}

/** Bytes as a key. */
function latin1(bytes: Uint8Array, from: number, to: number): string {
	return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
}

/** All control names end with ">" and begin with "<", "_" or "▁": most tokens need no closer look. */
function mayBeControlName(bytes: Uint8Array, from: number, to: number): boolean {
	const first = bytes[from];
	return to - from > 3 && bytes[to - 1] === 0x3e && (first === 0x3c || first === 0x5f || first === 0xe2);
}

/**
 * Whether the decoded bytes of a user-defined token make sense, so that its text, which a file should have as it is, is in the
 * byte-level alphabet instead: UTF-8 without control characters.
 */
function isWrittenText(decoded: Uint8Array): boolean {
	const isControl = (byte: number) => (byte < 0x20 && byte !== 0x09 && byte !== 0x0a) || byte === 0x7f;
	return decoded.length > 0 && !decoded.some(isControl) && isUtf8(decoded);
}
