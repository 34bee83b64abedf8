// What one rendering of an untrusted template may cost. Every operation is charged before it is done, by how much it
// will read or make. So no template can use up the process's time or memory, and the same template costs the same on
// every machine.

import type { Disguise } from './disguise';

/** An error of the template: what Jinja2 raises while it parses or renders. The message has one line. */
export class TemplateError extends Error {
	override name = 'TemplateError';

	constructor(message: string) {
		super(message.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, 300));
	}
}

/** How deep expressions, blocks and calls may nest. Python's own recursion limit is of the same order. */
const MAX_DEPTH = 1000;
/**
 * Characters of the longest string. Joining two strings costs less than reading them, so their length needs a limit of
 * its own.
 */
const MAX_STRING = 2 ** 24;
/** How many characters are read or written for one unit. */
const CHARACTERS_A_UNIT = 8;
/** Units for each character that `change` looks at. */
const UNITS_A_CHANGE = 4;
/** From this many characters on, a text that was read is remembered. */
const LONG = 256;
const MAX_SEEN = 16;

/** Units after which other work may run; about 5 ms. */
const STEP = 100_000;
/** The most units of a step. It may be unable to end earlier, within an expression or a macro. */
const MOST_A_STEP = 1_000_000;
const MOST_OF_TEXTS = 3_000_000;

export class Budget {
	#left: number;
	/** The step under way fails before fewer units than this are left. */
	#floor = 0;
	#softFloor = 0;
	#depth = 0;

	readonly #disguise: Disguise | undefined;
	readonly #unitsOfTexts: number;
	/** Long texts that were read lately, as `read` gave them. Templates read the same text several times. */
	readonly #seen = new Map<string, string>();

	/**
	 * @param units what the rendering may cost; a unit is about 30 ns.
	 * @param disguise the disguise of the messages' texts.
	 * @param unitsOfTexts the units that each step may take beyond a fixed number, for long texts.
	 */
	constructor(units: number, disguise?: Disguise, unitsOfTexts = 0) {
		this.#left = units;
		this.#disguise = disguise;
		this.#unitsOfTexts = unitsOfTexts;
		this.beginStep();
	}

	/** Whether enough units were charged for other work to run now. */
	get stepEnds(): boolean {
		return this.#left < this.#softFloor;
	}

	beginStep(): void {
		this.#softFloor = this.#left - STEP;
		this.#floor = Math.max(0, this.#left - MOST_A_STEP - Math.min(this.#unitsOfTexts, MOST_OF_TEXTS));
	}

	/** @throws TemplateError where fewer units are left, for the rendering or for this step. */
	charge(units: number): void {
		this.#left -= units;
		if (!(this.#left >= this.#floor)) throw new TemplateError('it takes too long');
	}

	/** Charges for reading or making a text of `length` characters. */
	text(length: number): void {
		if (!(length <= MAX_STRING)) throw new TemplateError('it takes too much memory');
		this.charge(1 + length / CHARACTERS_A_UNIT);
	}

	/**
	 * A text without its disguise, which a template looks at. Charges for reading the text. What a template writes has to
	 * be the text itself, not this one. Both have the same length.
	 */
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
	 * @param pattern a regular expression with the flag `g` for the characters that may change; undefined: all may
	 * change.
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

	/** Makes a new text from a whole text. If the text was disguised anywhere, all of the new one is disguised. */
	rewrite(text: string, work: (seen: string) => string): string {
		const seen = this.read(text);
		const result = work(seen);
		return this.#disguise && seen !== text ? this.#disguise.hide(result) : result;
	}

	/** Charges for reading or making a list of `count` items. */
	items(count: number): void {
		this.charge(2 + 2 * count);
	}

	/** Does work that is nested one level deeper. */
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
