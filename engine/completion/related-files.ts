// Parts of other open files, for models that were trained to see them: where the user was last in each, the latest file last, nearest
// to the cursor. What a file's completions are shown stays the same while that file is worked on and the others are not, so that the cache
// holds.
import type { RelatedFile } from '../families/family';
import { estimateTokens } from '../tokenizer/estimate';
import { characterAt, lineEndAfter, nextLineStart } from './lines';

/** Files at most; more of each says more than more of them. */
const MAX_FILES = 4;
/** Characters that `estimateTokens` takes for a token at most. */
const MAX_CHARACTERS_PER_TOKEN = 3.5;
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
	#shown: { document: string; tokens: number; files: readonly RelatedFile[]; sources: Map<string, string> } | undefined;

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
		const files = others();
		if (this.#shown?.document !== current.document || this.#shown.tokens !== tokens || this.#haveChanged(files)) {
			this.#shown = { document: current.document, tokens, ...this.#choose(files, tokens) };
		}
		return this.#shown.files;
	}

	/** A file was closed: it is shown no more, and where the cursor was in it is forgotten. */
	forget(document: string): void {
		this.#visited.delete(document);
		this.#shown = undefined;
	}

	/** Whether a file that is shown says something else by now. The same string as before is seen to be without being read. */
	#haveChanged(files: readonly OpenFile[]): boolean {
		const { sources } = this.#shown!;
		return files.some(({ document, text }) => sources.has(document) && sources.get(document) !== text);
	}

	#choose(others: readonly OpenFile[], tokens: number): { files: RelatedFile[]; sources: Map<string, string> } {
		const order = [...this.#visited.keys()];
		const latestFirst = [...others].sort((a, b) => order.indexOf(b.document) - order.indexOf(a.document));
		const chosen: RelatedFile[] = [];
		const sources = new Map<string, string>();
		let left = tokens;
		for (const { document, label, text } of latestFirst.slice(0, MAX_FILES)) {
			sources.set(document, text);
			const excerpt = excerptOf(text, this.#visited.get(document) ?? 0, left);
			if (excerpt === '') continue;
			chosen.unshift({ label, text: excerpt });
			left -= estimateTokens(excerpt);
		}
		return { files: chosen, sources };
	}
}

/** Whole lines around `line`, as many as fit into `tokens`; of a line that is longer, its beginning. */
function excerptOf(text: string, line: number, tokens: number): string {
	const lines = linesAround(text, line, MAX_LINES);
	let start = Math.min(lines.findIndex(({ number }) => number === line) >>> 0, lines.length - 1);
	let end = start;
	let left = tokens;
	const fits = (index: number) => {
		const other = lines[index];
		if (other === undefined || end - start >= MAX_LINES) return false;
		// Longer ones need not be looked at to see that they do not fit.
		if (other.text.length > left * MAX_CHARACTERS_PER_TOKEN) return false;
		const cost = estimateTokens(`${other.text}\n`);
		if (cost > left) return false;
		left -= cost;
		return true;
	};
	if (!fits(start)) return cutTo(lines[start]?.text ?? '', tokens);
	end++;
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
	return lines
		.slice(start, end)
		.map((other) => other.text)
		.join('\n')
		.trim();
}

/** The lines with a number less than `distance` from `line`'s, or the last ones where the text has fewer. */
function linesAround(text: string, line: number, distance: number): { number: number; text: string }[] {
	const lines: { number: number; text: string }[] = [];
	let at = 0;
	for (let number = 0; number < line + distance; number++) {
		const next = nextLineStart(text, at);
		const end = next === -1 ? text.length : lineEndAfter(text, at, next);
		lines.push({ number, text: text.slice(at, end) });
		if (lines.length > 2 * distance) lines.shift();
		if (next === -1) break;
		at = next;
	}
	return lines;
}

/** A text's beginning of about so many tokens. */
function cutTo(text: string, tokens: number): string {
	const near = text.slice(0, tokens * MAX_CHARACTERS_PER_TOKEN);
	const characters = Math.floor((near.length * tokens) / Math.max(tokens, estimateTokens(near)));
	return near.slice(0, characterAt(near, characters)).trim();
}
