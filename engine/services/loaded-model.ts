// A loaded model: what was opened, what is built on it, and what clients are told of it.
import type { DeviceId } from '../../native/index';
import { Chat } from '../chat/chat';
import { TokenPrefixIndex } from '../completion/token-healing';
import { chatText } from '../families/choose';
import { takesReasoningEffort } from '../families/effort';
import type { OpenedModel } from '../loading/open-model';
import { displayName } from '../models/display-name';

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

export interface LoadedModel extends OpenedModel {
	/** The conversations with it. */
	chat: Chat;
	/** Shared by the completers of all clients. */
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
		// It is made anew for each reader, because the backend may change while the model works.
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
