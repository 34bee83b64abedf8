// Reads the tables of a byte-level BPE tokenizer from a GGUF: merges, and a vocabulary that is written in the
// byte-level alphabet. The native core checks the same tables when it reads a header (native/core/vocabulary.cpp).
import { isUtf8 } from 'node:buffer';
import type { GgufHeader, StringTable } from '../../native/index';
import { optionalIntegers, optionalString, requireStrings } from '../gguf/metadata';
import { specialIds } from '../gguf/special-ids';
import { quote } from '../quote';
import { decodeByteLevel } from './byte-level';
import { ByteLevelBpe } from './byte-level-bpe';
import { isControlName } from './control-names';
import type { ReadTokens } from './encoder';
import { MergeTable } from './merge-table';
import { preTokenizerOf } from './pre-tokenizer';
import { TokenType } from './token-type';
import { fromUtf8 } from './utf8';
import { TokenKind, Vocabulary } from './vocabulary';

/**
 * The most tokens or merges that are read. No vocabulary has as many (o200k: 201,088 and 446,189), and heap keys stay
 * exact in a double.
 */
const MAX_TABLE = 2 ** 21;
/** So many tokens are read before others have their turn. They take some milliseconds. */
const TOKENS_A_TURN = 4096;

/** Reads `tokenizer.ggml.{pre,tokens,merges,token_type}` and the ids of special tokens. */
export function* readByteLevelBpe(header: GgufHeader): Generator<undefined, ReadTokens> {
	const preTokenizer = preTokenizerOf(optionalString(header, 'tokenizer.ggml.pre') ?? '(none)');
	const tokens = requireStrings(header, 'tokenizer.ggml.tokens');
	const types = optionalIntegers(header, 'tokenizer.ggml.token_type');
	const merges = requireStrings(header, 'tokenizer.ggml.merges');
	const count = tokens.offsets.length - 1;
	const mergeCount = merges.offsets.length - 1;
	if (count > MAX_TABLE) throw new Error(`tokenizer.ggml.tokens has ${count} entries; at most ${MAX_TABLE} are read`);
	if (mergeCount > MAX_TABLE) {
		throw new Error(`tokenizer.ggml.merges has ${mergeCount} entries; at most ${MAX_TABLE} are read`);
	}
	if (types && types.length !== count) {
		throw new Error(`tokenizer.ggml.token_type has ${types.length} entries for ${count} tokens`);
	}
	const { vocabulary, unmade } = yield* readVocabulary(tokens, types, specialIds(header).marks);
	const byteIds = findBytes(vocabulary);
	const isUnmade = (bytes: Uint8Array, from: number, to: number) => unmade.has(latin1(bytes, from, to));
	const table = yield* MergeTable.read(merges, vocabulary.index, isUnmade);
	return {
		vocabulary,
		encoder: new ByteLevelBpe(vocabulary, table, byteIds, preTokenizer),
		addsBos: preTokenizer.addsBos,
	};
}

interface ByteLevelVocabulary {
	vocabulary: Vocabulary;
	/**
	 * Texts that merges may name although no merge makes them, as strings of `latin1`. Merges that name one are left out.
	 */
	unmade: Set<string>;
}

/**
 * @param marks ids of tokens that begin or end something, as the file says. They are no text, even if their type is
 * user-defined.
 */
