// The wire protocol between an editor and the engine: LSP 3.18 plus the typed requests below. Both sides import this file
// (types and method names only; nothing here runs).
import { NotificationType, ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';
import type { KernelCheck } from '../native/index';

/** Sent as `initializationOptions.settings` and again as `workspace/didChangeConfiguration` with `{ settings: { hearth } }`. */
export interface EngineSettings {
	/** Absolute path of a GGUF; empty: none chosen. It chats, and completes where no other one is chosen for that. */
	modelPath: string;
	/** The model that completes; empty: the one that chats. */
	completionModelPath: string;
	/** A smaller model of the same vocabulary that guesses ahead for the one that chats; empty: none. */
	draftModelPath: string;
	/** 0: all physical cores. */
	threads: number;
	/** Positions a conversation or completion may span. */
	contextTokens: number;
	kernels: 'auto' | 'reference' | 'portable' | 'avx2' | 'avx512' | 'amx' | 'neon';
	/** What computes; `auto`: Metal where there is a usable one, else the CPU. */
	backend: 'auto' | 'metal' | 'cpu';
	/** Metal: prompts on the GPU's matrix units; faster, but tokens may then depend on how a prompt was cut into steps. */
	matrixUnits: boolean;
	rope: 'reference' | 'llamacpp';
	/** How the KV cache keeps keys and values; `q8_0` takes half the memory and is a little less exact. */
	cacheType: 'f16' | 'q8_0';
	/** Guess tokens ahead and verify them together. Changes speed, never a token. */
	speculation: boolean;
	/** Move weights into a faster layout while idle, where memory allows. Changes speed, never a token. */
	repackWeights: boolean;
	/** Minutes without work after which the model is unloaded, until it is asked for again; 0: never. */
	unloadAfterMinutes: number;
	completion: {
		maxTokens: number;
		multiline: 'auto' | 'always' | 'never';
		/** Tokens of the file before and after the cursor shown to the model. */
		prefixTokens: number;
		suffixTokens: number;
		/** Tokens of other files shown to models that know repositories. */
		relatedTokens: number;
	};
	chat: {
		reasoningEffort: 'low' | 'medium' | 'high';
		maxTokens: number;
		/** null: what the model's publishers recommend. */
		temperature: number | null;
		topP: number | null;
		/** Extra instructions, as a developer or system message; empty: none. */
		instructions: string;
	};
}

/** What a model is chosen for. */
export type ModelRole = 'chat' | 'completion';

export interface ModelSummary {
	path: string;
	/** What to call it: after its file, where that says something. */
	name: string;
	/** The name the file itself gives, where that is another one. */
	ownName?: string;
	architecture: string;
	fileBytes: number;
	parameterCount: number;
	contextLength: number;
	backend: 'cpu' | 'metal';
	/** The GPU's name; absent: the CPU computes. */
	device?: string;
	/** Why the CPU computes where Metal was asked for or could be expected. */
	backendNote?: string;
	kernels: string;
	threads: number;
	loadMilliseconds: number;
	/** How it is prompted in a chat, e.g. its own template; absent: it cannot chat. */
	chatFormat?: string;
	/** A reasoning effort makes a difference to it; absent: none does. */
	takesReasoningEffort?: true;
	/** The same in words, with why it is not the template in its file or why it cannot chat. */
	chatText: string;
	/** e.g. fill-in-the-middle. */
	completionFormat: string;
	/** Name of the model that guesses ahead for it. */
	draft?: string;
	/** Why the draft model of the settings is not used. */
	draftProblem?: string;
}

/** `unloaded`: the model was idle for as long as the settings allow; the next request loads it again. */
export type EngineState = 'no-model' | 'loading' | 'ready' | 'busy' | 'unloaded' | 'error';

/** Memory a model takes, in bytes: weights mapped from the file, KV cache, and what computing needs beside them. */
export interface MemoryNeed {
	weightBytes: number;
	cacheBytes: number;
	scratchBytes: number;
	totalBytes: number;
	/** What of the total the model or head that guesses ahead takes; absent: there is none. */
	draftBytes?: number;
}

/** Of the machine, or what its container allows. Available is what could be had without pushing others out. */
export interface MachineMemory {
	totalBytes: number;
	availableBytes: number;
}

/** `tight`: only if other programs give up memory. */
export type Fit = 'fits' | 'tight' | 'too-large';

/** The data of a `notEnoughMemory` error. */
export interface MemoryShortage {
	path: string;
	need: MemoryNeed;
	memory: MachineMemory;
	/** Settings with which the model would fit; empty: none. */
	alternatives: Pick<EngineSettings, 'contextTokens' | 'cacheType'>[];
}

/** What a model is good for: answering, completing code (fill-in-the-middle), guessing ahead for a larger model. */
export type ModelUse = 'chat' | 'completion' | 'draft';

/** The program or place a model was found in. */
export type ModelSource = 'hearth' | 'huggingface' | 'llama.cpp' | 'lm-studio' | 'ollama' | 'folder';

/** A model file on this machine. */
export interface FoundModel {
	/** Of the first file, where it is split. */
	path: string;
	name: string;
	source: ModelSource;
	/** Of all its files. */
	fileBytes: number;
	architecture?: string;
	parameterCount?: number;
	/** The tensor type most of it is in, by bytes: MXFP4, Q4_K… */
	quantisation?: string;
	contextLength?: number;
	uses: ModelUse[];
	/** Why this version cannot run it; absent: it can. */
	problem?: string;
	/** What is wrong in its file and does not matter, a sentence each. */
	notes?: string[];
	/** At the context and cache type of the settings; absent where the file does not say enough. */
	memory?: MemoryNeed;
	fit?: Fit;
}

/** A model that can be downloaded. */
export interface CatalogueModel {
	/** What `hearth fetch` calls it. */
	id: string;
	name: string;
	summary: string;
	/** SPDX identifier, or the publisher's own name of it; absent: see the page. */
	license?: string;
	/** The publisher's page. */
	page: string;
	/** Where it comes from. */
	host: string;
	/** Absent: the host says it when asked. */
	fileBytes?: number;
	uses: ModelUse[];
	problem?: string;
	memory?: MemoryNeed;
	fit?: Fit;
	/** Where it is on this machine, once files of its names are there. */
	path?: string;
	/** Nobody has verified them: they may be anything until the download has been asked for, which does it. */
	unverified?: true;
	/** Bytes of it that are there and would not be fetched again; absent: none, or all and verified. */
	partialBytes?: number;
}

export interface ListModelsParams {
	/** Folders to look into beside the known ones; absolute. */
	folders: string[];
	/** Where downloads go; absent: the default. */
	downloadFolder?: string;
}

export interface ModelList {
	found: FoundModel[];
	catalogue: CatalogueModel[];
	memory: MachineMemory;
	downloadFolder: string;
	/** Of the disk the download folder is on. */
	freeDiskBytes: number;
}

/** How the network is reached; what is absent is as the environment has it (HTTPS_PROXY, NO_PROXY…). */
export interface NetworkSettings {
	/** Address of a proxy; empty: none, whatever the environment says. */
	proxy?: string;
	/** Value of the Proxy-Authorization header. */
	proxyAuthorization?: string;
	/** Hosts reached without it. */
	noProxy?: string[];
	/** false: certificates are not checked. */
	strictTls?: boolean;
}

export interface DownloadParams {
	/** Of the catalogue. */
	id: string;
	/** Absent: the default folder. */
	folder?: string;
	network?: NetworkSettings;
}

export interface DownloadStatus {
	id: string;
	name: string;
	/** `checking`: what is there is read back; `waiting`: the connection failed and is tried again. */
	state: 'connecting' | 'checking' | 'downloading' | 'waiting' | 'paused' | 'failed' | 'done';
	receivedBytes: number;
	totalBytes?: number;
	bytesPerSecond: number;
	/** What went wrong and what to do; in the states `waiting` and `failed`. */
	error?: string;
	/** The file, or the folder of a model of several files; in the state `done`. */
	path?: string;
}

export interface EngineStatus {
	state: EngineState;
	processId: number;
	version: string;
	/** The model that chats, and completes where there is no other. */
	model?: ModelSummary;
	completionModel?: ModelSummary;
	/** In state `loading`: whose models are being loaded. What is loaded answers meanwhile. */
	loading?: ModelRole[];
	/**
	 * One line that says what is wrong and what to do; in state `error` always there. In other states: the model of this
	 * client's settings could not be loaded, and the one in use was kept.
	 */
	error?: string;
	/** Beside `error` where it is that memory is short. */
	shortage?: MemoryShortage;
	/** Downloads of this engine's life, finished ones included. */
	downloads?: DownloadStatus[];
	/** What the model in use takes. */
	need?: MemoryNeed;
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

export interface ChatParams {
	/** Keeps this conversation's cache alive between turns. */
	conversationId: string;
	/** The whole conversation, ending with a user message. Only final answers of the assistant, never its reasoning. */
	messages: ChatMessage[];
	/**
	 * All that the user attached to the conversation, of a client that does not say to which message: each stays with the message
	 * it first came with, for as long as the engine remembers the conversation.
	 */
	context?: ChatContext[];
	reasoningEffort?: 'low' | 'medium' | 'high';
	maxTokens?: number;
	temperature?: number;
	seed?: number;
	/** Receives `ChatDelta`s as `$/progress`. */
	partialResultToken?: string | number;
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
		/**
		 * What the hardware that computed, the CPU or the GPU, can do at most: means of what was measured before and after the
		 * tests. The latter is 0 where the CPU has no int8 instruction.
		 */
		readBytesPerSecond?: number;
		multiplyAddsPerSecond?: number;
		/** Of int8, by a tile unit (AMX) that the CPU has beside its vectors; shares are of the vectors' peak. */
		tileMultiplyAddsPerSecond?: number;
		/** Of those multiply-adds; absent: `int8`, as on any CPU. */
		arithmetic?: 'int8' | 'float';
	};
	model: { name: string; path: string; fileBytes: number; parameterCount: number; bytesPerToken: number };
	backend: 'cpu' | 'metal';
	/** The GPU's name; absent: the CPU computed. */
	device?: string;
	/** Why the CPU computed where Metal was asked for or could be expected. */
	backendNote?: string;
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

export interface SelfTestParams {
	/** Small shapes: seconds instead of a minute, but speeds that mean little. */
	quick?: boolean;
	workDoneToken?: string | number;
}

/** A whole model on one backend: against the reference, or in other steps against itself. */
export interface WholeModelCheck {
	backend: 'cpu' | 'metal';
	what: string;
	/** Mean Kullback–Leibler divergence from the reference in nats, where that was measured. */
	divergence?: number;
	ok: boolean;
	/** What is wrong, in words. */
	problem?: string;
}

export interface SelfTestReport {
	createdAt: string;
	version: string;
	machine: { cpu: string; cores: number; memoryBytes: number; platform: string; features: string[] };
	seed: number;
	sizes: 'small' | 'full';
	kernels: KernelCheck[];
	models: WholeModelCheck[];
	/**
	 * `ok`; `on-again`: it passed after an earlier one had not; `off`: it computes wrongly, and `auto` means the CPU from now on;
	 * `absent`: it cannot be used at all, for `reason`; `untested`.
	 */
	metal: { state: 'ok' | 'on-again' | 'off' | 'absent' | 'untested'; device?: string; reason?: string };
}

export interface SelfTestResult {
	passed: boolean;
	/** The verdict in one or two sentences. */
	summary: string;
	/** The whole report, to attach to a bug. */
	markdown: string;
	report: SelfTestReport;
}

/**
 * How much a model may take before it is refused with `notEnoughMemory`: what is available now, what the machine has, or
 * anything.
 */
export type MemoryLimit = 'available' | 'machine' | 'none';

/** `settings` replace those of the client for this load. */
export interface LoadModelParams {
	path: string;
	/** Default: chat. */
	role?: ModelRole;
	/** Default: `machine`. */
	memoryLimit?: MemoryLimit;
	settings?: Partial<
		Pick<EngineSettings, 'contextTokens' | 'cacheType' | 'modelPath' | 'completionModelPath' | 'draftModelPath'>
	>;
}

export const LoadModelRequest = new RequestType<LoadModelParams, ModelSummary, void>('hearth/loadModel');
export interface ConvertModelParams {
	/** A Hugging Face folder. */
	path: string;
	/** Progress comes under it. */
	workDoneToken?: string;
}

export interface ConvertModelResult {
	/** The GGUF file. */
	path: string;
	/** It is no model of its own but drafts for another one. */
	draftHead: boolean;
}

/** Converts a folder, unless that has been done before. */
export const ConvertModelRequest = new RequestType<ConvertModelParams, ConvertModelResult, void>('hearth/convertModel');
export const UnloadModelRequest = new RequestType0<void, void>('hearth/unloadModel');
export const StatusRequest = new RequestType0<EngineStatus, void>('hearth/status');
export const StatusNotification = new NotificationType<EngineStatus>('hearth/didChangeStatus');
export const ChatRequest = new RequestType<ChatParams, ChatResult, void>('hearth/chat');
export const ChatProgress = new ProgressType<ChatDelta>();
/** Frees a conversation's cache. */
export const ForgetChatRequest = new RequestType<{ conversationId: string }, void, void>('hearth/forgetChat');
export const SelfTestRequest = new RequestType<SelfTestParams, SelfTestResult, void>('hearth/selfTest');
export const BenchmarkRequest = new RequestType<BenchmarkParams, BenchmarkReport, void>('hearth/benchmark');
export const ListModelsRequest = new RequestType<ListModelsParams, ModelList, void>('hearth/listModels');
/** Asks the host of a catalogue's model for its size, in bytes. */
export const DownloadSizeRequest = new RequestType<DownloadParams, { fileBytes: number }, void>('hearth/downloadSize');
/** Starts or continues a download, or joins the one that runs; the status tells how it goes. */
export const StartDownloadRequest = new RequestType<DownloadParams, DownloadStatus, void>('hearth/startDownload');
/** Pauses a download; with `discard`, what has arrived is deleted. */
export const StopDownloadRequest = new RequestType<{ id: string; discard: boolean; folder?: string }, void, void>(
	'hearth/stopDownload',
);

/** Error codes of failed requests (JSON-RPC leaves -32000…-32099 to servers). */
export const ErrorCode = {
	noModel: -32001,
	modelLoadFailed: -32002,
	contextOverflow: -32003,
	overloaded: -32004,
	engineFailed: -32005,
	notEnoughMemory: -32006,
	downloadFailed: -32007,
} as const;
