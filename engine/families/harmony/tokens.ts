// What reading and writing Harmony ask of a vocabulary.
import type { Tokenizer } from '../../tokenizer/tokenizer';

/** Ids of the special tokens, from the vocabulary by name. */
export interface HarmonyTokens {
	start: number;
	message: number;
	channel: number;
	end: number;
	return: number;
	/** −1 where the vocabulary lacks one of these. */
	call: number;
	constrain: number;
	endOfText: number;
}

export interface HarmonyVocabulary {
	readonly tokenizer: Tokenizer;
	readonly tokens: HarmonyTokens;
	/** Generation ends with one of these; `<|end|>` is none, since the next message of the turn follows it. */
	readonly stopIds: ReadonlySet<number>;
}
