// The ids by which a file says which tokens have a meaning of their own. What names no token (an id behind the vocabulary, −1 for
// "none" in any integer type, a value that is no id at all) is left out with a word about it, as llama.cpp does: no model needs them all.
import type { GgufHeader, MetadataValue } from '../../native/index';
import { tableLength } from './metadata';

/** Keys by the names the engine has for them; the last are what older files call the marks of fill-in-the-middle. */
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
	/** Ids that name a token. */
	ids: ReadonlyMap<SpecialKind, number>;
	/** All of them. */
	marks: ReadonlySet<number>;
	/** A sentence on each id that is ignored, those that nothing here uses among them. */
	notes: string[];
}

const ID_KEY = /^tokenizer\.ggml\.(\w+)_token_id$/;

/** Never throws. */
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

/** The id, or what is wrong with it. */
function idOf(value: MetadataValue, size: number): number | string {
	if (typeof value !== 'number' && typeof value !== 'bigint') return 'is no number';
	const id = Number(value);
	if (Number.isInteger(id) && id >= 0 && id < size) return id;
	// −1, also as the types without a sign have it.
	if (id === -1 || id === 2 ** 32 - 1 || value === 2n ** 64n - 1n) return 'is −1, which names no token';
	return `is ${value}, outside the vocabulary of ${size} tokens`;
}
