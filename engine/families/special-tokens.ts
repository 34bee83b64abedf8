// The tokens with a meaning beside text, as a GGUF names them or, where it does not, by the names that models in use have.
import type { GgufHeader } from '../../native/index';
import { specialIds } from '../gguf/special-ids';
import { END_NAMES, FILL_NAMES, type FillKind } from '../tokenizer/control-names';
import type { Vocabulary } from '../tokenizer/vocabulary';

/** Names that end a text where they are control tokens; of another type they are HTML, say. */
const END_NAMES_OF_CONTROL = ['</s>', '<eos>'];

/** Where generation ends: what the file says, and all tokens that end a turn in some family. */
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
	/** Before a repository's name and before each of its files; where the model knows them. */
	repository: number | undefined;
	file: number | undefined;
}

/** The tokens of fill-in-the-middle; undefined where the model was not trained for it. */
export function fillTokens(header: GgufHeader, vocabulary: Vocabulary): FillTokens | undefined {
	const { ids } = specialIds(header);
	const find = (kind: FillKind) =>
		ids.get(`fim_${kind}`) ??
		FILL_NAMES[kind].map((name) => vocabulary.findSpecial(name)).find((id) => id !== undefined);
	const [prefix, suffix, middle] = [find('pre'), find('suf'), find('mid')];
	if (prefix === undefined || suffix === undefined || middle === undefined) return undefined;
	return { prefix, suffix, middle, repository: find('rep'), file: find('sep') };
}
