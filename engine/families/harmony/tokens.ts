// The parts of a vocabulary that reading and writing Harmony need.
import type { Tokenizer } from '../../tokenizer/tokenizer';

/** The ids of Harmony's special tokens, which the vocabulary has by name. */
export interface HarmonyTokens {
	start: number;
	message: number;
	channel: number;
	end: number;
	return: number;
	/** This id and the following ones are −1 if the vocabulary lacks the token. */
	call: number;
	constrain: number;
	endOfText: number;
}

export interface HarmonyVocabulary {
	readonly tokenizer: Tokenizer;
	readonly tokens: HarmonyTokens;
	/** The tokens that end a generation. `<|end|>` is not one of them, since the turn's next message follows it. */
	readonly stopIds: ReadonlySet<number>;
}
