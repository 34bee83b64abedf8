// One client of the engine in LSP: its connection, its documents, its settings, and which service answers which
// request.
import { setMaxListeners } from 'node:events';
import {
	type Connection,
	createConnection,
	type InitializeParams,
	type InitializeResult,
	type InlineCompletionItem,
	type InlineCompletionParams,
	InlineCompletionTriggerKind,
	ProposedFeatures,
	type ProtocolConnection,
	TextDocumentSyncKind,
	TextDocuments,
	type WorkspaceFolder,
} from 'vscode-languageserver';
import { createProtocolConnection } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { readBenchmarkOptions } from '../benchmark/options';
import type { ChatResult } from '../chat/messages';
import { convertApart } from '../convert/apart';
import type { WriteProgress } from '../gguf/writer';
import {
	BenchmarkRequest,
	type ChatParams,
	ChatProgress,
	ChatRequest,
	ConvertModelRequest,
	type ConvertModelResult,
	DownloadSizeRequest,
	type EngineStatus,
	ErrorCode,
	ForgetChatRequest,
	ListModelsRequest,
	LoadModelRequest,
	SelfTestRequest,
	StartDownloadRequest,
	StatusNotification,
	StatusRequest,
	StopDownloadRequest,
	UnloadModelRequest,
} from '../protocol';
import { CompletionService, type LocatedFile } from '../services/completion';
import { describe, log } from '../services/log';
import { ModelChoice } from '../services/model-choice';
import type { Services } from '../services/services';
import type { EngineSettings } from '../settings';
import { VERSION } from '../version';
import { ClientChannel } from './client-channel';
import { updateDocument } from './document-changes';
import { documentLabel, documentLocation } from './document-label';
import { readFormatting, type WithFormatting } from './formatting-options';
import { completedRange, completionItems } from './inline-completion';
import { type Report, Requests } from './requests';
import { readSettings } from './settings';

/** A client's connection. The client ends it with `exit`; `dispose` is for a transport that has gone. */
export class Session {
	readonly #services: Services;
	readonly #connection: Connection;
	readonly #protocol: ProtocolConnection;
	readonly #channel: ClientChannel;
	readonly #requests: Requests;
	readonly #documents = new TextDocuments({ create: TextDocument.create, update: updateDocument });
	readonly #gone = new AbortController();
	readonly #completion: CompletionService;
	readonly #choice: ModelChoice;
	#settings: EngineSettings;
	#folders: WorkspaceFolder[] = [];
	#canShowProgress = false;

