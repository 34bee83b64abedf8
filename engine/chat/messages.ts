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
	/** The files and selections that the user attached to this message. */
	context?: ChatContext[];
}

export interface ChatQuestion {
	/** Keeps this conversation's cache alive between turns. */
	conversationId: string;
	/**
	 * The whole conversation. It ends with a user message, and assistant messages hold final answers without the
	 * reasoning.
	 */
	messages: ChatMessage[];
	/**
	 * All that the user attached to the conversation, from a client that does not say to which message. Each attachment
	 * stays with the message it first came with, as long as the engine remembers the conversation.
	 */
	context?: ChatContext[];
	reasoningEffort?: ReasoningEffort;
	maxTokens?: number;
	temperature?: number;
	seed?: number;
}

export interface ChatDelta {
	/**
	 * `commentary` is a preamble for the user before the answer. The result may sort the text otherwise, and the result
	 * counts.
	 */
	channel: 'analysis' | 'commentary' | 'final';
	text: string;
}

export interface ChatResult {
	/** The whole text of the final channel. If the turn has none, this is its preamble. */
	content: string;
	/** The text for the user before the answer, if there was any. The client sends past turns without it. */
	preamble?: string;
	reasoning: string;
	/**
	 * One sentence that tells the user why there is no text at all. It is absent if there is text or the answer was
	 * canceled.
	 */
	empty?: string;
	stopReason: 'stop' | 'length' | 'canceled' | 'context';
	reasoningMilliseconds: number;
	usage: {
		promptTokens: number;
		cachedTokens: number;
		generatedTokens: number;
		contextTokens: number;
		/** How many tokens were drafted, and how many of them the model then chose itself. */
		drafts: { proposed: number; accepted: number };
		/**
		 * How many leading messages were left out because the conversation no longer fits into the context. Absent if none
		 * were.
		 */
		droppedMessages?: number;
	};
	timings: { firstTokenMilliseconds: number; milliseconds: number; decodeTokensPerSecond: number };
}
