// The ids of the tokens that have a special meaning, as a file's metadata gives them. A value that names no token is
// ignored with a note, as in llama.cpp, since no model needs all of these ids. Such a value is an id outside the
// vocabulary, −1 for "none" in any integer type, or no id at all.
import type { GgufHeader, MetadataValue } from '../../native/index';
import { tableLength } from './metadata';

/**
 * The names in metadata keys by the engine's names for them. The second names are those of older files for
 * fill-in-the-middle.
 */
const KINDS = {
	bos: ['bos'],
	eos: ['eos'],
	eot: ['eot'],
	eom: ['eom'],
	fim_pre: ['fim_pre', 'prefix'],
	fim_suf: ['fim_suf', 'suffix'],
	fim_mid: ['fim_mid', 'middle'],
	fim_pad: ['fim_pad'],
	fim_rep: ['fim_rep'],
	fim_sep: ['fim_sep'],
} as const satisfies Record<string, readonly string[]>;
export type SpecialKind = keyof typeof KINDS;

export interface SpecialIds {
	/** The ids that name a token, by their meaning. */
	ids: ReadonlyMap<SpecialKind, number>;
	/** All values of `ids`. */
	marks: ReadonlySet<number>;
	/** A sentence about each ignored value, including keys that the engine does not use. */
	notes: string[];
}

const ID_KEY = /^tokenizer\.ggml\.(\w+)_token_id$/;

/** Reads the special ids of a header. It never throws. */
export function specialIds({ metadata }: GgufHeader): SpecialIds {
	const size = tableLength(metadata.get('tokenizer.ggml.tokens'));
	const valid = new Map<string, number>();
	const notes: string[] = [];
	for (const [key, value] of metadata) {
		const name = ID_KEY.exec(key)?.[1];
		if (name === undefined) continue;
		const id = idOf(value, size);
		if (typeof id === 'number') valid.set(name, id);
		else if (size > 0) notes.push(`${key} ${id}, and is ignored`);
	}
	const ids = new Map<SpecialKind, number>();
	for (const [kind, names] of Object.entries(KINDS)) {
		const id = names.map((name) => valid.get(name)).find((each) => each !== undefined);
		if (id !== undefined) ids.set(kind as SpecialKind, id);
	}
	return { ids, marks: new Set(ids.values()), notes };
}

/** The id, or a phrase that says what is wrong with the value. */
function idOf(value: MetadataValue, size: number): number | string {
	if (typeof value !== 'number' && typeof value !== 'bigint') return 'is no number';
	const id = Number(value);
	if (Number.isInteger(id) && id >= 0 && id < size) return id;
	// −1, also as the unsigned types write it.
	if (id === -1 || id === 2 ** 32 - 1 || value === 2n ** 64n - 1n) return 'is −1, which names no token';
	return `is ${value}, outside the vocabulary of ${size} tokens`;
}