	/**
	 * @param settings the settings that hold until the client sends its own.
	 * @param onExit is called when the client has said `exit`, or when its connection is of no more use. `clean` is true
	 * only for an `exit` after `shutdown`.
	 */
	constructor(
		services: Services,
		input: NodeJS.ReadableStream,
		output: NodeJS.WritableStream,
		settings: EngineSettings,
		onExit: (clean: boolean) => void,
	) {
		this.#services = services;
		this.#settings = settings;
		this.#completion = new CompletionService(services.models, services.activity);
		this.#choice = new ModelChoice(
			services.models,
			() => services.status.changed(),
			(loading) => void this.#showProgress(loading),
		);
		setMaxListeners(0, this.#gone.signal); // each request adds a listener
		this.#channel = new ClientChannel(
			input,
			output,
			() => this.notify(services.status.current),
			() => onExit(false),
		);
		let protocol: ProtocolConnection | undefined;
		// The library's own entry for Node ends the process with its client. This process may have other clients.
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
		this.#requests = new Requests(this.#connection, this.#gone.signal);
		this.#register();
		this.#documents.onDidClose(({ document }) => this.#completion.forget(document.uri));
		this.#documents.listen(this.#connection);
		this.#connection.listen();
	}

	/** Ends all requests of the client. */
	dispose(): void {
		if (this.#gone.signal.aborted) return;
		this.#gone.abort();
		this.#completion.dispose();
		this.#protocol.dispose();
	}

	/** Sends the status, unless the client has gone. A client that does not read gets it once it reads again. */
	notify(status: EngineStatus): void {
		if (this.#channel.congested) return;
		const send = () => this.#connection.sendNotification(StatusNotification.method, this.#forClient(status));
		void this.#requests.tell(send);
	}

	/** Registers which service answers which request. */
	#register(): void {
		const connection = this.#connection;
		const requests = this.#requests;
		const { models, downloads, chat, benchmark, selfTest, status } = this.#services;

		connection.onInitialize((params) => this.#initialize(params));
		connection.onInitialized(() => this.#choice.start(this.#settings, this.#services.mayReplaceModels(this)));
		connection.onDidChangeConfiguration(({ settings }) => this.#configure(settings));
		connection.languages.inlineCompletion.on((params, token) =>
			requests.cancellable(token, (signal) => this.#inlineCompletion(params, signal)),
		);

		connection.onRequest(StatusRequest.method, () => this.#forClient(status.current));
		connection.onRequest(UnloadModelRequest.method, () => models.unload());
		requests.on(
			LoadModelRequest,
			({ path, role = 'chat', memoryLimit, settings }) =>
				this.#choice.load(role, path, readSettings(settings, this.#settings), memoryLimit),
			ErrorCode.modelLoadFailed,
		);
		requests.on(ListModelsRequest, (params, signal) => models.list(params, this.#settings, signal));
		requests.on(
			DownloadSizeRequest,
			async (params, signal) => ({ fileBytes: await downloads.size(params, signal) }),
			ErrorCode.downloadFailed,
		);
		requests.on(StartDownloadRequest, (params) => downloads.start(params), ErrorCode.downloadFailed);
		requests.on(StopDownloadRequest, (params) => downloads.stop(params, params.discard), ErrorCode.downloadFailed);
		requests.onLong(
			ConvertModelRequest,
			{ title: 'converting the model', name: 'conversion' },
			({ path }, signal, report) => convert(path, signal, report),
			ErrorCode.modelLoadFailed,
		);
		requests.on(ChatRequest, (params, signal) => this.#chat(params, signal));
		requests.on(ForgetChatRequest, ({ conversationId }) => chat.forget(conversationId));
		requests.onLong(SelfTestRequest, { title: 'self-test', name: 'self-test' }, ({ quick }, signal, report) =>
			selfTest.run(quick === true, signal, (what, done) => report({ message: `${done} checks, ${what}` })),
		);
		requests.onLong(
			BenchmarkRequest,
			{ title: 'benchmark', name: 'benchmark' },
			({ workDoneToken: _token, ...choice }, signal, report) =>
				benchmark.run(readBenchmarkOptions(choice), signal, (fraction, test) =>
					report({ percentage: Math.round(fraction * 100), message: test }),
				),
		);
	}

	#initialize(params: InitializeParams): InitializeResult {
		this.#settings = readSettings(params.initializationOptions?.settings, this.#settings);
		this.#services.idle.minutes = this.#settings.unloadAfterMinutes;
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
		this.#services.idle.minutes = this.#settings.unloadAfterMinutes;
		this.#choice.change(before, this.#settings);
	}

	async #inlineCompletion(
		params: InlineCompletionParams & WithFormatting,
		signal: AbortSignal,
	): Promise<InlineCompletionItem[]> {
		const { uri } = params.textDocument;
		const document = this.#documents.get(uri);
		if (!document) return [];
		const location = documentLocation(uri, this.#folders);
		const range = completedRange(document, params);
		const formatting = readFormatting(params.formattingOptions);
		const result = await this.#completion.complete({
			document: uri,
			label: documentLabel(location),
			location,
			languageId: document.languageId,
			...{ before: range.before, after: range.after, line: params.position.line },
			otherFiles: () => this.#filesBeside(uri),
			invoked: params.context.triggerKind === InlineCompletionTriggerKind.Invoked,
			settings: this.#settings.completion,
			...(formatting && { formatting }),
			signal,
		});
		return completionItems(document, range, result);
	}

	#filesBeside(uri: string): LocatedFile[] {
		const others = this.#documents.all().filter((other) => other.uri !== uri);
		return others.map((other) => {
			const location = documentLocation(other.uri, this.#folders);
			return { document: other.uri, label: documentLabel(location), location, text: other.getText() };
		});
	}

	#chat(params: ChatParams, signal: AbortSignal): Promise<ChatResult> {
		const { partialResultToken } = params;
		return this.#services.chat.answer(params, {
			settings: this.#settings.chat,
			signal,
			onDelta: (delta) => {
				if (partialResultToken === undefined) return;
				void this.#requests.tell(() => this.#connection.sendProgress(ChatProgress, partialResultToken, delta));
			},
		});
	}

	/** Shows progress at the client while a model loads. The load does not wait for the client. */
	async #showProgress(loading: Promise<unknown>): Promise<void> {
		if (!this.#canShowProgress) return;
		try {
			const progress = await this.#connection.window.createWorkDoneProgress();
			progress.begin('Hearth: loading the model');
			await loading.catch(() => {});
			progress.done();
		} catch (error) {
			if (!this.#gone.signal.aborted) log(`progress: ${describe(error)}`);
		}
	}

	/** The status, with the fields that concern this client alone. */
	#forClient(status: EngineStatus): EngineStatus {
		const failed = status.state === 'loading' ? undefined : this.#choice.failure;
		const lastCompletion = this.#completion.lastReport;
		return {
			...(failed && { error: failed.error }),
			...status,
			...(failed?.shortage && { shortage: failed.shortage }),
			...(lastCompletion && { lastCompletion }),
		};
	}
}

function convert(path: string, signal: AbortSignal, report: Report): Promise<ConvertModelResult> {
	let shown = 0;
	const onProgress = ({ writtenBytes, totalBytes }: WriteProgress) => {
		const percentage = Math.floor((100 * writtenBytes) / totalBytes);
		if (percentage === shown) return;
		shown = percentage;
		report({ percentage });
	};
	return convertApart(path, { signal, onProgress });
}

/** Problems that the protocol layer reports go into the log, and not into a message box at the client. */
function logProtocolError(message: string): void {
	log(`protocol: ${message}`);
}
