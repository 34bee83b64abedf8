// Cuts before lines that say again what the lines above the cursor, or the suggestion itself, have just said.
import type { Filter } from './filter';

export const duplicateLines: Filter = {
	reason: 'the suggestion only repeated the lines above the cursor',
	apply(text, { window }) {
		const [first = '', ...rest] = text.split('\n');
		const above = window.prefix.split('\n').slice(0, -1).filter(isTelling);
		// A whole line of its own that is the same as the one above: copied, not continued.
		if (window.linePrefix.trim() === '' && isTelling(first) && rest.length === 0) {
			if (above.at(-1)?.trim() === first.trim()) return '';
		}
		const kept = [first];
		for (let i = 0; i < rest.length; i++) {
			const line = rest[i]!;
			if (isTelling(line) && line.trim() === kept.findLast(isTelling)?.trim()) break;
			if (repeatsAbove(rest.slice(i), above)) break;
			kept.push(line);
		}
		return kept.join('\n');
	},
};

/** Three telling lines in a row that stand above the cursor too. */
function repeatsAbove(lines: string[], above: string[]): boolean {
	const next = lines.filter(isTelling).slice(0, 3);
	if (next.length < 3 || !isTelling(lines[0]!)) return false;
	return above.some((_, i) => next.every((line, j) => above[i + j]?.trim() === line.trim()));
}

function isTelling(line: string): boolean {
	return /[\p{L}\p{N}]/u.test(line);
}
