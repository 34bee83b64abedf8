// Suggestions given before: typing along one, or coming back to where it was made, is answered without the model.
import type { Window } from '../families/family';

/** What a suggestion was made for. Suggestions depend on nothing else. */
export interface SuggestionKey {
	/** The document and everything else that is part of the prompt but not of the window, as one string. */
	document: string;
	window: Window;
}

/** A finished suggestion; empty text with the reason why. */
export interface Suggestion {
	text: string;
	reason?: string;
}

interface Stored extends SuggestionKey {
	suggestion: Suggestion;
}

/** Other extensions keep 100 suggestions (Copilot, Tabby) to 1000 (Continue). */
const CAPACITY = 200;

/** Least-recently-used cache of suggestions. */
export class SuggestionCache {
	/** Least recently used first. */
	#entries: Stored[] = [];

	add(key: SuggestionKey, suggestion: Suggestion): void {
		this.#entries = this.#entries.filter((entry) => typedSince(entry, key) !== '');
		this.#entries.push({ ...key, suggestion });
		if (this.#entries.length > CAPACITY) this.#entries.shift();
	}

	/** The rest of the newest suggestion that the text typed since agrees with; an empty one only where it was made. */
	find(key: SuggestionKey): Suggestion | undefined {
		const index = this.#entries.findLastIndex((entry) => remainder(entry, key) !== undefined);
		const found = this.#entries[index];
		if (!found) return undefined;
		this.#entries.splice(index, 1);
		this.#entries.push(found);
		return remainder(found, key);
	}
}

function remainder(entry: Stored, key: SuggestionKey): Suggestion | undefined {
	const typed = typedSince(entry, key);
	if (typed === undefined) return undefined;
	if (typed === '') return entry.suggestion;
	const { text } = entry.suggestion;
	// Typed to its end, it has nothing more to say, but the model may have.
	return text.startsWith(typed) && text.length > typed.length ? { text: text.slice(typed.length) } : undefined;
}

/**
 * The text typed between two states of a document; undefined where anything but typing at the cursor happened. Closing
 * brackets and quotes that an editor added right of the cursor meanwhile are no such thing.
 */
export function typedSince(earlier: SuggestionKey, later: SuggestionKey): string | undefined {
	if (earlier.document !== later.document) return undefined;
	const { window: from } = earlier;
	const { window: to } = later;
	if (!to.prefix.startsWith(from.prefix) || to.prefixIsWhole !== from.prefixIsWhole) return undefined;
	const typed = to.prefix.slice(from.prefix.length);
	if (typed === '') return to.suffix === from.suffix && to.lineSuffix === from.lineSuffix ? '' : undefined;
	return to.suffix === from.suffix && differByClosers(from.lineSuffix, to.lineSuffix) ? typed : undefined;
}

/** Whether one is the other with closing brackets or quotes before it: added by the editor, or typed over. */
function differByClosers(a: string, b: string): boolean {
	const [shorter, longer] = a.length <= b.length ? [a, b] : [b, a];
	return longer.endsWith(shorter) && /^[)\]}>"'`]*$/.test(longer.slice(0, longer.length - shorter.length));
}
