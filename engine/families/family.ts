// The interfaces of model families. Beside the arithmetic, families differ in how a conversation and the place of a
// completion are written as prompts, and in where an answer ends. Harmony is one of the families.
import type { ReasoningEffort } from '../settings';
import type { PromptPart } from './prompt-builder';

export type Channel = 'analysis' | 'commentary' | 'final';

export type AnswerEvent =
	/** `moved` says that this text came as reasoning before and has turned out to be the answer. */
	| { kind: 'text'; channel: Channel; text: string; moved?: true }
	/** A finished call. `arguments` is the text that the model wrote, which should be JSON. */
	| { kind: 'toolCall'; name: string; arguments: string };

/** Reads a generated turn token by token. It never throws, since the text of a model is untrusted. */
export interface AnswerParser {
	/** Takes the next token. */
	push(token: number): AnswerEvent[];
	/** Ends a turn that no stop token ended (length, cancel). */
	finish(): AnswerEvent[];
	/** Whether the answer is complete, whatever the model would write next. */
	readonly complete: boolean;
}

export interface ChatTurn {
	role: 'user' | 'assistant';
	/** The text of the turn. A past answer is without its reasoning. */
	content: string;
}

export interface ChatPrompt {
	/** The date as YYYY-MM-DD. */
	currentDate: string;
	reasoningEffort: ReasoningEffort;
	/** The user's own instructions, if there are any. */
	instructions?: string;
	turns: readonly ChatTurn[];
}

/** How a family writes a conversation as a prompt and reads the answer. */
export interface ChatFormat {
	/** e.g. ChatML. */
	readonly name: string;
	/** Why this format is used instead of a template in the model's file. */
	readonly note?: string;
	/** The publisher's recommendation. It counts where the user has set nothing else. */
	readonly sampling: { temperature: number; topP: number };
	readonly stopIds: ReadonlySet<number>;
	/** The token ids of a whole prompt, up to the place where the model continues. No text becomes a special token. */
	encode(prompt: ChatPrompt): Int32Array;
	/** The parts that `encode` encodes, for callers that have the tokens of most texts already. */
	parts(prompt: ChatPrompt): readonly PromptPart[] | Promise<readonly PromptPart[]>;
	/** Makes a parser for the answer to a prompt of `encode`. */
	parser(prompt: Int32Array): AnswerParser;
}

/** A part of another file that may help. */
export interface RelatedFile {
	label: string;
	text: string;
}

export interface CompletionFile {
	/** The file as the user knows it, e.g. its path in the workspace. */
	label: string;
	languageId: string;
	related: readonly RelatedFile[];
}

/** Excerpts of a file around the cursor. Their lines end with \n. */
export interface Window {
	/** The text before the cursor. It begins at the start of a line unless that line is longer than the excerpt. */
	prefix: string;
	/** Whether the prefix begins where the file does. */
	prefixIsWhole: boolean;
	/** The cursor's line up to the cursor, or the last part of it if it is very long. */
	linePrefix: string;
	/** The cursor's line from the cursor on. */
	lineSuffix: string;
	/** Whether the line goes on after `lineSuffix`. */
	lineSuffixIsCut?: true;
	/** The lines after the cursor's line. */
	suffix: string;
	/** Whether the file goes on after `suffix`. */
	suffixIsCut?: true;
}

export interface CompletionPrompt {
	tokens: Int32Array;
	/** The text that the generation has to begin with. It was taken from the end of the prefix (token healing). */
	healed: string;
}

/** How a family writes the prompt of an inline completion. */
export interface CompletionFormat {
	/** e.g. fill-in-the-middle. */
	readonly name: string;
	/** Whether the prompts have a place for `CompletionFile.related`. */
	readonly takesRelated: boolean;
	/**
	 * The tokens that all prompts begin with. They are computed before the first completion is asked for, and may be
	 * empty.
	 */
	readonly shared: Int32Array;
	build(file: CompletionFile, window: Window): CompletionPrompt;
}

export interface ModelFamily {
	/** The chat format, or the reason why there is none. A model that was not trained to chat has none. */
	readonly chat: ChatFormat | { readonly unavailable: string };
	readonly completion: CompletionFormat;
	/** The tokens that end plain text. */
	readonly endOfText: ReadonlySet<number>;
}

/** @throws an error that says why the model cannot chat. */
export function requireChat({ chat }: ModelFamily): ChatFormat {
	if ('unavailable' in chat)
		throw new Error(`this model cannot chat: ${chat.unavailable}; choose another one for chat`);
	return chat;
}
