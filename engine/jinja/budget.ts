// What one rendering of an untrusted template may cost. Every operation is charged before it is done, by what it is about to read or
// make, so that no template can take the process's time or memory: the same template costs the same everywhere.

import type { Disguise } from './disguise';

/** A template's own fault: what Jinja2 raises where it parses or renders it. The message has one line. */
export class TemplateError extends Error {
	override name = 'TemplateError';

	constructor(message: string) {
		super(message.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, 300));
	}
}

/** Nested expressions, blocks and calls; Python's own limit of recursion is of the same order. */
const MAX_DEPTH = 1000;
/** Characters of the longest string. A join of two costs less than reading it, so it is limited on its own. */
const MAX_STRING = 2 ** 24;
/** Characters read or written at the price of one unit. */
const CHARACTERS_A_UNIT = 8;
/** For each character that `change` looks at. */
const UNITS_A_CHANGE = 4;
/** Texts that are remembered as they read, from this many characters on. */
const LONG = 256;
const MAX_SEEN = 16;

/** What is charged before others may have their turn: some 5 ms. */
const STEP = 100_000;
/** What a step may take at most where it cannot be ended, as an expression and a macro cannot. */
const MOST_A_STEP = 1_000_000;
const MOST_OF_TEXTS = 3_000_000;

export class Budget {
	#left: number;
	/** The step under way has to end before less is left. */
	#floor = 0;
	#softFloor = 0;
	#depth = 0;

	readonly #disguise: Disguise | undefined;
	readonly #unitsOfTexts: number;
	/** Long texts that were read of late: templates look at the same one several times. */
	readonly #seen = new Map<string, string>();

	/**
	 * @param units some 30 ns each.
	 * @param disguise what message texts wear.
	 * @param unitsOfTexts what each step may take more, for long texts.
	 */
	constructor(units: number, disguise?: Disguise, unitsOfTexts = 0) {
		this.#left = units;
		this.#disguise = disguise;
		this.#unitsOfTexts = unitsOfTexts;
		this.beginStep();
	}

	/** Whether it is the others' turn. */
	get stepEnds(): boolean {
		return this.#left < this.#softFloor;
	}

	beginStep(): void {
		this.#softFloor = this.#left - STEP;
		this.#floor = Math.max(0, this.#left - MOST_A_STEP - Math.min(this.#unitsOfTexts, MOST_OF_TEXTS));
	}

	/** @throws TemplateError where nothing is left, in all or of this step. */
	charge(units: number): void {
		this.#left -= units;
		if (!(this.#left >= this.#floor)) throw new TemplateError('it takes too long');
	}

	/** For reading or making a text of this many characters. */
	text(length: number): void {
		if (!(length <= MAX_STRING)) throw new TemplateError('it takes too much memory');
		this.charge(1 + length / CHARACTERS_A_UNIT);
	}

	/** A text as a template is to see it, as long as it is; charged for. What is written has to be the text itself. */
	read(text: string): string {
		this.text(text.length);
		if (!this.#disguise) return text;
		const seen = text.length < LONG ? this.#disguise.reveal(text) : this.#longSeen(text, this.#disguise);
		if (seen !== text) this.text(text.length);
		return seen;
	}

	#longSeen(text: string, disguise: Disguise): string {
		const known = this.#seen.get(text);
		if (known !== undefined) return known;
		const seen = disguise.reveal(text);
		if (this.#seen.size >= MAX_SEEN) this.#seen.clear();
		this.#seen.set(text, seen);
		return seen;
	}

	/**
	 * Changes a text character by character, e.g. to capitals.
	 * @param pattern a global one, of the characters that may change; absent: all may.
	 */
	change(text: string, change: (char: string) => string, pattern?: RegExp): string {
		const seen = this.read(text);
		this.text(text.length);
		let result = '';
		let end = 0;
		const visit = (char: string, at: number) => {
			this.charge(UNITS_A_CHANGE);
			const changed = change(char);
			if (changed === char) return;
			const from = text.slice(at, at + char.length);
			result += text.slice(end, at) + (this.#disguise && from !== char ? this.#disguise.hide(changed) : changed);
			end = at + char.length;
		};
		if (pattern) for (const { index, 0: char } of seen.matchAll(pattern)) visit(char, index);
		else {
			let at = 0;
			for (const char of seen) {
				visit(char, at);
				at += char.length;
			}
		}
		return end === 0 ? text : result + text.slice(end);
	}

	/** Makes a text of another one as a whole; all of what comes of a disguised one is disguised. */
	rewrite(text: string, work: (seen: string) => string): string {
		const seen = this.read(text);
		const result = work(seen);
		return this.#disguise && seen !== text ? this.#disguise.hide(result) : result;
	}

	/** For reading or making a list of this many items. */
	items(count: number): void {
		this.charge(2 + 2 * count);
	}

	/** Runs something that nests. */
	nested<T>(work: () => T): T {
		this.charge(20);
		this.enter();
		const result = work();
		this.leave();
		return result;
	}

	enter(): void {
		if (++this.#depth > MAX_DEPTH) throw new TemplateError('it nests too deeply');
	}

	leave(): void {
		this.#depth--;
	}
}
