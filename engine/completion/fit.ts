// How well a suggestion fits between the texts before and after the cursor, judged by brackets, tags and strings.

import type { Window } from '../families/family';
import { type Edit, editFor } from './edit';
import { Nesting } from './nesting';
import { syntaxOf } from './syntax';

export class Fit {
	readonly #window: Window;
	readonly #languageId: string;
	#lineStart: Nesting | undefined;

	constructor(window: Window, languageId: string) {
		this.#window = window;
		this.#languageId = languageId;
	}

	/** What is open at the beginning of the cursor's line. The text above is read when this is first needed. */
	get #line(): Nesting {
		this.#lineStart ??= Nesting.atLine(this.#window, this.#languageId);
		return this.#lineStart;
	}

	/** Whether the brackets before the cursor match. Otherwise it is unknown what a closer in a suggestion closes. */
	get certain(): boolean {
		return !this.#isWithinTag && this.#line.after(this.#window.linePrefix).misfits === 0;
	}

	/** Whether a tag that began in a line above reaches into the cursor's. Tags are read from the beginning of the line only. */
	get #isWithinTag(): boolean {
		if (syntaxOf(this.#languageId).tags !== 'text') return false;
		const { prefix, linePrefix } = this.#window;
		const above = prefix.slice(0, prefix.length - linePrefix.length);
		const begin = above.lastIndexOf('<');
		return begin > above.lastIndexOf('>') && /[A-Za-z]/.test(above[begin + 1] ?? '');
	}

	/**
	 * The edit for a suggestion. It replaces the rest of the line or not, whichever leaves the file with the lower cost.
	 */
	edit(suggestion: string): Edit {
		const { lineSuffix, lineSuffixIsCut } = this.#window;
		const covering = editFor(suggestion, lineSuffix, lineSuffixIsCut);
		if (covering.replace === 0 || lineSuffix.trim() === '') return covering;
		const inserting = { text: suggestion, replace: 0 };
		return this.#costOf(inserting) < this.#costOf(covering) ? inserting : covering;
	}

	/**
	 * How many things close nothing or are not closed in the file with this suggestion. Only comparing two suggestions
	 * makes sense.
	 */
	cost(suggestion: string): number {
		return this.#costOf(this.edit(suggestion));
	}

	/** How many things close nothing in the file with this suggestion. */
	misfits(suggestion: string): number {
		return this.#with(this.edit(suggestion)).misfits;
	}

	#costOf(edit: Edit): number {
		return this.#with(edit).cost(!this.#window.suffixIsCut);
	}

	#with({ text, replace }: Edit): Nesting {
		const { linePrefix, lineSuffix, suffix } = this.#window;
		return this.#line.after(`${linePrefix}${text}${lineSuffix.slice(replace)}\n${suffix}`);
	}

	/** Places in a suggestion where it closes something that it has not opened itself. */
	closers(suggestion: string): number[] {
		const at: number[] = [];
		this.#line.after(this.#window.linePrefix).after(suggestion, (index) => at.push(index));
		return at;
	}
}
