// A loaded model: the opened file, what the engine builds on it, and the summary that clients get.
import type { DeviceId } from '../../native/index';
import { Chat } from '../chat/chat';
import { TokenPrefixIndex } from '../completion/token-healing';
import { chatText } from '../families/choose';
import { takesReasoningEffort } from '../families/effort';
import type { OpenedModel } from '../loading/open-model';
import { displayName } from '../models/display-name';

export interface ModelSummary {
	path: string;
	/** The name to show. It comes from the file's name where that name says something. */
	name: string;
	/** The name that the file's header gives, where it is another one than `name`. */
	ownName?: string;
	architecture: string;
	fileBytes: number;
	parameterCount: number;
	contextLength: number;
	backend: DeviceId;
	/** The GPU's name. Absent where the CPU computes. */
	device?: string;
	/** Why the CPU computes where a GPU was asked for or could be expected. */
	backendNote?: string;
	kernels: string;
	threads: number;
	loadMilliseconds: number;
	/** How the model is prompted in a chat, e.g. by its own template. Absent: the model cannot chat. */
	chatFormat?: string;
	/** Present where a reasoning effort changes the model's prompt. */
	takesReasoningEffort?: true;
	/**
	 * The chat format in words. The words say why the template in the model's file is not used, or why the model cannot
	 * chat.
	 */
	chatText: string;
	/** How a completion is prompted, e.g. fill-in-the-middle. */
	completionFormat: string;
	/** Name of the model that drafts for this one. */
	draft?: string;
	/** Why the draft model of the settings is not used. */
	draftProblem?: string;
}

export interface LoadedModel extends OpenedModel {
	/** The conversations with this model. */
	chat: Chat;
	/** An index of token prefixes, which the completers of all clients share. */
	tokenIndex: TokenPrefixIndex;
	summary: ModelSummary;
}

export function loadedModel(opened: OpenedModel): LoadedModel {
	const { chat } = opened.family;
	const effort = 'encode' in chat && takesReasoningEffort(chat);
	return {
		...opened,
		chat: new Chat(opened),
		tokenIndex: new TokenPrefixIndex(opened.tokenizer.vocabulary),
		// Each read makes a new summary, because the backend may change while the model works.
		get summary() {
			return summarize(opened, effort);
		},
	};
}

function summarize(
	{ engine, family, loadMilliseconds, draft, draftProblem }: OpenedModel,
	effort: boolean,
): ModelSummary {
	const { info } = engine;
	const name = displayName(info.path, info.name);
	return {
		path: info.path,
		name,
		...(info.name !== '' && info.name !== name && { ownName: info.name }),
		architecture: info.architecture,
		fileBytes: info.fileBytes,
		parameterCount: info.parameterCount,
		contextLength: engine.contextTokens,
		backend: info.backend,
		...(info.device !== undefined && { device: info.device }),
		...(info.backendNote !== undefined && { backendNote: info.backendNote }),
		kernels: info.kernels,
		threads: info.threads,
		loadMilliseconds,
		...('name' in family.chat && { chatFormat: family.chat.name }),
		...(effort && { takesReasoningEffort: true }),
		chatText: chatText(family),
		completionFormat: family.completion.name,
		...(draft !== undefined && { draft }),
		...(draftProblem !== undefined && { draftProblem }),
	};
}
