// A conversation as a client sends it, and an answer as the client gets it.
import type { ReasoningEffort } from '../settings';

/** A file or selection. */
export interface ChatContext {
	label: string;
	languageId?: string;
	text: string;
}

export interface ChatMessage {
	role: 'user' | 'assistant';
	content: string;
	/** What the user attached to this message. */
	context?: ChatContext[];
}

export interface ChatQuestion {
	/** Keeps this conversation's cache alive between turns. */
	conversationId: string;
	/** The whole conversation, ending with a user message. Only final answers of the assistant, never its reasoning. */
	messages: ChatMessage[];
	/**
	 * All that the user attached to the conversation, of a client that does not say to which message: each stays with the message
	 * it first came with, for as long as the engine remembers the conversation.
	 */
	context?: ChatContext[];
	reasoningEffort?: ReasoningEffort;
	maxTokens?: number;
	temperature?: number;
	seed?: number;
}

export interface ChatDelta {
	/** `commentary` is a preamble said to the user before the answer. What counts in the end is the result. */
	channel: 'analysis' | 'commentary' | 'final';
	text: string;
}

export interface ChatResult {
	/** The final channel's text, whole; of a turn without one, its preamble. */
	content: string;
	/** What was said to the user before the answer; absent: nothing. A past turn is sent without it. */
	preamble?: string;
	reasoning: string;
	/** One sentence for the user: why there is no text at all. Absent: there is, or the answer was canceled. */
	empty?: string;
	stopReason: 'stop' | 'length' | 'canceled' | 'context';
	reasoningMilliseconds: number;
	usage: {
		promptTokens: number;
		cachedTokens: number;
		generatedTokens: number;
		contextTokens: number;
		/** Tokens guessed ahead, and how many of them the model then chose itself. */
		drafts: { proposed: number; accepted: number };
		/** Leading messages that were left out since the conversation no longer fits into the context; absent: none. */
		droppedMessages?: number;
	};
	timings: { firstTokenMilliseconds: number; milliseconds: number; decodeTokensPerSecond: number };
}
