// The parameters that each request and notification may have. They are checked at the edge, before anything sees them.
import {
	DidChangeConfigurationNotification,
	DidChangeTextDocumentNotification,
	DidChangeWorkspaceFoldersNotification,
	DidCloseTextDocumentNotification,
	DidOpenTextDocumentNotification,
	DidSaveTextDocumentNotification,
	InitializeRequest,
	InlineCompletionRequest,
	type ProgressToken,
	SetTraceNotification,
	type TextDocumentContentChangeEvent,
	WillSaveTextDocumentNotification,
	WillSaveTextDocumentWaitUntilRequest,
	WorkDoneProgressCancelNotification,
} from 'vscode-languageserver';
import { BENCHMARK_TESTS } from '../benchmark/options';
import {
	BenchmarkRequest,
	ChatRequest,
	ConvertModelRequest,
	DownloadSizeRequest,
	ForgetChatRequest,
	ListModelsRequest,
	LoadModelRequest,
	SelfTestRequest,
	StartDownloadRequest,
	StopDownloadRequest,
} from '../protocol';
import { SAMPLING } from '../runtime/request-check';
import {
	type Check,
	filePath,
	flag,
	list,
	listOrOne,
	object,
	oneOf,
	optional,
	optionalOrNull,
	restrict,
	type SameFields,
	type Schema,
	text,
	wholeNumber,
} from '../schema';
import { SETTINGS } from '../settings';

/** LSP's `uinteger`. */
const UNSIGNED = wholeNumber(0, 2 ** 31 - 1);
/** Names and identifiers. They are limited because the engine keeps them. */
const NAME = text({ max: 4096 });

const progressToken: Schema<ProgressToken> = {
	problem: (value, at) =>
		typeof value === 'string'
			? NAME.problem(value, at)
			: Number.isSafeInteger(value)
				? undefined
				: `${at} must be text or a whole number`,
};

