// The messages between the webview pages and the extension host. This file has only types: both sides import it, and
// neither side imports the other.
import type { BenchmarkReport, EngineState, EngineStatus, ReasoningEffort } from '../engine/protocol';

/** A command that the host offers beside an error or in an empty state. */
export type ErrorAction = 'select-model' | 'show-log' | 'restart-engine' | 'new-chat' | 'open-settings' | 'retry';

export interface ShownError {
	message: string;
	actions: ErrorAction[];
}

/**
 * The engine as the user sees it: the engine's own state, or the state of its process while there is no engine to ask.
 */
export interface EngineView {
	state: EngineState | 'off' | 'starting' | 'restarting' | 'failed';
	/** One line of text, for the states that need one. */
	message?: string;
	status?: EngineStatus;
}

export interface Attachment {
	id: string;
	/** For example `src/app.ts:10-24`. */
	label: string;
	languageId: string;
}

interface ChatStats {
	decodeTokensPerSecond: number;
	firstTokenMilliseconds: number;
	milliseconds: number;
	promptTokens: number;
	cachedTokens: number;
	generatedTokens: number;
	/** The most positions that the conversation may take. */
	contextTokens: number;
	/** Number of earlier messages that the model did not see, because not all of them fitted. */
	droppedMessages?: number;
}

export interface UserEntry {
	role: 'user';
	id: string;
	content: string;
	attachments: Attachment[];
}

/** What an answer consists of. */
export interface AnswerTexts {
	reasoning: string;
	/** What the model said to the user before the answer. Absent when it said nothing. */
	preamble?: string;
	content: string;
}

export interface AssistantEntry extends AnswerTexts {
	role: 'assistant';
	id: string;
	/** How long the model reasoned. Absent while it still reasons, and when it never did. */
	reasoningMilliseconds?: number;
	/** How long the model had been reasoning when this was sent. Present only while it reasons. */
	thinkingMilliseconds?: number;
	state: 'streaming' | 'done' | 'stopped' | 'length' | 'error';
	error?: ShownError;
	/** Why an answer ended without any text, and what the user can do. */
	notice?: ShownError;
	stats?: ChatStats;
}

export type ChatEntry = UserEntry | AssistantEntry;

export type ReasoningDisplay = 'collapsed' | 'expanded' | 'hidden';

/** Everything the chat page shows. It is sent as a whole when the page opens and when the conversation is replaced. */
export interface ChatSnapshot {
	entries: ChatEntry[];
	attachments: Attachment[];
	/** The file or selection that one click would attach. */
	suggestion?: { kind: 'file' | 'selection'; label: string };
	engine: EngineView;
	reasoningEffort: ReasoningEffort;
	reasoningDisplay: ReasoningDisplay;
}

export type HostToChat =
	| { type: 'snapshot'; snapshot: ChatSnapshot }
	/** Adds the entry, or replaces the entry with the same id. */
	| { type: 'entry'; entry: ChatEntry }
	/** Appends to the assistant's entry with this id. */
	| ({ type: 'delta'; id: string } & AnswerTexts)
	| { type: 'engine'; engine: EngineView }
	| { type: 'attachments'; attachments: Attachment[]; suggestion?: ChatSnapshot['suggestion'] }
	| { type: 'settings'; reasoningEffort: ReasoningEffort; reasoningDisplay: ReasoningDisplay }
	| { type: 'focus' }
	| { type: 'copied'; ok: boolean };

export type ChatToHost =
	| { type: 'ready' }
	/** `replaces` is the user entry that this edited text replaces. That entry and all entries after it go. */
	| { type: 'send'; text: string; replaces?: string }
	| { type: 'stop' }
	| { type: 'regenerate' }
	| { type: 'action'; action: ErrorAction }
	| { type: 'copy'; text: string }
	| { type: 'insert'; text: string }
	| { type: 'open-link'; href: string }
	| { type: 'attach'; what: 'suggestion' | 'pick' }
	| { type: 'detach'; id: string }
	| { type: 'reasoning-effort'; effort: ReasoningEffort };

/** One saved run, as the list of comparable runs shows it. */
export interface SavedRun {
	id: string;
	createdAt: string;
	model: string;
	kernels: string;
}

export type HostToBenchmark =
	| { type: 'report'; report: BenchmarkReport; id: string; earlier: SavedRun[] }
	/** The report that `compare` asked for. Absent when comparison was turned off. */
	| { type: 'baseline'; id: string; report?: BenchmarkReport }
	| { type: 'copied'; ok: boolean };

export type BenchmarkToHost =
	| { type: 'ready' }
	| { type: 'compare'; id: string }
	| { type: 'copy'; text: string }
	| { type: 'run-again' }
	| { type: 'open-file' };
