// A whole model without weights: a small real tokenizer, Harmony, and the engine over the toy native model. The toy
// writes what a script says.

import type { ModelFamily } from '../../../engine/families/family';
import { HarmonyCompletion } from '../../../engine/families/harmony/completion';
import { Harmony } from '../../../engine/families/harmony/harmony';
import type { OpenedModel } from '../../../engine/loading/open-model';
import { Engine, type EngineOptions } from '../../../engine/runtime/engine';
import { trainedVocabulary, vocabularyHeader } from '../../../engine/synth/vocabulary';
import { Tokenizer } from '../../../engine/tokenizer/tokenizer';
import { FakeModel, type FakeModelOptions } from './fake-native';

const CORPUS = `
function add(first, second) { return first + second; }
const result = items.map((item) => item.name).filter(Boolean);
if (value === undefined) { throw new Error('missing value'); }
    return result;
assistant user system developer analysis commentary final
def total(values): return sum(values)
`;

export const tokenizer = Tokenizer.fromGguf(vocabularyHeader(trainedVocabulary(CORPUS.repeat(4), 300)));
export const harmony = new Harmony(tokenizer);
const family: ModelFamily = {
	chat: harmony,
	completion: new HarmonyCompletion(harmony),
	endOfText: harmony.stopIds,
};

/**
 * Says what the model writes. It gets the whole text up to now, with the prompt and with special tokens by name, and
 * returns the continuation. Special tokens in the continuation are written by name, too.
 */
export type Script = (text: string) => string;

export interface FakeOpenedModel extends OpenedModel {
	native: FakeModel;
}

/** @param chat - another format than Harmony; it must have the same vocabulary */
export function fakeOpenedModel(
	script: Script,
	options: FakeModelOptions & EngineOptions = {},
	chat: ModelFamily['chat'] = harmony,
): FakeOpenedModel {
	const native = new FakeModel({
		...options,
		vocabularySize: tokenizer.vocabulary.size,
		blockTokens: 16,
		next: (tokens) => encodeWithSpecials(script(decodeText(tokens)))[0] ?? harmony.tokens.return,
	});
	const engine = new Engine(native, { contextTokens: 4096, cacheTokens: 16_384, ...options });
	return {
		...{ native, engine, tokenizer, family: { ...family, chat }, loadMilliseconds: 5, cpuFeatures: ['toy'] },
		weights: { expertBytes: 800, headBytes: 200 },
	};
}

/** The text of tokens, with special tokens by name. */
export function decodeText(tokens: ArrayLike<number>): string {
	return new TextDecoder('utf-8', { ignoreBOM: true }).decode(tokenizer.decode(tokens));
}

/**
 * Writes `target` into the answer that a prompt has opened and then ends the answer. It ends at once when the answer
 * has another text.
 */
export function completes(target: string): Script {
	return (text) => {
		const body = text.slice(text.lastIndexOf('<|message|>') + '<|message|>'.length);
		return target.startsWith(body) ? `${target.slice(body.length)}<|return|>` : '<|return|>';
	};
}

/** Answers every chat turn with `answer`, which includes channel headers. */
export function answers(answer: string): Script {
	return (text) => {
		const turn = text.lastIndexOf('<|start|>user');
		const start = text.indexOf('<|start|>assistant', turn) + '<|start|>assistant'.length;
		return answer.slice(text.length - start);
	};
}

/** The tokens of a text that has special tokens by name. */
export function encodeWithSpecials(text: string): number[] {
	return text
		.split(/(<\|[a-z]+\|>)/)
		.flatMap((part) =>
			/^<\|[a-z]+\|>$/.test(part) ? [tokenizer.vocabulary.specialId(part)] : [...tokenizer.encode(part)],
		);
}
