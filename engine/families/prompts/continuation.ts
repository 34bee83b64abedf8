// The prompt of an inline completion for models that know nothing but to write on: the text before the cursor. They never see what
// follows it; the filters take back what they repeat of it.

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

	/** @param begin the token that texts begin with, so that no prompt is empty: BOS, or what separates texts in training. */
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
