// The wire between an editor and the engine: LSP 3.18 and the typed requests below. Both sides import this file, and no folder of
// the engine below server/ does: what a message says of models, chat or a benchmark is a type of the folder that makes it.
import { NotificationType, ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';
import type { DeviceId } from '../native/index';
import type { BenchmarkChoice, BenchmarkReport } from './benchmark/report';
import type { ChatDelta, ChatQuestion, ChatResult } from './chat/messages';
import type { CompletionReport } from './completion/completer';
import type { DownloadStatus } from './models/downloads';
import type { ModelFolders, ModelList } from './models/listing';
import type { MemoryLimit, MemoryNeed, MemoryShortage } from './models/memory-need';
import type { NetworkSettings } from './models/network';
import type { SelfTestResult } from './selftest/report';
import type { EngineSettings, ModelRole } from './settings';

export type { BenchmarkReport, BenchmarkResult, BenchmarkTest, Measured } from './benchmark/report';
export type { ChatContext, ChatDelta, ChatMessage, ChatResult } from './chat/messages';
export type { CompletionReport } from './completion/completer';
export type { MachineMemory } from './machine/memory';
export type { DownloadStatus } from './models/downloads';
export type { CatalogueModel, FoundModel, ModelList, ModelSource, ModelUse } from './models/listing';
export type { Fit, MemoryLimit, MemoryNeed, MemoryShortage } from './models/memory-need';
export type { NetworkSettings } from './models/network';
export type { SelfTestReport, SelfTestResult, WholeModelCheck } from './selftest/report';
export type { EngineSettings, ModelRole, ReasoningEffort } from './settings';

export type ListModelsParams = ModelFolders;

export interface ChatParams extends ChatQuestion {
	/** Receives `ChatDelta`s as `$/progress`. */
	partialResultToken?: string | number;
}

export interface BenchmarkParams extends BenchmarkChoice {
	workDoneToken?: string | number;
}

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
	backend: DeviceId;
	/** The GPU's name; absent: the CPU computes. */
	device?: string;
	/** Why the CPU computes where a GPU was asked for or could be expected. */
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

export interface DownloadParams {
	/** Of the catalogue. */
	id: string;
	/** Absent: the default folder. */
	folder?: string;
	network?: NetworkSettings;
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

export interface SelfTestParams {
	/** Small shapes: seconds instead of a minute, but speeds that mean little. */
	quick?: boolean;
	workDoneToken?: string | number;
}

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