const uri = text({ min: 1, max: 2 ** 16 });
const position = object({ line: UNSIGNED, character: UNSIGNED });
const range = object({ start: position, end: position });
const textDocument = object({ uri });
const version = wholeNumber(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
const contentChange = object({
	range: optional(range),
	rangeLength: optional(UNSIGNED),
	text: text(),
}) as unknown as Schema<TextDocumentContentChangeEvent>;
const workspaceFolder = object({ uri, name: text() });
const willSave = object({ textDocument, reason: oneOf([1, 2, 3]) });

/** Sizes of a benchmark. The benchmark checks at its start whether the loaded model's context holds them. */
const size = wholeNumber(0, 2 ** 24);
const sizes = listOrOne(size, list(size, { min: 1, max: 64 }));

const network = object({
	proxy: optional(NAME),
	proxyAuthorization: optional(NAME),
	noProxy: optional(list(NAME, { max: 4096 })),
	strictTls: optional(flag),
});
const download = object({
	id: NAME,
	folder: optional(filePath),
	network: optional(network),
});

const role = oneOf(['chat', 'completion']);
const tracing = oneOf(['off', 'messages', 'compact', 'verbose']);

const attached = optional(list(object({ label: NAME, languageId: optional(NAME), text: text() })));
const chat = restrict(
	object({
		conversationId: NAME,
		messages: list(object({ role: oneOf(['user', 'assistant']), content: text(), context: attached }), { min: 1 }),
		context: attached,
		reasoningEffort: optional(SETTINGS.chat.reasoningEffort),
		maxTokens: optional(SETTINGS.chat.maxTokens),
		temperature: optional(SAMPLING.temperature),
		seed: optional(SAMPLING.seed),
		partialResultToken: optional(progressToken),
	}),
	({ messages }) => (messages.at(-1)!.role === 'user' ? undefined : "the last of messages must be the user's"),
);

/** The schema of each method's parameters. Nothing reads the parameters of methods that are not in this table. */
const PARAMETERS: ReadonlyMap<string, Check> = new Map<string, Check>([
	// An editor says much more of itself, but the engine relies on these fields only.
	[
		InitializeRequest.method,
		object({
			capabilities: object({}),
			workspaceFolders: optionalOrNull(list(workspaceFolder)),
			trace: optionalOrNull(tracing),
		}),
	],
	on(SetTraceNotification.type, object({ value: tracing })),
	on({ method: '$/cancelRequest', _: undefined as [{ id: ProgressToken }] | undefined }, object({ id: progressToken })),
	on(WorkDoneProgressCancelNotification.type, object({ token: progressToken })),
	// Settings are read one by one. A wrong one leaves the value that held before.
	[DidChangeConfigurationNotification.method, object({})],
	on(
		DidChangeWorkspaceFoldersNotification.type,
		object({ event: object({ added: list(workspaceFolder), removed: list(workspaceFolder) }) }),
	),
	on(
		DidOpenTextDocumentNotification.type,
		object({ textDocument: object({ uri, languageId: NAME, version, text: text() }) }),
	),
	on(
		DidChangeTextDocumentNotification.type,
		object({ textDocument: object({ uri, version }), contentChanges: list(contentChange) }),
	),
	on(DidCloseTextDocumentNotification.type, object({ textDocument })),
	on(DidSaveTextDocumentNotification.type, object({ textDocument, text: optionalOrNull(text()) })),
	on(WillSaveTextDocumentNotification.type, willSave),
	on(WillSaveTextDocumentWaitUntilRequest.type, willSave),
	on(
		InlineCompletionRequest.type,
		object({
			textDocument,
			position,
			context: object({
				triggerKind: oneOf([1, 2]),
				selectedCompletionInfo: optionalOrNull(object({ range, text: text() })),
			}),
			workDoneToken: optionalOrNull(progressToken),
			partialResultToken: optionalOrNull(progressToken),
		}),
	),
	on(ChatRequest, chat),
	on(ForgetChatRequest, object({ conversationId: NAME })),
	on(
		LoadModelRequest,
		object({
			path: filePath,
			role: optional(role),
			memoryLimit: optional(oneOf(['available', 'machine', 'none'])),
			settings: optional(
				object({
					contextTokens: optional(SETTINGS.contextTokens),
					cacheType: optional(SETTINGS.cacheType),
					modelPath: optional(SETTINGS.modelPath),
					completionModelPath: optional(SETTINGS.completionModelPath),
					draftModelPath: optional(SETTINGS.draftModelPath),
				}),
			),
		}),
	),
	on(ConvertModelRequest, object({ path: filePath, workDoneToken: optional(NAME) })),
	on(ListModelsRequest, object({ folders: list(filePath, { max: 4096 }), downloadFolder: optional(filePath) })),
	on(DownloadSizeRequest, download),
	on(StartDownloadRequest, download),
	on(StopDownloadRequest, object({ id: NAME, discard: flag, folder: optional(filePath) })),
	on(SelfTestRequest, object({ quick: optional(flag), workDoneToken: optional(progressToken) })),
	on(
		BenchmarkRequest,
		object({
			tests: optional(listOrOne(oneOf(['quick', 'all']), list(oneOf(BENCHMARK_TESTS), { min: 1, max: 64 }))),
			prompt: optional(sizes),
			generate: optional(size),
			batch: optional(sizes),
			length: optional(wholeNumber(1, 2 ** 24)),
			depth: optional(sizes),
			repeat: optional(wholeNumber(1, 2 ** 16)),
			repack: optional(flag),
			workDoneToken: optional(progressToken),
		}),
	),
]);

/** Says in words why a message's parameters cannot be used. Undefined where they can be. */
export function parameterProblem(method: string, params: unknown): string | undefined {
	const schema = PARAMETERS.get(method);
	const problem = schema
		? schema.problem(params, '')
		: params === undefined || typeof params === 'object'
			? undefined
			: 'the parameters must be an object or a list';
	return problem === undefined ? undefined : `${method}: ${problem}`;
}

/** Binds a schema to the message whose parameters it describes. */
function on<P, S>(
	message: { readonly method: string; readonly _: readonly [P, ...unknown[]] | undefined },
	schema: Schema<S> & Schema<NoInfer<P>> & SameFields<S, NoInfer<P>>,
): [string, Check] {
	return [message.method, schema];
}
