// Message texts wear a disguise while a template works on them: each character that occurs in some special token's name is replaced
// by a stand-in from Unicode's private use area. The interpreter sees through it wherever it looks at a text and keeps it wherever
// it writes one, so a rendered text tells what came from the messages, however the template cut or changed it: what wears a
// disguise is never part of a special token.

const AREA = { from: 0xe000, to: 0xf900 } as const;
const STAND_IN = /[\ue000-\uf8ff]/;
/** As many arguments as a call of JavaScript's takes without care. */
const CHUNK = 8192;
/** Where an array costs more than it saves. */
const SHORT = 64;

export class Disguise {
	/** By UTF-16 unit; 0: it stays itself. */
	readonly #standIns = new Uint16Array(0x10000);
	/** By stand-in what it stands for; 0: it is none. */
	readonly #behind = new Uint16Array(0x10000);

	/**
	 * @param hidden texts whose characters are replaced, e.g. names of special tokens.
	 * @param taken texts that must not be mistaken for disguised ones.
	 * @returns undefined where the texts use so much of the private use area that no room is left.
	 */
	static of(hidden: Iterable<string>, taken: Iterable<string>): Disguise | undefined {
		const units = new Set<number>();
		for (const text of hidden) for (let i = 0; i < text.length; i++) units.add(text.charCodeAt(i));
		// The characters of the area may be part of names, too.
		const used = new Set(units);
		for (const text of taken) {
			if (!STAND_IN.test(text)) continue;
			for (let i = 0; i < text.length; i++) used.add(text.charCodeAt(i));
		}
		const disguise = new Disguise();
		let next: number = AREA.from;
		for (const unit of units) {
			while (used.has(next)) next++;
			if (next >= AREA.to) return undefined;
			disguise.#standIns[unit] = next;
			disguise.#behind[next++] = unit;
		}
		return disguise;
	}

	private constructor() {}

	/** A text with its characters replaced; as long as before. */
	hide(text: string): string {
		return mapped(text, this.#standIns);
	}

	/** The text behind the disguise; as long as before. */
	reveal(text: string): string {
		if (!STAND_IN.test(text)) return text;
		return mapped(text, this.#behind);
	}
}

/** Each unit as the table has it; itself where that is 0. */
function mapped(text: string, table: Uint16Array): string {
	let result = '';
	if (text.length < SHORT) {
		for (let i = 0; i < text.length; i++) {
			const unit = text.charCodeAt(i);
			result += String.fromCharCode(table[unit]! || unit);
		}
		return result;
	}
	const units = new Uint16Array(text.length);
	for (let i = 0; i < units.length; i++) {
		const unit = text.charCodeAt(i);
		units[i] = table[unit]! || unit;
	}
	for (let i = 0; i < units.length; i += CHUNK) {
		// Not spread, which walks through an iterator, twenty times as slow.
		result += Reflect.apply(String.fromCharCode, undefined, units.subarray(i, i + CHUNK));
	}
	return result;
}
