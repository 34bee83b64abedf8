// The prompt of an inline completion for models that only continue a text. The prompt is the text before the cursor.
// The model does not see the text after the cursor, so the filters remove what it repeats of that text.

import type { Tokenizer } from '../../tokenizer/tokenizer';
import type { CompletionFile, CompletionFormat, CompletionPrompt, Window } from '../family';
import { PromptBuilder } from '../prompt-builder';
import { splitForHealing } from './healing';

export class ContinuationCompletion implements CompletionFormat {
	readonly #tokenizer: Tokenizer;
	readonly #begin: number;
	readonly name = 'continuation';
	readonly takesRelated = false;
	readonly shared: Int32Array;

	/**
	 * @param begin the token that texts begin with, so that no prompt is empty: BOS, or the token that separates texts in
	 * training.
	 */
	constructor(tokenizer: Tokenizer, begin: number) {
		this.#tokenizer = tokenizer;
		this.#begin = begin;
		this.shared = Int32Array.of(begin);
	}

	build(_file: CompletionFile, window: Window): CompletionPrompt {
		const { head, piece } = splitForHealing(window.prefix, this.#tokenizer);
		return { tokens: new PromptBuilder(this.#tokenizer).special(this.#begin).text(head).build(), healed: piece };
	}
}
