// Message texts wear a disguise while a template works on them: each character that occurs in some special token's name is replaced
// by a stand-in from Unicode's private use area. The interpreter sees through it wherever it looks at a text and keeps it wherever
// it writes one, so a rendered text tells what came from the messages, however the template cut or changed it: what wears a
// disguise is never part of a special token.

const AREA = { from: 0xe000, to: 0xf900 } as const;
const STAND_IN = /[\ue000-\uf8ff]/;
/** As many arguments as a call of JavaScript's takes without care. */
const CHUNK = 8192;

export class Disguise {
	/** By UTF-16 unit; 0: it stays itself. */
	readonly #standIns = new Uint16Array(0x10000);
	readonly #units: Uint16Array;
	readonly #first: number;

	/**
	 * @param hidden texts whose characters are replaced, e.g. names of special tokens.
	 * @param taken texts that must not be mistaken for disguised ones.
	 * @returns undefined where the texts use so much of the private use area that no room is left.
	 */
	static of(hidden: Iterable<string>, taken: Iterable<string>): Disguise | undefined {
		const units = new Set<number>();
		for (const text of hidden) for (let i = 0; i < text.length; i++) units.add(text.charCodeAt(i));
		const used = new Set<number>();
		for (const text of taken) {
			if (!STAND_IN.test(text)) continue;
			for (let i = 0; i < text.length; i++) used.add(text.charCodeAt(i));
		}
		// The characters of the area may be part of names, too.
		const free = (first: number) => {
			for (let unit = first; unit < first + units.size; unit++) if (used.has(unit) || units.has(unit)) return false;
			return true;
		};
		for (let first: number = AREA.from; first + units.size <= AREA.to; first++) {
			if (free(first)) return new Disguise(Uint16Array.from(units), first);
		}
		return undefined;
	}

	private constructor(units: Uint16Array, first: number) {
		this.#units = units;
		this.#first = first;
		for (const [i, unit] of units.entries()) this.#standIns[unit] = first + i;
	}

	/** A text with its characters replaced; as long as before. */
	hide(text: string): string {
		return mapped(text, (unit) => this.#standIns[unit] || unit);
	}

	/** The text behind the disguise; as long as before. */
	reveal(text: string): string {
		if (!STAND_IN.test(text)) return text;
		return mapped(text, (unit) => this.#units[unit - this.#first] ?? unit);
	}

	/** Changes a text character by character, e.g. to capitals; what comes of a disguised one is disguised. */
	change(text: string, change: (char: string) => string): string {
		let result = '';
		const seen = this.reveal(text);
		let at = 0;
		for (const char of seen) {
			const hidden = text.startsWith(char, at) ? undefined : char;
			result += hidden === undefined ? change(char) : this.hide(change(char));
			at += char.length;
		}
		return result;
	}
}

function mapped(text: string, map: (unit: number) => number): string {
	const units = new Uint16Array(text.length);
	for (let i = 0; i < units.length; i++) units[i] = map(text.charCodeAt(i));
	let result = '';
	for (let i = 0; i < units.length; i += CHUNK) result += String.fromCharCode(...units.subarray(i, i + CHUNK));
	return result;
}
