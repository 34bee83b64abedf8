// One client of the engine: LSP's document synchronisation and inline completion, and Hearth's own requests.
import { setMaxListeners } from 'node:events';
import type { RequestType } from 'vscode-jsonrpc';
import {
	type CancellationToken,
	type Connection,
	createConnection,
	type InitializeParams,
	type InitializeResult,
	type InlineCompletionItem,
	type InlineCompletionParams,
	InlineCompletionTriggerKind,
	LSPErrorCodes,
	type Position,
	ProposedFeatures,
	type ProtocolConnection,
	ResponseError,
	TextDocumentSyncKind,
	TextDocuments,
	WorkDoneProgress,
	type WorkDoneProgressBegin,
	type WorkDoneProgressEnd,
	type WorkDoneProgressReport,
	type WorkspaceFolder,
} from 'vscode-languageserver';
import { createProtocolConnection } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { readBenchmarkOptions } from '../benchmark/options';
import type { BenchmarkReport } from '../benchmark/report';
import type { ChatResult } from '../chat/messages';
import type { CompletionReport } from '../completion/completer';
import { Completer, type CompletionResult } from '../completion/completer';
import { characterAt } from '../completion/lines';
import { RelatedFiles } from '../completion/related-files';
import { convertApart } from '../convert/apart';
import type { RelatedFile } from '../families/family';
import type { WriteProgress } from '../gguf/writer';
import { machineMemory } from '../machine/memory';
import { catalogueEntry } from '../models/catalogue';
import { sizeOf } from '../models/downloads';
import { downloadFolder, listModels } from '../models/list';
import type { ModelList } from '../models/listing';
import type { MemoryLimit, MemoryShortage } from '../models/memory-need';
import { NotEnoughMemoryError } from '../models/memory-need';
import {
	type BenchmarkParams,
	BenchmarkRequest,
	type ChatParams,
	ChatProgress,
	ChatRequest,
	type ConvertModelParams,
	ConvertModelRequest,
	type ConvertModelResult,
	DownloadSizeRequest,
	type EngineStatus,
	ErrorCode,
	ForgetChatRequest,
	type ListModelsParams,
	ListModelsRequest,
	LoadModelRequest,
	type ModelSummary,
	type SelfTestParams,
	SelfTestRequest,
	StartDownloadRequest,
	StatusNotification,
	StatusRequest,
	StopDownloadRequest,
	UnloadModelRequest,
} from '../protocol';
import { messageOf } from '../quote';
import { ContextOverflowError, OverloadedError } from '../runtime/errors';
import type { SelfTestResult } from '../selftest/report';
import type { EngineSettings, ModelRole } from '../settings';
import { VERSION } from '../version';
import { ClientChannel } from './client-channel';
import { updateDocument } from './document-changes';
import { documentLabel } from './document-label';
import { readFormatting, type WithFormatting } from './formatting-options';
import { describe, log } from './log';
import { type LoadedModel, ModelHost, NoModelError } from './model-host';
import { ROLES, settingsOf } from './roles';
import { readSettings } from './settings';
import type { SharedEngine } from './shared-engine';

/** A client's connection. Ends by itself when the client says `exit`; `dispose` when the transport has gone. */
export class Session {
	readonly #engine: SharedEngine;
	readonly #connection: Connection;
	readonly #protocol: ProtocolConnection;
	readonly #channel: ClientChannel;
	readonly #documents = new TextDocuments({ create: TextDocument.create, update: updateDocument });
	readonly #gone = new AbortController();
	#settings: EngineSettings;
	#folders: WorkspaceFolder[] = [];
	#canShowProgress = false;
	readonly #related = new RelatedFiles();
	#completer: { model: LoadedModel; completer: Completer } | undefined;
	#lastCompletion: CompletionReport | undefined;
	/** Why models of this client's settings are not the ones in use. */
	readonly #loadErrors = new Map<ModelRole, { message: string; shortage?: MemoryShortage }>();

