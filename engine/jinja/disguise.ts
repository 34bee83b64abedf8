// A disguise marks the texts of messages while a template works on them. Each character that occurs in the name of a
// special token is replaced by a stand-in from Unicode's private use area. The interpreter looks behind the stand-ins
// wherever it reads a text, and keeps them wherever it writes one. So a rendered text shows which parts came from
// messages, however the template cut or changed them: a disguised part never becomes a special token.

const AREA = { from: 0xe000, to: 0xf900 } as const;
const STAND_IN = /[\ue000-\uf8ff]/;
/** The most arguments of one call of a JavaScript function that are safe on every stack. */
const CHUNK = 8192;
/** Texts shorter than this are mapped without an array, which would cost more than it saves. */
const SHORT = 64;

export class Disguise {
	/** The stand-in of each UTF-16 unit; 0: the unit is not replaced. */
	readonly #standIns = new Uint16Array(0x10000);
	/** The unit behind each stand-in; 0: the unit is no stand-in. */
	readonly #behind = new Uint16Array(0x10000);

	/**
	 * Makes a disguise.
	 * @param hidden texts whose characters are replaced, e.g. the names of special tokens.
	 * @param taken texts whose characters cannot be stand-ins, since they would look disguised.
	 * @returns undefined where the texts use so much of the private use area that too little is left.
	 */
	static of(hidden: Iterable<string>, taken: Iterable<string>): Disguise | undefined {
		const units = new Set<number>();
		for (const text of hidden) for (let i = 0; i < text.length; i++) units.add(text.charCodeAt(i));
		// The hidden texts may hold characters of the private use area, too.
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

	/** The text with stand-ins. Its length does not change. */
	hide(text: string): string {
		return mapped(text, this.#standIns);
	}

	/** The text without stand-ins. Its length does not change. */
	reveal(text: string): string {
		if (!STAND_IN.test(text)) return text;
		return mapped(text, this.#behind);
	}
}

/** Replaces each unit by its entry in the table, unless the entry is 0. */
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
		// The spread operator would use an iterator, which is twenty times as slow.
		result += Reflect.apply(String.fromCharCode, undefined, units.subarray(i, i + CHUNK));
	}
	return result;
}
