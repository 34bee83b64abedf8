// What the webview pages and the extension host say to each other. Types only: each side imports them, neither the other.
import type { BenchmarkReport, EngineState, EngineStatus, ReasoningEffort } from '../engine/protocol';

/** A command the host offers beside an error or in an empty state. */
export type ErrorAction = 'select-model' | 'show-log' | 'restart-engine' | 'new-chat' | 'open-settings' | 'retry';

export interface ShownError {
	message: string;
	actions: ErrorAction[];
}

/** The engine as the user sees it: the process's state where there is no engine to ask, else the engine's own. */
export interface EngineView {
	state: EngineState | 'off' | 'starting' | 'restarting' | 'failed';
	/** One line for the states that need one. */
	message?: string;
	status?: EngineStatus;
}

export interface Attachment {
	id: string;
	/** e.g. `src/app.ts:10-24` */
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
	/** Positions the conversation may span. */
	contextTokens: number;
	/** Earlier messages the model no longer saw, since all would not fit. */
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
	/** Said to the user before the answer; absent: nothing. */
	preamble?: string;
	content: string;
}

export interface AssistantEntry extends AnswerTexts {
	role: 'assistant';
	id: string;
	/** Absent while it still reasons, and when it never did. */
	reasoningMilliseconds?: number;
	/** How long it had been reasoning when this was sent; only while it reasons. */
	thinkingMilliseconds?: number;
	state: 'streaming' | 'done' | 'stopped' | 'length' | 'error';
	error?: ShownError;
	/** Of an answer that ended without any text: why, and what to do. */
	notice?: ShownError;
	stats?: ChatStats;
}

export type ChatEntry = UserEntry | AssistantEntry;

export type ReasoningDisplay = 'collapsed' | 'expanded' | 'hidden';

/** Everything the chat page shows; sent whole when the page opens or the conversation changes as a whole. */
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
	/** Adds the entry, or replaces the one with its id. */
	| { type: 'entry'; entry: ChatEntry }
	/** Appends to the assistant's entry. */
	| ({ type: 'delta'; id: string } & AnswerTexts)
	| { type: 'engine'; engine: EngineView }
	| { type: 'attachments'; attachments: Attachment[]; suggestion?: ChatSnapshot['suggestion'] }
	| { type: 'settings'; reasoningEffort: ReasoningEffort; reasoningDisplay: ReasoningDisplay }
	| { type: 'focus' }
	| { type: 'copied'; ok: boolean };

export type ChatToHost =
	| { type: 'ready' }
	/** `replaces`: the user entry that this edited text stands for; it and all after it go. */
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

/** One saved run, as the list of runs to compare with shows it. */
export interface SavedRun {
	id: string;
	createdAt: string;
	model: string;
	kernels: string;
}

export type HostToBenchmark =
	| { type: 'report'; report: BenchmarkReport; id: string; earlier: SavedRun[] }
	/** The report asked for by `compare`; absent when comparison was turned off. */
	| { type: 'baseline'; id: string; report?: BenchmarkReport }
	| { type: 'copied'; ok: boolean };

export type BenchmarkToHost =
	| { type: 'ready' }
	| { type: 'compare'; id: string }
	| { type: 'copy'; text: string }
	| { type: 'run-again' }
	| { type: 'open-file' };
