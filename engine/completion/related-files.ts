// Parts of other open files, for models that were trained to see them: where the user was last in each, the latest file last, nearest
// to the cursor. What a file's completions are shown stays the same while that file is worked on, so that the cache holds.
import type { RelatedFile } from '../families/family';
import { estimateTokens } from '../tokenizer/tokenizer';

/** Files at most; more of each says more than more of them. */
const MAX_FILES = 4;
/** Lines around the cursor, or of a file's beginning, at most. */
const MAX_LINES = 60;

export interface OpenFile {
	/** The document, e.g. its URI. */
	document: string;
	label: string;
	text: string;
}

export class RelatedFiles {
	/** Line of the cursor in each file, least recently completed first. */
	readonly #visited = new Map<string, number>();
	#shown: { document: string; tokens: number; files: readonly RelatedFile[] } | undefined;

	/**
	 * @param current where a completion is asked for, and in which line.
	 * @param others the files that are open beside it.
	 */
	around(
		current: { document: string; line: number },
		others: () => readonly OpenFile[],
		tokens: number,
	): readonly RelatedFile[] {
		this.#visited.delete(current.document);
		this.#visited.set(current.document, current.line);
		if (this.#shown?.document !== current.document || this.#shown.tokens !== tokens) {
			const files = this.#choose(others(), tokens);
			this.#shown = { document: current.document, tokens, files };
		}
		return this.#shown.files;
	}

	/** A file was closed: it is shown no more, and where the cursor was in it is forgotten. */
	forget(document: string): void {
		this.#visited.delete(document);
		this.#shown = undefined;
	}

	#choose(others: readonly OpenFile[], tokens: number): RelatedFile[] {
		const order = [...this.#visited.keys()];
		const latestFirst = [...others].sort((a, b) => order.indexOf(b.document) - order.indexOf(a.document));
		const chosen: RelatedFile[] = [];
		let left = tokens;
		for (const { document, label, text } of latestFirst.slice(0, MAX_FILES)) {
			const excerpt = excerptOf(text, this.#visited.get(document) ?? 0, left);
			if (excerpt === '') continue;
			chosen.unshift({ label, text: excerpt });
			left -= estimateTokens(excerpt);
		}
		return chosen;
	}
}

/** Whole lines around `line`, as many as fit into `tokens`. */
function excerptOf(text: string, line: number, tokens: number): string {
	const lines = text.split(/\r?\n/);
	let start = Math.min(line, lines.length - 1);
	let end = start;
	let left = tokens;
	const fits = (index: number) => {
		const cost = estimateTokens(`${lines[index]}\n`);
		if (index < 0 || index >= lines.length || cost > left || end - start >= MAX_LINES) return false;
		left -= cost;
		return true;
	};
	for (let grown = true; grown; ) {
		grown = false;
		if (fits(end)) {
			end++;
			grown = true;
		}
		if (start > 0 && fits(start - 1)) {
			start--;
			grown = true;
		}
	}
	return lines.slice(start, end).join('\n').trim();
}
