// What differs between families of models beside the arithmetic: how a conversation is written down for them, how a place in a
// file is, and where an answer ends. Harmony is one of them.
import type { ReasoningEffort } from '../settings';
import type { PromptPart } from './prompt-builder';

export type Channel = 'analysis' | 'commentary' | 'final';

export type AnswerEvent =
	/** `moved`: this text has come as reasoning before, and turns out to be the answer. */
	| { kind: 'text'; channel: Channel; text: string; moved?: true }
	/** A finished call. `arguments` is what the model wrote, JSON if it did well. */
	| { kind: 'toolCall'; name: string; arguments: string };

/** Reads a generated turn token by token. Nothing in it fails: what a model writes is untrusted. */
export interface AnswerParser {
	/** Takes the next token. */
	push(token: number): AnswerEvent[];
	/** Ends a turn that no stop token ended (length, cancel). */
	finish(): AnswerEvent[];
	/** The answer is complete, whatever the model would write next. */
	readonly complete: boolean;
}

export interface ChatTurn {
	role: 'user' | 'assistant';
	/** Of a past answer: what was said to the user, without reasoning. */
	content: string;
}

export interface ChatPrompt {
	/** As YYYY-MM-DD. */
	currentDate: string;
	reasoningEffort: ReasoningEffort;
	/** The user's own instructions; absent: none. */
	instructions?: string;
	turns: readonly ChatTurn[];
}

/** How a family's models are chatted with. */
export interface ChatFormat {
	/** e.g. ChatML. */
	readonly name: string;
	/** Why it is used instead of a template in the model's file. */
	readonly note?: string;
	/** What its publishers recommend where the user has no wish. */
	readonly sampling: { temperature: number; topP: number };
	readonly stopIds: ReadonlySet<number>;
	/** The ids of a whole prompt, up to where the model's turn goes on. Nothing in the texts becomes a special token. */
	encode(prompt: ChatPrompt): Int32Array;
	/** What `encode` encodes, for those who have the tokens of most of its texts already. */
	parts(prompt: ChatPrompt): readonly PromptPart[] | Promise<readonly PromptPart[]>;
	/** For the answer to a prompt of `encode`. */
	parser(prompt: Int32Array): AnswerParser;
}

/** Part of another file that may help. */
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

/** Excerpts of a file; their lines end with \n. */
export interface Window {
	/** Text before the cursor, from the start of a line where the line is not longer than the excerpt. */
	prefix: string;
	/** Whether the prefix begins where the file does. */
	prefixIsWhole: boolean;
	/** The cursor's line up to the cursor, of a very long line its last part. */
	linePrefix: string;
	/** The cursor's line from the cursor on. */
	lineSuffix: string;
	/** Whether the line goes on after `lineSuffix`. */
	lineSuffixIsCut?: true;
	/** The lines after the cursor's. */
	suffix: string;
	/** Whether the file goes on after `suffix`. */
	suffixIsCut?: true;
}

export interface CompletionPrompt {
	tokens: Int32Array;
	/** Text the generation has to begin with: taken back from the end of the prefix (token healing). */
	healed: string;
}

/** How a family's models are asked for what belongs at the cursor. */
export interface CompletionFormat {
	/** e.g. fill-in-the-middle. */
	readonly name: string;
	/** Whether `CompletionFile.related` has a place in its prompts. */
	readonly takesRelated: boolean;
	/** What all its prompts begin with, to be computed before the first one is asked for; may be empty. */
	readonly shared: Int32Array;
	build(file: CompletionFile, window: Window): CompletionPrompt;
}

export interface ModelFamily {
	/** A model that was not trained to chat has none; the text says why. */
	readonly chat: ChatFormat | { readonly unavailable: string };
	readonly completion: CompletionFormat;
	/** Plain text ends with one of these. */
	readonly endOfText: ReadonlySet<number>;
}

/** @throws an error that says why the model cannot chat. */
export function requireChat({ chat }: ModelFamily): ChatFormat {
	if ('unavailable' in chat)
		throw new Error(`this model cannot chat: ${chat.unavailable}; choose another one for chat`);
	return chat;
}
