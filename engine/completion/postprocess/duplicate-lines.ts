// Cuts before lines that say again what stands above or below the cursor, or what the suggestion itself has just said. Lines that only
// close something may stand there as often as there is something to close.
import { Fit } from '../fit';
import { isTelling } from '../telling';
import type { Filter, FilterContext } from './filter';

/** A line said so often in a row is a loop, whatever comes after it. */
const LOOP = 3;

export const duplicateLines: Filter = {
	reason: 'the suggestion only repeated the lines around the cursor',
	apply(text, context) {
		const { window } = context;
		const [first = '', ...rest] = text.split('\n');
		const line = `${window.linePrefix}${first}`.trimEnd();
		if (isTelling(line) && first.trim() !== '' && window.lineSuffix.trim() === '' && line === lineBelow(window.suffix))
			return '';
		const above = window.prefix.split('\n').slice(0, -1).filter(isTelling);
		// A whole line of its own that is the same as the one above: copied, not continued.
		if (window.linePrefix.trim() === '' && isTelling(first) && rest.length === 0) {
			if (above.at(-1)?.trimEnd() === line) return '';
		}
		const lines = [line, ...rest.map((other) => other.trimEnd())];
		for (let i = 1; i < lines.length; i++) {
			const again = timesAgain(lines, i);
			const copied = again === 0 && copiesToItsEnd(lines.slice(i), above);
			if (again === 0 && !copied) continue;
			const cut = [first, ...rest.slice(0, i - 1)].join('\n');
			if (again + 1 >= LOOP || losesNothing(text, cut, context)) return cut;
		}
		return text;
	},
};

function lineBelow(suffix: string): string | undefined {
	return suffix
		.split('\n')
		.find((line) => line.trim() !== '')
		?.trimEnd();
}

/** How often line `i` and those after it say again what the last telling line before them says, indented alike. */
function timesAgain(lines: readonly string[], i: number): number {
	if (!isTelling(lines[i]!) || lines[i] !== lines.slice(0, i).findLast(isTelling)) return 0;
	const rest = lines.slice(i).filter(isTelling);
	const other = rest.findIndex((line) => line !== lines[i]);
	return other === -1 ? rest.length : other;
}

/** Whether all telling lines, three of them or more, stand above the cursor too, in this order; the last may be unfinished. */
function copiesToItsEnd(lines: readonly string[], above: readonly string[]): boolean {
	const next = lines.filter(isTelling).map((line) => line.trim());
	if (next.length < 3 || !isTelling(lines[0]!)) return false;
	return above.some((_, i) =>
		next.every((line, j) => {
			const other = above[i + j]?.trim();
			return line === other || (j === next.length - 1 && j > 0 && other?.startsWith(line) === true);
		}),
	);
}

/** Whether nothing that was closed is left open by the cut. */
function losesNothing(text: string, cut: string, { window, languageId }: FilterContext): boolean {
	const fit = new Fit(window, languageId);
	return fit.cost(cut) <= fit.cost(text);
}
