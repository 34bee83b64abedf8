// Cuts the suggestion before lines that repeat the lines above or below the cursor, or the suggestion's own last lines.
// Lines that only close something may be repeated as long as there is something to close.
import { Fit } from '../fit';
import { isTelling } from '../telling';
import type { Filter, FilterContext } from './filter';

export const duplicateLines: Filter = {
	name: 'duplicate lines',
	reason: 'the suggestion only repeated the lines around the cursor',
	apply(text, context) {
		const { window } = context;
		const [first = '', ...rest] = text.split('\n');
		const line = `${window.linePrefix}${first}`.trimEnd();
		const right = window.lineSuffix.trimEnd();
		const whole = first.endsWith(right) ? line : `${window.linePrefix}${first}${right}`;
		if (first.trim() !== '' && isTelling(whole) && whole === lineBelow(window.suffix)) return '';
		const above = window.prefix.split('\n').slice(0, -1).filter(isTelling);
		// The suggestion is one whole line that equals the line above, so the model has copied that line.
		if (window.linePrefix.trim() === '' && isTelling(first) && rest.every((other) => other.trim() === '')) {
			if (above.at(-1)?.trimEnd() === line) return '';
		}
		const lines = [line, ...rest.map((other) => other.trimEnd())];
		for (let i = 1; i < lines.length; i++) {
			if (!saysAgain(lines, i) && !copiesToItsEnd(lines.slice(i), above)) continue;
			const cut = [first, ...rest.slice(0, i - 1)].join('\n');
			if (losesNothing(text, cut, context)) return cut;
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

/** Whether line `i` equals the last telling line before it, indentation included. */
function saysAgain(lines: readonly string[], i: number): boolean {
	return isTelling(lines[i]!) && lines[i] === lines.slice(0, i).findLast(isTelling);
}

/**
 * Whether there are three telling lines or more, and all of them stand above the cursor in the same order. The last may
 * be unfinished.
 */
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

/** Whether the cut leaves nothing open that the whole text closes. */
function losesNothing(text: string, cut: string, { window, languageId }: FilterContext): boolean {
	const fit = new Fit(window, languageId);
	return fit.cost(cut) <= fit.cost(text);
}
