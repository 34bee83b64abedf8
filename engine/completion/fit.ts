// How well a suggestion fits between what stands before and after the cursor.

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

	/** At the beginning of the cursor's line; read once it is asked for. */
	get #line(): Nesting {
		this.#lineStart ??= Nesting.atLine(this.#window, this.#languageId);
		return this.#lineStart;
	}

	/** Whether what stands before the cursor is understood; else nothing can be said of what closes it. */
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

	/** The edit that inserts a suggestion: the one of those possible after which the file fits together best. */
	edit(suggestion: string): Edit {
		const { lineSuffix, lineSuffixIsCut } = this.#window;
		const covering = editFor(suggestion, lineSuffix, lineSuffixIsCut);
		if (covering.replace === 0 || lineSuffix.trim() === '') return covering;
		const inserting = { text: suggestion, replace: 0 };
		return this.#costOf(inserting) < this.#costOf(covering) ? inserting : covering;
	}

	/** What closes nothing or is not closed in the file with this suggestion; to be compared with that of another one. */
	cost(suggestion: string): number {
		return this.#costOf(this.edit(suggestion));
	}

	/** What closes nothing in the file with this suggestion. */
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

	/** Where a suggestion closes what it has not opened itself. */
	closers(suggestion: string): number[] {
		const at: number[] = [];
		this.#line.after(this.#window.linePrefix).after(suggestion, (index) => at.push(index));
		return at;
	}
}
