// Chooses the family of a model file by its vocabulary and metadata.
import type { GgufHeader } from '../../native/index';
import { specialIds } from '../gguf/special-ids';
import { messageOf } from '../quote';
import { SETTINGS } from '../settings';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { nativeChatFormat, PLAIN_SAMPLING } from './chat-markup';
import type { ChatFormat, CompletionFormat, ModelFamily } from './family';
import { HarmonyCompletion } from './harmony/completion';
import { Harmony } from './harmony/harmony';
import { templateChatFormat } from './jinja-template';
import { ContinuationCompletion } from './prompts/continuation';
import { FillCompletion } from './prompts/fill';
import { endOfGeneration, fillTokens } from './special-tokens';

/** The special tokens that every Harmony message needs. No other family has all of them. */
const HARMONY_NAMES = ['<|start|>', '<|message|>', '<|channel|>', '<|end|>', '<|return|>'];

/**
 * The family of a model. From then on, no text becomes one of the marks that the family writes between messages,
 * whatever type the file gives these tokens. It never throws. Metadata that cannot be used is ignored.
 */
export function familyOf(header: GgufHeader, tokenizer: Tokenizer): ModelFamily {
	const endOfText = endOfGeneration(header, tokenizer.vocabulary);
	if (HARMONY_NAMES.every((name) => tokenizer.vocabulary.findSpecial(name) !== undefined)) {
		const harmony = new Harmony(tokenizer);
		// Plain text ends with the model's turn, and also where the model would begin another message.
		const ends = new Set([...harmony.stopIds, harmony.tokens.end, harmony.tokens.start]);
		return { chat: harmony, completion: new HarmonyCompletion(harmony), endOfText: ends };
	}
	const chat = chatFormat(header, tokenizer, endOfText);
	if (!('unavailable' in chat)) reserveMarks(chat, tokenizer);
	return { chat, completion: completionFormat(header, tokenizer, endOfText), endOfText };
}

/** Reserves the tokens that a format writes by itself in a plain conversation, so that no text becomes one of them. */
function reserveMarks(chat: ChatFormat, tokenizer: Tokenizer): void {
	const turns = (['user', 'assistant', 'user'] as const).map((role) => ({ role, content: 'a' }));
	for (const reasoningEffort of SETTINGS.chat.reasoningEffort.choices) {
		try {
			tokenizer.vocabulary.reserve(
				chat.encode({ currentDate: '2026-01-01', reasoningEffort, instructions: 'a', turns }),
			);
		} catch {} // a template may fail for one effort only, and reports that when a prompt asks for that effort
	}
}

/** Describes a model's chat format for users: its name and why it was chosen, or why there is none. */
export function chatText({ chat }: ModelFamily): string {
	if ('unavailable' in chat) return `not possible: ${chat.unavailable}`;
	return chat.note === undefined ? chat.name : `${chat.name}, ${chat.note}`;
}

function chatFormat(header: GgufHeader, tokenizer: Tokenizer, stopIds: ReadonlySet<number>): ModelFamily['chat'] {
	const template = header.metadata.get('tokenizer.chat_template');
	let problem = 'its file brings no chat template';
	let note = problem;
	if (template !== undefined) {
		try {
			if (typeof template !== 'string') throw new Error('tokenizer.chat_template is no text');
			return templateChatFormat(template, tokenizer, {
				stopIds,
				bosToken: tokenName(header, tokenizer, 'bos'),
				eosToken: tokenName(header, tokenizer, 'eos'),
				sampling: sampling(header),
			});
		} catch (error) {
			problem = `the chat template in its file cannot be used: ${messageOf(error)}`;
			note = `instead of the chat template in its file, which cannot be used: ${messageOf(error)}`;
		}
	}
	const native = nativeChatFormat(tokenizer, stopIds);
	return native ? { ...native, note } : { unavailable: problem };
}

function completionFormat(header: GgufHeader, tokenizer: Tokenizer, endOfText: ReadonlySet<number>): CompletionFormat {
	const fill = fillTokens(header, tokenizer.vocabulary);
	if (fill) return new FillCompletion(tokenizer, fill);
	// If the vocabulary has no token that separates texts, a prompt begins with a line end.
	const begin =
		tokenizer.bosId ??
		tokenizer.vocabulary.findSpecial('<|endoftext|>') ??
		[...endOfText][0] ??
		tokenizer.encode('\n')[0]!;
	return new ContinuationCompletion(tokenizer, begin);
}

/** The recommended sampling. Newer files give it in `general.sampling`. */
function sampling(header: GgufHeader): ChatFormat['sampling'] {
	const within = (key: string, most: number, absent: number) => {
		const value = header.metadata.get(`general.sampling.${key}`);
		return typeof value === 'number' && value >= 0 && value <= most ? value : absent;
	};
	return {
		temperature: within('temp', 100, PLAIN_SAMPLING.temperature),
		topP: within('top_p', 1, PLAIN_SAMPLING.topP),
	};
}

/** The text of the BOS or EOS token. It is empty if the file names no such token. */
function tokenName(header: GgufHeader, tokenizer: Tokenizer, kind: 'bos' | 'eos'): string {
	const id = specialIds(header).ids.get(kind);
	return id === undefined ? '' : new TextDecoder().decode(tokenizer.vocabulary.tokenBytes(id));
}
