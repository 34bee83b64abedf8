// Suggestions that were given before. If the user types along one or comes back to its place, it is shown without
// asking the model.
import type { Window } from '../families/family';

/** The situation that a suggestion was made for. A suggestion depends on nothing else. */
export interface SuggestionKey {
	/** One string for the document and everything else that decides about the suggestion but is not part of the window. */
	document: string;
	window: Window;
}

/** A finished suggestion. If its text is empty, `reason` says why. */
export interface Suggestion {
	text: string;
	reason?: string;
}

interface Stored extends SuggestionKey {
	suggestion: Suggestion;
}

/** Most suggestions that are kept. Other extensions keep between 100 (Copilot, Tabby) and 1000 (Continue). */
const CAPACITY = 200;

/** Least-recently-used cache of suggestions. */
export class SuggestionCache {
	/** The least recently used suggestion comes first. */
	#entries: Stored[] = [];

	add(key: SuggestionKey, suggestion: Suggestion): void {
		this.#entries = this.#entries.filter((entry) => typedSince(entry, key) !== '');
		this.#entries.push({ ...key, suggestion });
		if (this.#entries.length > CAPACITY) this.#entries.shift();
	}

	/**
	 * The newest suggestion that agrees with the text typed since it was made, without that text. An empty suggestion is
	 * only found at the place where it was made.
	 */
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
	// If the user has typed all of it, it has nothing left to show, but the model may go on.
	return text.startsWith(typed) && text.length > typed.length ? { text: text.slice(typed.length) } : undefined;
}

/**
 * The text that was typed between two states of a document. It is undefined if anything but typing at the cursor
 * happened. Closing brackets and quotes that the editor inserted right of the cursor meanwhile are allowed.
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

/**
 * Whether one text is the other with closing brackets or quotes before it. The editor inserted these, or the user typed
 * over them.
 */
function differByClosers(a: string, b: string): boolean {
	const [shorter, longer] = a.length <= b.length ? [a, b] : [b, a];
	return longer.endsWith(shorter) && /^[)\]}>"'`]*$/.test(longer.slice(0, longer.length - shorter.length));
}
