// Which family a model file belongs to, from its vocabulary and metadata.
import type { GgufHeader } from '../../native/index';
import { ContinuationCompletion } from '../completion/continuation-prompt';
import { FillCompletion } from '../completion/fill-prompt';
import { HarmonyCompletion } from '../completion/harmony-prompt';
import { optionalNumber, optionalString } from '../gguf/metadata';
import { Harmony } from '../harmony/harmony';
import { messageOf } from '../quote';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { nativeChatFormat, PLAIN_SAMPLING } from './chat-markup';
import type { ChatFormat, CompletionFormat, ModelFamily } from './family';
import { templateChatFormat } from './jinja-template';
import { endOfGeneration, fillTokens } from './special-tokens';

/** Special tokens that every Harmony message needs: no other family has all of them. */
const HARMONY_NAMES = ['<|start|>', '<|message|>', '<|channel|>', '<|end|>', '<|return|>'];

/** @throws where the metadata contradicts the vocabulary. */
export function familyOf(header: GgufHeader, tokenizer: Tokenizer): ModelFamily {
	const endOfText = endOfGeneration(header, tokenizer);
	if (HARMONY_NAMES.every((name) => tokenizer.findSpecial(name) !== undefined)) {
		const harmony = new Harmony(tokenizer);
		// Plain text also ends where the model would begin another message.
		const ends = new Set([...harmony.stopIds, harmony.tokens.end, harmony.tokens.start]);
		return { chat: harmony, completion: new HarmonyCompletion(harmony), endOfText: ends };
	}
	return {
		chat: chatFormat(header, tokenizer, endOfText),
		completion: completionFormat(header, tokenizer, endOfText),
		endOfText,
	};
}

/** How a model is chatted with, in words: the format and why it is that one, or why there is none. */
export function chatText({ chat }: ModelFamily): string {
	if ('unavailable' in chat) return `not possible: ${chat.unavailable}`;
	return chat.note === undefined ? chat.name : `${chat.name}, ${chat.note}`;
}

function chatFormat(header: GgufHeader, tokenizer: Tokenizer, stopIds: ReadonlySet<number>): ModelFamily['chat'] {
	const template = optionalString(header, 'tokenizer.chat_template');
	let problem = 'its file brings no chat template';
	let note = problem;
	if (template !== undefined) {
		try {
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
	const fill = fillTokens(header, tokenizer);
	if (fill) return new FillCompletion(tokenizer, fill);
	const begin = tokenizer.bosId ?? tokenizer.findSpecial('<|endoftext|>') ?? [...endOfText][0];
	if (begin === undefined)
		throw new Error('tokenizer.ggml.eos_token_id is missing, and no token is known to end a text');
	return new ContinuationCompletion(tokenizer, begin);
}

/** What newer files recommend in `general.sampling`. */
function sampling(header: GgufHeader): ChatFormat['sampling'] {
	return {
		temperature: optionalNumber(header, 'general.sampling.temp') ?? PLAIN_SAMPLING.temperature,
		topP: optionalNumber(header, 'general.sampling.top_p') ?? PLAIN_SAMPLING.topP,
	};
}

/** Empty where the file names no token. */
function tokenName(header: GgufHeader, tokenizer: Tokenizer, kind: 'bos' | 'eos'): string {
	const id = optionalNumber(header, `tokenizer.ggml.${kind}_token_id`);
	if (id === undefined || !(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabularySize)) return '';
	return new TextDecoder().decode(tokenizer.tokenBytes(id));
}
