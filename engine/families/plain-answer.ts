// Reads answers of families without channels. All text is the answer, except for the reasoning that some models write
// between two tokens (`<think>` and `</think>` in DeepSeek-R1 and Qwen 3).
import { StreamDecoder } from '../tokenizer/stream-decoder';
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { AnswerEvent, AnswerParser } from './family';

export class PlainAnswerParser implements AnswerParser {
	readonly complete = false;
	readonly #tokenizer: Tokenizer;
	readonly #decoder: StreamDecoder;
	readonly #opens: number | undefined;
	readonly #closes: number | undefined;
	#reasoning: boolean;
	/**
	 * Whether the current text has begun. White space before it is dropped, since it belongs to neither reasoning nor
	 * answer.
	 */
	#begun = false;

	/** @param prompt the prompt that the model answers. Some templates end it with the token that opens the reasoning. */
	constructor(tokenizer: Tokenizer, prompt: Int32Array) {
		this.#tokenizer = tokenizer;
		this.#decoder = new StreamDecoder(tokenizer.vocabulary);
		this.#opens = tokenizer.vocabulary.findToken('<think>');
		this.#closes = tokenizer.vocabulary.findToken('</think>');
		this.#reasoning = this.#opens !== undefined && endsWithMark(prompt, this.#opens, tokenizer);
	}

	push(token: number): AnswerEvent[] {
		if (token === this.#opens || token === this.#closes) {
			const rest = this.finish();
			this.#reasoning = token === this.#opens;
			this.#begun = false;
			return rest;
		}
		return this.#tokenizer.vocabulary.isSpecial(token) ? [] : this.#event(this.#decoder.push(token));
	}

	finish(): AnswerEvent[] {
		return this.#event(this.#decoder.end());
	}

	#event(text: string): AnswerEvent[] {
		const shown = this.#begun ? text : text.trimStart();
		if (shown === '') return [];
		this.#begun = true;
		return [{ kind: 'text', channel: this.#reasoning ? 'analysis' : 'final', text: shown }];
	}
}

/**
 * Whether only white space follows the last mark in the prompt. A mark with other text behind it belongs to an earlier
 * message.
 */
function endsWithMark(prompt: Int32Array, mark: number, tokenizer: Tokenizer): boolean {
	const at = prompt.lastIndexOf(mark);
	if (at < 0) return false;
	const after = prompt.subarray(at + 1);
	return (
		!after.some((id) => tokenizer.vocabulary.isSpecial(id)) &&
		new TextDecoder().decode(tokenizer.decode(after)).trim() === ''
	);
}
