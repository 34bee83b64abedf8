// The wire between an editor and the engine: LSP 3.18 and the typed requests below. Both sides import this file. In the
// engine, only the folder server/ does: what a message says of models, chat or a benchmark is a type of the folder that
// makes it.
import { NotificationType, ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';
import type { BenchmarkChoice, BenchmarkReport } from './benchmark/report';
import type { ChatDelta, ChatQuestion, ChatResult } from './chat/messages';
import type { ConvertedModel } from './convert/convert-once';
import type { DownloadStatus } from './models/downloads';
import type { ModelFolders, ModelList } from './models/listing';
import type { MemoryLimit } from './models/memory-need';
import type { SelfTestResult } from './selftest/report';
import type { DownloadChoice } from './services/downloads';
import type { ModelSummary } from './services/loaded-model';
import type { EngineStatus } from './services/status';
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
export type { ModelSummary } from './services/loaded-model';
export type { EngineState, EngineStatus } from './services/status';
export type { EngineSettings, ModelRole, ReasoningEffort } from './settings';

export type ListModelsParams = ModelFolders;
export type DownloadParams = DownloadChoice;

export interface ChatParams extends ChatQuestion {
	/** The token under which the client receives `ChatDelta`s as `$/progress`. */
	partialResultToken?: string | number;
}

export interface BenchmarkParams extends BenchmarkChoice {
	workDoneToken?: string | number;
}

export interface SelfTestParams {
	/** Tests small shapes. That takes seconds instead of a minute, but the speeds mean little. */
	quick?: boolean;
	workDoneToken?: string | number;
}

/** For this load, `settings` replace those of the client. */
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

export interface ConvertModelParams {
	/** The path of a Hugging Face folder. */
	path: string;
	/** The token under which the client gets the progress. */
	workDoneToken?: string;
}

export type ConvertModelResult = ConvertedModel;

export const LoadModelRequest = new RequestType<LoadModelParams, ModelSummary, void>('hearth/loadModel');
/** Converts a Hugging Face folder to a GGUF, unless that has been done before. */
export const ConvertModelRequest = new RequestType<ConvertModelParams, ConvertModelResult, void>('hearth/convertModel');
export const UnloadModelRequest = new RequestType0<void, void>('hearth/unloadModel');
export const StatusRequest = new RequestType0<EngineStatus, void>('hearth/status');
export const StatusNotification = new NotificationType<EngineStatus>('hearth/didChangeStatus');
export const ChatRequest = new RequestType<ChatParams, ChatResult, void>('hearth/chat');
export const ChatProgress = new ProgressType<ChatDelta>();
/** Frees the cache of a conversation. */
export const ForgetChatRequest = new RequestType<{ conversationId: string }, void, void>('hearth/forgetChat');
export const SelfTestRequest = new RequestType<SelfTestParams, SelfTestResult, void>('hearth/selfTest');
export const BenchmarkRequest = new RequestType<BenchmarkParams, BenchmarkReport, void>('hearth/benchmark');
export const ListModelsRequest = new RequestType<ListModelsParams, ModelList, void>('hearth/listModels');
/** Asks a model's host for the size of a model in the catalogue, in bytes. */
export const DownloadSizeRequest = new RequestType<DownloadParams, { fileBytes: number }, void>('hearth/downloadSize');
/** Starts or continues a download, or joins the one that runs. The status shows its progress. */
export const StartDownloadRequest = new RequestType<DownloadParams, DownloadStatus, void>('hearth/startDownload');
/** Pauses a download. With `discard`, the bytes that have arrived are deleted. */
export const StopDownloadRequest = new RequestType<{ id: string; discard: boolean; folder?: string }, void, void>(
	'hearth/stopDownload',
);

/** Error codes of failed requests. JSON-RPC leaves -32000…-32099 to servers. */
export const ErrorCode = {
	noModel: -32001,
	modelLoadFailed: -32002,
	contextOverflow: -32003,
	overloaded: -32004,
	engineFailed: -32005,
	notEnoughMemory: -32006,
	downloadFailed: -32007,
} as const;
