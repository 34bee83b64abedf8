// How a client's editor indents: LSP's formatting options. The parameters of LSP's inline completion have no field for
// them yet. Hearth's extension sends them in one more field, which is named as Copilot's language server names it.
import type { Formatting } from '../completion/postprocess/filter';

export interface WithFormatting {
	/** LSP's `FormattingOptions`. A client may send anything here; {@link readFormatting} checks it. */
	formattingOptions?: unknown;
}

/** Columns of one level of indentation at most. No editor has levels as wide as this. */
const MAX_TAB_SIZE = 32;

/** Reads formatting options. Undefined where there are none, or none that make sense. */
export function readFormatting(given: unknown): Formatting | undefined {
	if (typeof given !== 'object' || given === null) return undefined;
	const { tabSize, insertSpaces } = given as { tabSize?: unknown; insertSpaces?: unknown };
	if (typeof insertSpaces !== 'boolean' || !Number.isInteger(tabSize)) return undefined;
	const columns = tabSize as number;
	return columns >= 1 && columns <= MAX_TAB_SIZE ? { tabSize: columns, insertSpaces } : undefined;
}
