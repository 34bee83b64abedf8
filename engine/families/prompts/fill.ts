// The prompt of an inline completion for models that were trained to fill in the middle. The prompt has the text before
// the cursor, then the text after it, and the model writes the middle (Bavarian et al. 2022, arXiv 2207.14255, order
// prefix, suffix, middle). If the model knows repositories, parts of related files come first, in the format of
// Qwen2.5-Coder's report.

import type { Tokenizer } from '../../tokenizer/tokenizer';
import type { CompletionFile, CompletionFormat, CompletionPrompt, Window } from '../family';
import { PromptBuilder } from '../prompt-builder';
import type { FillTokens } from '../special-tokens';
import { splitForHealing } from './healing';

/**
 * Takes the place of the repository's name. The name would tell the model little, and with one name all windows share
 * cached prompts.
 */
const REPOSITORY = 'workspace';

export class FillCompletion implements CompletionFormat {
	readonly #tokenizer: Tokenizer;
	readonly #tokens: FillTokens;
	readonly name = 'fill-in-the-middle';
	readonly takesRelated: boolean;
	readonly shared: Int32Array;

	constructor(tokenizer: Tokenizer, tokens: FillTokens) {
		this.#tokenizer = tokenizer;
		this.#tokens = tokens;
		this.takesRelated = tokens.file !== undefined;
		this.shared = this.#begin().build();
	}

	build({ label, related }: CompletionFile, window: Window): CompletionPrompt {
		const { prefix, suffix, middle, repository, file } = this.#tokens;
		const { head, piece } = splitForHealing(window.prefix, this.#tokenizer);
		const builder = this.#begin();
		if (file !== undefined && related.length > 0) {
			if (repository !== undefined) builder.special(repository).text(`${REPOSITORY}\n`);
			for (const other of related) builder.special(file).text(`${other.label}\n${other.text}\n`);
			builder.special(file).text(`${label}\n`);
		}
		const after = window.suffix === '' ? window.lineSuffix : `${window.lineSuffix}\n${window.suffix}`;
		builder.special(prefix).text(head).special(suffix).text(after).special(middle);
		return { tokens: builder.build(), healed: piece };
	}

	#begin(): PromptBuilder {
		const builder = new PromptBuilder(this.#tokenizer);
		return this.#tokenizer.bosId === undefined ? builder : builder.special(this.#tokenizer.bosId);
	}
}
