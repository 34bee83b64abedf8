// Parts of other open files, for models that were trained to see them. Each part is the surroundings of the place where
// the user was last in that file. The latest file comes last, nearest to the cursor. The parts stay the same as long as
// the user works on one file and the others do not change, so that the prompts' common beginning stays in the cache.
import type { RelatedFile } from '../families/family';
import { estimateTokens } from '../tokenizer/estimate';
import { characterAt, lineEndAfter, nextLineStart } from './lines';

/** Most files that are shown. Longer parts of few files help more than short parts of many. */
const MAX_FILES = 4;
/** `estimateTokens` counts at most so many characters as one token. */
const MAX_CHARACTERS_PER_TOKEN = 3.5;
/** Most lines of a file that are shown, around the cursor or from the file's beginning. */
const MAX_LINES = 60;

export interface OpenFile {
	/** The document, e.g. its URI. */
	document: string;
	label: string;
	text: string;
}

export class RelatedFiles {
	/** The line of the cursor in each file. The file that was completed least recently comes first. */
	readonly #visited = new Map<string, number>();
	#shown: { document: string; tokens: number; files: readonly RelatedFile[]; sources: Map<string, string> } | undefined;

	/**
	 * The parts of other files for a completion.
	 * @param current the document and the line in which a completion is asked for.
	 * @param others the files that are open beside it.
	 * @param tokens the most tokens of all parts together, as `estimateTokens` counts.
	 */
	around(
		current: { document: string; line: number },
		others: readonly OpenFile[],
		tokens: number,
	): readonly RelatedFile[] {
		this.#visited.delete(current.document);
		this.#visited.set(current.document, current.line);
		if (this.#shown?.document !== current.document || this.#shown.tokens !== tokens || this.#haveChanged(others)) {
			this.#shown = { document: current.document, tokens, ...this.#choose(others, tokens) };
		}
		return this.#shown.files;
	}

	/** Call this when a file is closed. The file is no longer shown, and its cursor's line is forgotten. */
	forget(document: string): void {
		this.#visited.delete(document);
		this.chooseAgain();
	}

	/** Call this when other files may be shown than before. */
	chooseAgain(): void {
		this.#shown = undefined;
	}

	/** Whether a shown file is no longer among the others, or its text has changed. V8 compares a string with itself without reading it. */
	#haveChanged(files: readonly OpenFile[]): boolean {
		const { sources } = this.#shown!;
		const shown = files.filter(({ document }) => sources.has(document));
		return shown.length < sources.size || shown.some(({ document, text }) => sources.get(document) !== text);
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

/** As many whole lines around `line` as fit into `tokens`, or the beginning of `line` if it does not fit by itself. */
function excerptOf(text: string, line: number, tokens: number): string {
	const lines = linesAround(text, line, MAX_LINES);
	let start = Math.min(lines.findIndex(({ number }) => number === line) >>> 0, lines.length - 1);
	let end = start;
	let left = tokens;
	const fits = (index: number) => {
		const other = lines[index];
		if (other === undefined || end - start >= MAX_LINES) return false;
		// A text that is longer than this cannot fit, which is clear without estimating its tokens.
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

/**
 * The lines that are less than `distance` lines away from `line`, or from the last line if the text has fewer lines.
 */
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

/** The beginning of a text with about so many tokens. */
function cutTo(text: string, tokens: number): string {
	const near = text.slice(0, tokens * MAX_CHARACTERS_PER_TOKEN);
	const characters = Math.floor((near.length * tokens) / Math.max(tokens, estimateTokens(near)));
	return near.slice(0, characterAt(near, characters)).trim();
}
