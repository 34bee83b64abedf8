// How a client's editor indents: LSP's formatting options, which inline completion's parameters do not have yet. Hearth's own extension
// sends them beside the others, as Copilot's language server expects them.
import type { Formatting } from '../completion/postprocess/filter';

export interface WithFormatting {
	/** LSP's `FormattingOptions`; whatever a client sends, read by {@link readFormatting}. */
	formattingOptions?: unknown;
}

/** More columns than any editor has a level of. */
const MAX_TAB_SIZE = 32;

/** Undefined where there are none, or none that make sense. */
export function readFormatting(given: unknown): Formatting | undefined {
	if (typeof given !== 'object' || given === null) return undefined;
	const { tabSize, insertSpaces } = given as { tabSize?: unknown; insertSpaces?: unknown };
	if (typeof insertSpaces !== 'boolean' || !Number.isInteger(tabSize)) return undefined;
	const columns = tabSize as number;
	return columns >= 1 && columns <= MAX_TAB_SIZE ? { tabSize: columns, insertSpaces } : undefined;
}
