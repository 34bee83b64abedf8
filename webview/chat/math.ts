// Formulas in Markdown, as models write them: `\( \)`, `\[ \]`, `$$ $$`, `$ $`. The page cannot typeset formulas, so it
// shows them as they were written. Plain Markdown would take the backslash before a bracket for an escape, and `_` and
// `*` for emphasis.
import type MarkdownIt from 'markdown-it';

type Markdown = InstanceType<typeof MarkdownIt>;
type InlineRule = Parameters<Markdown['inline']['ruler']['before']>[2];
type BlockRule = Parameters<Markdown['block']['ruler']['before']>[2];

/** The most characters of an inline formula. Every opener looks this far for its closer. */
const MAX_INLINE = 2000;

const CLOSERS = new Map([
	['\\(', '\\)'],
	['\\[', '\\]'],
	['$$', '$$'],
]);

export function keepFormulas(markdown: Markdown): void {
	markdown.inline.ruler.before('escape', 'formula', inlineFormula);
	markdown.block.ruler.before('fence', 'formula', blockFormula, {
		alt: ['paragraph', 'reference', 'blockquote', 'list'],
	});
}

const inlineFormula: InlineRule = (state, silent) => {
	const { src, pos, posMax } = state;
	if (src[pos] !== '\\' && src[pos] !== '$') return false;
	const length = formulaLength(src.slice(pos, Math.min(posMax, pos + MAX_INLINE)), src.charAt(pos - 1));
	if (length === 0) return false;
	if (!silent) state.push('text', '', 0).content = src.slice(pos, pos + length);
	state.pos += length;
	return true;
};

/** Length of the formula that a text begins with; 0 when it begins with none. */
function formulaLength(text: string, before: string): number {
	const opener = text.slice(0, 2);
	const closer = CLOSERS.get(opener);
	if (closer !== undefined) {
		const end = text.indexOf(closer, 2);
		return end > 2 ? end + 2 : 0;
	}
	// A single dollar is usually money. As in Pandoc, a formula in single dollars ends on its line, has no white space
	// beside a dollar on the inside, and no digit behind it.
	if (!text.startsWith('$') || /[\w$\\]/.test(before)) return 0;
	return /^\$(?!\s)[^$\n`]*[^\s$`\\]\$(?![\w$])/.exec(text)?.[0].length ?? 0;
}

/**
 * A formula on lines of its own. Its first line is only an opener, or begins with an opener and ends with the closer.
 * It ends at the line that ends with the closer, or at a blank line. While an answer grows, the next line must not turn
 * the formula into something else.
 */
const blockFormula: BlockRule = (state, startLine, endLine, silent) => {
	if (state.sCount[startLine]! - state.blkIndent >= 4) return false;
	const line = (at: number) => state.src.slice(state.bMarks[at]! + state.tShift[at]!, state.eMarks[at]).trimEnd();
	const first = line(startLine);
	const closer = CLOSERS.get(first.slice(0, 2));
	if (closer === undefined || first.startsWith('\\(')) return false;
	const rest = first.slice(2);
	const closed = rest !== closer && rest.indexOf(closer) === rest.length - 2 && rest.endsWith(closer);
	if (rest !== '' && !closed) return false;
	if (silent) return true;
	let next = startLine + 1;
	for (let open = !closed; open && next < endLine && !state.isEmpty(next); next++) {
		if (state.sCount[next]! < state.blkIndent) break;
		open = !line(next).endsWith(closer);
	}
	const token = state.push('formula', 'p', 0);
	token.block = true;
	token.content = state.getLines(startLine, next, state.blkIndent, false).trim();
	token.map = [startLine, next];
	state.line = next;
	return true;
};
