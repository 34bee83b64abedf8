// The tokens that end texts and mark places to fill. A GGUF's keys name them. Where it lacks a key, the usual names of
// models are tried.
import type { GgufHeader } from '../../native/index';
import { specialIds } from '../gguf/special-ids';
import { END_NAMES, FILL_NAMES, type FillKind } from '../tokenizer/control-names';
import type { Vocabulary } from '../tokenizer/vocabulary';

/**
 * Names of tokens that end a text if their type is control. A token of another type with such a name may be HTML, for
 * example.
 */
const END_NAMES_OF_CONTROL = ['</s>', '<eos>'];

/**
 * The tokens that end a generation: those that the file names, and all control tokens that end a turn in some family.
 */
export function endOfGeneration(header: GgufHeader, vocabulary: Vocabulary): Set<number> {
	const { ids } = specialIds(header);
	const given = (['eos', 'eot', 'eom'] as const).map((kind) => ids.get(kind));
	const named = [...END_NAMES, ...END_NAMES_OF_CONTROL].map((name) => vocabulary.findSpecial(name));
	const control = named.filter((id) => id !== undefined && vocabulary.isSpecial(id));
	return new Set([...given, ...control].filter((id) => id !== undefined));
}

export interface FillTokens {
	prefix: number;
	suffix: number;
	middle: number;
	/**
	 * The tokens before a repository's name and before each of its files. They are undefined if the model does not know
	 * them.
	 */
	repository: number | undefined;
	file: number | undefined;
}

/** The tokens of fill-in-the-middle, or undefined if the model was not trained for it. */
export function fillTokens(header: GgufHeader, vocabulary: Vocabulary): FillTokens | undefined {
	const { ids } = specialIds(header);
	const find = (kind: FillKind) =>
		ids.get(`fim_${kind}`) ??
		FILL_NAMES[kind].map((name) => vocabulary.findSpecial(name)).find((id) => id !== undefined);
	const [prefix, suffix, middle] = [find('pre'), find('suf'), find('mid')];
	if (prefix === undefined || suffix === undefined || middle === undefined) return undefined;
	return { prefix, suffix, middle, repository: find('rep'), file: find('sep') };
}
