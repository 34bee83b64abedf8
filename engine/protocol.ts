// The wire protocol between an editor and the engine: LSP 3.18 plus the typed requests below. Both sides import this file
// (types and method names only; nothing here runs).
import { NotificationType, ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';

/** Sent as `initializationOptions.settings` and again as `workspace/didChangeConfiguration` with `{ settings: { hearth } }`. */
export interface EngineSettings {
	/** Absolute path of a GGUF; empty: none chosen. */
	modelPath: string;
	/** 0: all physical cores. */
	threads: number;
	/** Positions a conversation or completion may span. */
	contextTokens: number;
	kernels: 'auto' | 'reference' | 'portable' | 'avx2' | 'avx512' | 'neon';
	rope: 'reference' | 'llamacpp';
	/** How the KV cache keeps keys and values; `q8_0` takes half the memory and is a little less exact. */
	cacheType: 'f16' | 'q8_0';
	/** Guess tokens ahead and verify them together. Changes speed, never a token. */
	speculation: boolean;
	/** Move weights into a faster layout while idle, where memory allows. Changes speed, never a token. */
	repackWeights: boolean;
	completion: {
		maxTokens: number;
		multiline: 'auto' | 'always' | 'never';
		/** Tokens of the file before and after the cursor shown to the model. */
		prefixTokens: number;
		suffixTokens: number;
	};
	chat: {
		reasoningEffort: 'low' | 'medium' | 'high';
		maxTokens: number;
		temperature: number;
		topP: number;
		/** Extra instructions for the developer message; empty: none. */
		instructions: string;
	};
}

export interface ModelSummary {
	path: string;
	name: string;
	architecture: string;
	fileBytes: number;
	parameterCount: number;
	contextLength: number;
	kernels: string;
	threads: number;
	loadMilliseconds: number;
}

export type EngineState = 'no-model' | 'loading' | 'ready' | 'busy' | 'error';

export interface EngineStatus {
	state: EngineState;
	processId: number;
	version: string;
	model?: ModelSummary;
	/**
	 * One line that says what is wrong and what to do; in state `error` always there. In other states: the model of this
	 * client's settings could not be loaded, and the one in use was kept.
	 */
	error?: string;
	/** Requests running or waiting, by kind. */
	active: { completion: number; chat: number; benchmark: number };
	/** Tokens a second over the last seconds of work; absent before any. */
	speed?: { prefill: number; decode: number };
	memory: { residentBytes: number; peakBytes: number; mappedBytes: number; cacheBytes: number };
	/** Positions cached now and at most. */
	cache?: { usedTokens: number; capacityTokens: number };
	/** Why the last completion request showed what it did. */
	lastCompletion?: CompletionReport;
}

export interface CompletionReport {
	outcome: 'shown' | 'empty' | 'canceled' | 'failed';
	/** e.g. "the suggestion only repeated the text after the cursor". */
	reason?: string;
	promptTokens: number;
	cachedTokens: number;
	generatedTokens: number;
	milliseconds: number;
}

export interface ChatMessage {
	role: 'user' | 'assistant';
	content: string;
}

export interface ChatParams {
	/** Keeps this conversation's cache alive between turns. */
	conversationId: string;
	/** The whole conversation, ending with a user message. Only final answers of the assistant, never its reasoning. */
	messages: ChatMessage[];
	/** Files or selections the user attached. */
	context?: { label: string; languageId?: string; text: string }[];
	reasoningEffort?: 'low' | 'medium' | 'high';
	maxTokens?: number;
	temperature?: number;
	seed?: number;
	/** Receives `ChatDelta`s as `$/progress`. */
	partialResultToken?: string | number;
}

export interface ChatDelta {
	channel: 'analysis' | 'commentary' | 'final';
	text: string;
}

export interface ChatResult {
	/** The final channel's text, whole. */
	content: string;
	reasoning: string;
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

/** What a benchmark measures; see `BenchmarkResult.test`. */
export type BenchmarkTest = 'load' | 'forward' | 'pp' | 'tg' | 'batch' | 'depth' | 'verify' | 'edit' | 'first-token';

export interface BenchmarkParams {
	/** `quick` (the default): load, forward, pp, tg, batch. `all` also chooses sizes, as far as the loaded context goes. */
	tests?: 'quick' | 'all' | BenchmarkTest[];
	/** Prompt lengths, tokens to generate, streams and tokens a stream of the batch tests, context depths, repetitions. */
	prompt?: number | number[];
	generate?: number;
	batch?: number | number[];
	length?: number;
	depth?: number | number[];
	repeat?: number;
	/** false: measure the weights as the file has them. */
	repack?: boolean;
	workDoneToken?: string | number;
}

export interface Measured {
	mean: number;
	stddev: number;
	samples: number[];
}

export interface BenchmarkResult {
	/**
	 * `load`; `load+forward`: to the first token; `forward`: one token; `pp512`: a prompt; `tg128`: decoding; `b20x100`: streams
	 * at once; `tg128@d16384`: decoding behind that much context; `verify8`: steps of 8 rows of drafts; `edit`, `edit-plain`: the
	 * recorded code edit with and without speculation; `first-token-cold`, `first-token-warm`: with nothing and nearly all of a
	 * prompt cached.
	 */
	test: string;
	engine: 'hearth' | 'llama.cpp';
	tokensPerSecond?: Measured;
	/** Of one sample. */
	milliseconds: Measured;
	/** Weights and cache read, in bytes for each token; experts by what independent routing touches on average. */
	bytesPerToken?: number;
	/** Of the machine's measured read bandwidth, 0…1. */
	bandwidthShare?: number;
	/** Multiply-adds with weights, of the machine's measured int8 peak, 0…1. */
	computeShare?: number;
	/** Of drafted tokens, how many were right, 0…1. */
	acceptance?: number;
}

export interface BenchmarkReport {
	createdAt: string;
	version: string;
	machine: {
		cpu: string;
		cores: number;
		memoryBytes: number;
		platform: string;
		features: string[];
		/** Means of what was measured before and after the tests; the latter 0 where the CPU has no int8 instruction. */
		readBytesPerSecond?: number;
		multiplyAddsPerSecond?: number;
	};
	model: { name: string; path: string; fileBytes: number; parameterCount: number; bytesPerToken: number };
	backend: 'cpu' | 'metal';
	kernels: string;
	threads: number;
	/** Whether all weights were in the faster layout, or as the file has them. */
	repacked?: boolean;
	results: BenchmarkResult[];
	memory: { peakBytes: number; averageBytes: number; mappedBytes: number };
	/**
	 * `TEST vs llama.cpp`: how many times as fast; `verify8 / step1`: time of such a step over a plain one's; `tg128@d16384 / d0` and
	 * `edit / edit-plain`: speed over speed; `first-token-warm / cold`: time over time.
	 */
	ratios?: Record<string, number>;
	/** Where another engine was measured in turn with ours (`hearth bench --peer`). */
	peer?: { engine: 'llama.cpp'; version: string; memory: { peakBytes: number; averageBytes: number } };
}

export const LoadModelRequest = new RequestType<{ path: string }, ModelSummary, void>('hearth/loadModel');
/**
 * Converts a Hugging Face folder to a GGUF file, unless that has been done before; the answer is the file's path. Progress
 * comes under `workDoneToken`.
 */
export const ConvertModelRequest = new RequestType<{ path: string; workDoneToken?: string }, { path: string }, void>(
	'hearth/convertModel',
);
export const UnloadModelRequest = new RequestType0<void, void>('hearth/unloadModel');
export const StatusRequest = new RequestType0<EngineStatus, void>('hearth/status');
export const StatusNotification = new NotificationType<EngineStatus>('hearth/didChangeStatus');
export const ChatRequest = new RequestType<ChatParams, ChatResult, void>('hearth/chat');
export const ChatProgress = new ProgressType<ChatDelta>();
/** Frees a conversation's cache. */
export const ForgetChatRequest = new RequestType<{ conversationId: string }, void, void>('hearth/forgetChat');
export const BenchmarkRequest = new RequestType<BenchmarkParams, BenchmarkReport, void>('hearth/benchmark');

/** Error codes of failed requests (JSON-RPC leaves -32000…-32099 to servers). */
export const ErrorCode = {
	noModel: -32001,
	modelLoadFailed: -32002,
	contextOverflow: -32003,
	overloaded: -32004,
	engineFailed: -32005,
} as const;