	/**
	 * @param settings what holds until the client sends its own.
	 * @param onExit the client said `exit`, after `shutdown` or (`clean` false) without; or its connection is of no more use.
	 */
	constructor(
		engine: SharedEngine,
		input: NodeJS.ReadableStream,
		output: NodeJS.WritableStream,
		settings: EngineSettings,
		onExit: (clean: boolean) => void,
	) {
		this.#engine = engine;
		this.#settings = settings;
		setMaxListeners(0, this.#gone.signal); // one a request
		this.#channel = new ClientChannel(
			input,
			output,
			() => this.notify(engine.status()),
			() => onExit(false),
		);
		let protocol: ProtocolConnection | undefined;
		// The library's own Node entry ends the process with its client; this process may have more of them.
		const watchDog = {
			shutdownReceived: false,
			initialize: () => {},
			exit: (code: number) => onExit(code === 0),
		};
		const { reader, writer } = this.#channel;
		this.#connection = createConnection(
			(logger) => {
				protocol = createProtocolConnection(reader, writer, {
					...logger,
					error: logProtocolError,
				});
				return protocol;
			},
			watchDog,
			ProposedFeatures.all,
		) as Connection;
		this.#protocol = protocol!;
		this.#protocol.onError(([error]) => log(`malformed message: ${error.message}`));
		this.#register();
		this.#documents.onDidClose(({ document }) => this.#related.forget(document.uri));
		this.#documents.listen(this.#connection);
		this.#connection.listen();
	}

	/** Ends all the client's requests. */
	dispose(): void {
		if (this.#gone.signal.aborted) return;
		this.#gone.abort();
		this.#completer?.completer.dispose();
		this.#protocol.dispose();
	}

	/** Sends the status, unless the client has gone; to one that does not read, once it does. */
	notify(status: EngineStatus): void {
		if (this.#channel.congested) return;
		void this.#tell(() => this.#connection.sendNotification(StatusNotification.method, this.#forClient(status)));
	}

	/** Sends something nobody misses if the client goes meanwhile. */
	async #tell(send: () => Promise<void>): Promise<void> {
		if (this.#gone.signal.aborted) return;
		try {
			await send();
		} catch (error) {
			if (!this.#gone.signal.aborted) log(`sending: ${describe(error)}`);
		}
	}

	#register(): void {
		const connection = this.#connection;
		connection.onInitialize((params) => this.#initialize(params));
		connection.onInitialized(() => {
			for (const role of ROLES) {
				const settings = settingsOf(role, this.#settings);
				if (settings && this.#engine.wantsModelOf(this, role)) void this.#loadConfigured(role, settings);
			}
		});
		connection.onDidChangeConfiguration(({ settings }) => this.#configure(settings));
		connection.languages.inlineCompletion.on((params, token) => this.#inlineCompletion(params, token));
		connection.onRequest(StatusRequest.method, () => this.#forClient(this.#engine.status()));
		connection.onRequest(UnloadModelRequest.method, () => this.#engine.unload());
		this.#onRequest(LoadModelRequest, ({ path, role = 'chat', memoryLimit, settings }) =>
			this.#loadAsked(role, path, readSettings(settings, this.#settings), memoryLimit),
		);
		this.#onRequest(ListModelsRequest, (params, token) =>
			this.#answered(() => this.#cancellable(token, (signal) => this.#listModels(params, signal))),
		);
		this.#onRequest(DownloadSizeRequest, ({ id, network }, token) =>
			this.#downloading(async () => ({
				fileBytes: await this.#cancellable(token, (signal) => sizeOf(catalogueEntry(id), network ?? {}, signal)),
			})),
		);
		this.#onRequest(StartDownloadRequest, ({ id, folder, network }) =>
			this.#downloading(async () =>
				this.#engine.downloads.start(catalogueEntry(id), folder ?? downloadFolder(), network ?? {}),
			),
		);
		this.#onRequest(StopDownloadRequest, ({ id, folder, discard }) =>
			this.#downloading(() => this.#engine.downloads.stop(catalogueEntry(id), folder ?? downloadFolder(), discard)),
		);
		this.#onRequest(ConvertModelRequest, (params, token) => this.#convert(params, token));
		this.#onRequest(ChatRequest, (params, token) => this.#answer(params, token));
		this.#onRequest(ForgetChatRequest, async ({ conversationId }) => {
			for (const { model } of Object.values(this.#engine.hosts)) model?.chat.forget(conversationId);
		});
		this.#onRequest(SelfTestRequest, (params, token) => this.#selfTest(params, token));
		this.#onRequest(BenchmarkRequest, (params, token) => this.#benchmark(params, token));
	}

	/** By name: the server library has its own copy of vscode-jsonrpc, whose types are not the protocol's. */
	#onRequest<P, R>(type: RequestType<P, R, void>, handler: (params: P, token: CancellationToken) => Promise<R>): void {
		this.#connection.onRequest<unknown, void>(type.method, handler);
	}

	#initialize(params: InitializeParams): InitializeResult {
		this.#settings = readSettings(params.initializationOptions?.settings, this.#settings);
		this.#engine.idleMinutes = this.#settings.unloadAfterMinutes;
		this.#folders = params.workspaceFolders ?? [];
		this.#canShowProgress = params.capabilities.window?.workDoneProgress === true;
		return {
			capabilities: {
				textDocumentSync: { openClose: true, change: TextDocumentSyncKind.Incremental },
				inlineCompletionProvider: {},
				workspace: { workspaceFolders: { supported: true } },
			},
			serverInfo: { name: 'hearth', version: VERSION },
		};
	}

	#configure(given: unknown): void {
		const hearth = (given as { hearth?: unknown } | null | undefined)?.hearth;
		const before = this.#settings;
		this.#settings = readSettings(hearth, before);
		this.#engine.idleMinutes = this.#settings.unloadAfterMinutes;
		for (const role of ROLES) {
			const [old, settings] = [settingsOf(role, before), settingsOf(role, this.#settings)];
			// Only a change of this client's own settings replaces the model that others may have chosen.
			if ((old && ModelHost.key(old)) === (settings && ModelHost.key(settings))) continue;
			if (settings) {
				void this.#loadConfigured(role, settings);
			} else {
				this.#loadErrors.delete(role);
				// Nor does it take away one that was never this client's.
				const host = this.#engine.hosts[role];
				if (host.hasNoneBut(old!)) host.unload().catch((error) => log(`unloading: ${describe(error)}`));
			}
		}
	}

	/** Loads the model that the settings have for a role. Failures reach the client by status. */
	async #loadConfigured(role: ModelRole, settings: EngineSettings): Promise<void> {
		try {
			await this.#load(role, settings);
		} catch (error) {
			const { message, data } = error as ResponseError<MemoryShortage | undefined>;
			this.#loadErrors.set(role, { message, ...(data && { shortage: data }) });
		}
		this.#engine.changed();
	}

	/** Loads a model that the client asked for by its path. */
	async #loadAsked(
		role: ModelRole,
		path: string,
		settings: EngineSettings,
		memoryLimit?: MemoryLimit,
	): Promise<ModelSummary> {
		const chosen = settingsOf(role, { ...settings, [role === 'chat' ? 'modelPath' : 'completionModelPath']: path });
		if (chosen) return this.#load(role, chosen, memoryLimit);
		// The one that chats is to complete as well.
		await this.#engine.hosts[role].unload();
		return this.#loadAsked('chat', path, settings, memoryLimit);
	}

	async #load(role: ModelRole, settings: EngineSettings, memoryLimit?: MemoryLimit): Promise<ModelSummary> {
		const loading = this.#engine.hosts[role].load(settings, memoryLimit);
		void this.#showProgress(loading);
		try {
			const { summary } = await loading;
			this.#loadErrors.delete(role);
			return summary;
		} catch (error) {
			if (error instanceof NotEnoughMemoryError) {
				throw new ResponseError(ErrorCode.notEnoughMemory, messageOf(error), error.shortage);
			}
			throw new ResponseError(ErrorCode.modelLoadFailed, messageOf(error));
		}
	}

	#listModels(params: ListModelsParams, signal: AbortSignal): Promise<ModelList> {
		const { finder, heldBytes } = this.#engine;
		const memory = machineMemory();
		return listModels(finder, params, {
			settings: this.#settings,
			memory: { ...memory, availableBytes: memory.availableBytes + heldBytes },
			signal,
		});
	}

	/** Runs a request about downloads and gives its errors their code. */
	async #downloading<T>(work: () => Promise<T>): Promise<T> {
		try {
			return await work();
		} catch (error) {
			throw new ResponseError(ErrorCode.downloadFailed, messageOf(error));
		}
	}

	/** Shows progress at the client while something goes on, without making it wait for the client. */
	async #showProgress(work: Promise<unknown>): Promise<void> {
		if (!this.#canShowProgress) return;
		try {
			const progress = await this.#connection.window.createWorkDoneProgress();
			progress.begin('Hearth: loading the model');
			await work.catch(() => {});
			progress.done();
		} catch (error) {
			if (!this.#gone.signal.aborted) log(`progress: ${describe(error)}`);
		}
	}

	async #inlineCompletion(
		params: InlineCompletionParams & WithFormatting,
		token: CancellationToken,
	): Promise<InlineCompletionItem[]> {
		// Without a model there is nothing to say; that one could not be loaded again, the status tells.
		const model = await this.#engine.modelFor('completion').catch(() => undefined);
		const document = this.#documents.get(params.textDocument.uri);
		if (!document || !model) return [];
		const { triggerKind, selectedCompletionInfo: selected } = params.context;
		const text = document.getText();
		const offsetAt = (position: Position) => characterAt(text, document.offsetAt(position));
		const cursor = offsetAt(params.position);
		// With a suggestion selected in the editor's own list, the text is completed as if that were accepted.
		const start = selected ? offsetAt(selected.range.start) : cursor;
		const end = selected ? Math.max(cursor, offsetAt(selected.range.end)) : cursor;
		const inserted = selected?.text ?? '';
		const formatting = readFormatting(params.formattingOptions);

		const result = await this.#engine.run('completion', () =>
			this.#cancellable(token, (signal) =>
				this.#completerOf(model).complete({
					document: document.uri,
					label: documentLabel(document.uri, this.#folders),
					languageId: document.languageId,
					related: this.#relatedTo(document, model, params.position.line),
					before: text.slice(0, start) + inserted,
					after: text.slice(end),
					invoked: triggerKind === InlineCompletionTriggerKind.Invoked,
					settings: this.#settings.completion,
					...(formatting && { formatting }),
					signal,
				}),
			),
		);
		this.#report(result);
		if (result.outcome !== 'shown') return [];
		return [
			{
				insertText: inserted + result.edit.text,
				range: { start: document.positionAt(start), end: document.positionAt(end + result.edit.replace) },
			},
		];
	}

	#relatedTo({ uri }: TextDocument, { family }: LoadedModel, line: number): readonly RelatedFile[] {
		const { relatedTokens } = this.#settings.completion;
		if (!family.completion.takesRelated || relatedTokens === 0) return [];
		const others = () =>
			this.#documents
				.all()
				.filter((other) => other.uri !== uri)
				.map((other) => ({
					document: other.uri,
					label: documentLabel(other.uri, this.#folders),
					text: other.getText(),
				}));
		return this.#related.around({ document: uri, line }, others, relatedTokens);
	}

	#completerOf(model: LoadedModel): Completer {
		if (this.#completer?.model !== model) {
			this.#completer?.completer.dispose();
			this.#completer = { model, completer: new Completer(model, model.tokenIndex) };
		}
		return this.#completer.completer;
	}

	#report(result: CompletionResult): void {
		if (result.outcome === 'failed') log(`completion failed: ${result.reason}`);
		this.#lastCompletion = result.report;
		this.#engine.changed();
	}

	#answer(params: ChatParams, token: CancellationToken): Promise<ChatResult> {
		const { partialResultToken } = params;
		return this.#answered(async () => {
			const { chat } = await this.#engine.modelFor('chat');
			return this.#engine.run('chat', () =>
				this.#cancellable(token, (signal) =>
					chat.answer(params, {
						settings: this.#settings.chat,
						signal,
						onDelta: (delta) => {
							if (partialResultToken === undefined) return;
							void this.#tell(() => this.#connection.sendProgress(ChatProgress, partialResultToken, delta));
						},
					}),
				),
			);
		});
	}

	#benchmark(params: BenchmarkParams, token: CancellationToken): Promise<BenchmarkReport> {
		const { workDoneToken, ...given } = params;
		return this.#longWork('benchmark', workDoneToken, token, (signal, report) =>
			this.#engine.benchmark(readBenchmarkOptions(given), signal, (fraction, test) =>
				report({ percentage: Math.round(fraction * 100), message: test }),
			),
		);
	}

	#selfTest({ quick, workDoneToken }: SelfTestParams, token: CancellationToken): Promise<SelfTestResult> {
		return this.#longWork('self-test', workDoneToken, token, (signal, report) =>
			this.#engine.selfTest(quick === true, signal, (what, done) => report({ message: `${done} checks, ${what}` })),
		);
	}

	/** Work of seconds to minutes that reports its progress and can be cancelled. */
	#longWork<T>(
		name: string,
		workDoneToken: string | number | undefined,
		token: CancellationToken,
		work: (signal: AbortSignal, report: (progress: Omit<WorkDoneProgressReport, 'kind'>) => void) => Promise<T>,
	): Promise<T> {
		const report = (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => {
			if (workDoneToken === undefined) return;
			void this.#tell(() => this.#connection.sendProgress(WorkDoneProgress.type, workDoneToken, value));
		};
		return this.#answered(() =>
			this.#cancellable(token, async (signal) => {
				report({ kind: 'begin', title: `Hearth: ${name}`, cancellable: true, percentage: 0 });
				try {
					return await work(signal, (progress) => report({ kind: 'report', ...progress }));
				} catch (error) {
					if (signal.aborted) throw new ResponseError(LSPErrorCodes.RequestCancelled, `the ${name} was cancelled`);
					throw error;
				} finally {
					report({ kind: 'end' });
				}
			}),
		);
	}

	#convert({ path, workDoneToken }: ConvertModelParams, token: CancellationToken): Promise<ConvertModelResult> {
		const report = (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => {
			if (workDoneToken === undefined) return;
			void this.#tell(() => this.#connection.sendProgress(WorkDoneProgress.type, workDoneToken, value));
		};
		return this.#cancellable(token, async (signal) => {
			report({ kind: 'begin', title: 'Hearth: converting the model', cancellable: true, percentage: 0 });
			let shown = 0;
			const onProgress = ({ writtenBytes, totalBytes }: WriteProgress) => {
				const percentage = Math.floor((100 * writtenBytes) / totalBytes);
				if (percentage === shown) return;
				shown = percentage;
				report({ kind: 'report', percentage });
			};
			try {
				return await convertApart(path, { signal, onProgress });
			} catch (error) {
				if (signal.aborted) throw new ResponseError(LSPErrorCodes.RequestCancelled, 'the conversion was cancelled');
				throw new ResponseError(ErrorCode.modelLoadFailed, messageOf(error));
			} finally {
				report({ kind: 'end' });
			}
		});
	}

	/** Runs a request's work and gives its errors the protocol's codes. */
	async #answered<T>(work: () => Promise<T>): Promise<T> {
		try {
			return await work();
		} catch (error) {
			if (error instanceof ResponseError) throw error;
			const code = errorCode(error);
			if (code === ErrorCode.engineFailed) log(`request failed: ${describe(error)}`);
			throw new ResponseError(code, messageOf(error));
		}
	}

	/**
	 * Runs work with a signal that is aborted when the client cancels the request or is gone. Nothing of it outlives the work:
	 * a session lasts for days.
	 */
	async #cancellable<T>(token: CancellationToken, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
		const controller = new AbortController();
		const abort = () => controller.abort();
		if (token.isCancellationRequested || this.#gone.signal.aborted) abort();
		const subscription = token.onCancellationRequested(abort);
		this.#gone.signal.addEventListener('abort', abort);
		try {
			return await work(controller.signal);
		} finally {
			subscription.dispose();
			this.#gone.signal.removeEventListener('abort', abort);
		}
	}

	#forClient(status: EngineStatus): EngineStatus {
		const failed = status.state === 'loading' ? undefined : [...this.#loadErrors.values()][0];
		return {
			...(failed && { error: failed.message }),
			...status,
			...(failed?.shortage && { shortage: failed.shortage }),
			...(this.#lastCompletion && { lastCompletion: this.#lastCompletion }),
		};
	}
}

function errorCode(error: unknown): number {
	if (error instanceof NoModelError) return ErrorCode.noModel;
	if (error instanceof ContextOverflowError) return ErrorCode.contextOverflow;
	if (error instanceof OverloadedError) return ErrorCode.overloaded;
	return ErrorCode.engineFailed;
}

/** What the protocol layer reports is for our log, not for a message box at the client. */
function logProtocolError(message: string): void {
	log(`protocol: ${message}`);
}