function* readVocabulary(
	tokens: StringTable,
	types: Int32Array | undefined,
	marks: ReadonlySet<number>,
): Generator<undefined, ByteLevelVocabulary> {
	const { bytes, offsets } = tokens;
	const size = offsets.length - 1;
	const table = {
		bytes: new Uint8Array(bytes.length),
		starts: new Uint32Array(size + 1),
		kinds: new Uint8Array(size),
	};
	const unmade = new Set<string>();
	const written = bytesWithTokens(tokens, types);
	let start = 0;
	for (let id = 0; id < size; id++) {
		if (id % TOKENS_A_TURN === TOKENS_A_TURN - 1) yield;
		const from = offsets[id]!;
		const to = offsets[id + 1]!;
		const type = types ? types[id]! : TokenType.normal;
		const isControl = mayBeControlName(bytes, from, to) && isControlName(fromUtf8(bytes, from, to));
		/** The end of the token's decoded bytes, or −1 if the token is not in the byte-level alphabet. */
		const end = decodeByteLevel(bytes, from, to, table.bytes, start);
		const length = end < 0 ? -1 : end - start;
		const userDefined = type === TokenType.userDefined && !isControl && to > from;
		if (type === TokenType.normal && !isControl) {
			if (length < 0) throw new Error(`token ${id} in tokenizer.ggml.tokens is not byte-level text`);
			if (length === 0) throw new Error(`token ${id} in tokenizer.ggml.tokens is empty`);
		}
		const isText =
			(type === TokenType.normal && !isControl) ||
			(type === TokenType.byte && length === 1) ||
			// A file may give a token that merges make the type user-defined.
			(userDefined &&
				length < to - from &&
				(isWrittenText(table.bytes.subarray(start, Math.max(start, end))) ||
					// Without this token, its byte could not be written.
					(length === 1 && written[table.bytes[start]!] === 0)));
		if (isText) {
			table.kinds[id] = TokenKind.text;
			start = end;
			table.starts[id + 1] = start;
			continue;
		}
		if (type === TokenType.normal || type === TokenType.userDefined) {
			unmade.add(latin1(bytes, from, to));
			if (length > 0) unmade.add(latin1(table.bytes, start, end));
		}
		// A single byte stays text even if the file says that it is a mark, since no text could be written without it.
		const isMark = !userDefined || (marks.has(id) && to - from > 1);
		const markKind = type === TokenType.unused ? TokenKind.unused : TokenKind.control;
		table.kinds[id] = isMark ? markKind : TokenKind.userDefined;
		table.bytes.set(bytes.subarray(from, to), start);
		start += to - from;
		table.starts[id + 1] = start;
	}
	return { vocabulary: yield* Vocabulary.of(table), unmade };
}

/** [256] The token of each byte, or −1 if the byte has no token. */
function findBytes({ index }: Vocabulary): Int32Array {
	const ids = new Int32Array(256);
	const oneByte = new Uint8Array(1);
	for (let byte = 0; byte < 256; byte++) {
		oneByte[0] = byte;
		const id = index.find(oneByte, 0, 1);
		if (id < 0 && isPlainText(byte)) {
			throw new Error(`tokenizer.ggml.tokens lacks the token of byte ${byte} (${quote(String.fromCodePoint(byte))})`);
		}
		ids[byte] = id;
	}
	return ids;
}

/** [256] Is 1 for each byte that has a token in the byte-level alphabet whose type is certainly text. */
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

/** Whether the byte is printable ASCII or the line break. Every vocabulary of text has these. */
function isPlainText(byte: number): boolean {
	return byte === 0x0a || (byte >= 0x20 && byte < 0x7f);
}

/** Bytes as a string that can be a key in a set. */
function latin1(bytes: Uint8Array, from: number, to: number): string {
	return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
}

/** All control names end with ">" and begin with "<", "_" or "▁". This check spares most tokens a closer look. */
function mayBeControlName(bytes: Uint8Array, from: number, to: number): boolean {
	const first = bytes[from];
	return to - from > 3 && bytes[to - 1] === 0x3e && (first === 0x3c || first === 0x5f || first === 0xe2);
}

/**
 * Whether the decoded bytes of a user-defined token make sense: they are UTF-8 without control characters. If they do,
 * the file has written the token's text in the byte-level alphabet, although it should have written the text as it is.
 */
function isWrittenText(decoded: Uint8Array): boolean {
	const isControl = (byte: number) => (byte < 0x20 && byte !== 0x09 && byte !== 0x0a) || byte === 0x7f;
	return decoded.length > 0 && !decoded.some(isControl) && isUtf8(decoded);
}
