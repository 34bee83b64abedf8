// Cuts the end of a suggestion if it repeats the text after the cursor.
import { Fit } from '../fit';
import type { Filter, FilterContext } from './filter';

/**
 * If the rest of the line is longer than this, a suggestion that ends with so many characters of its beginning repeats
 * it.
 */
const TELLING_OVERLAP = 16;

export const suffixOverlap: Filter = {
	name: 'suffix overlap',
	reason: 'the suggestion only repeated the text after the cursor',
	apply(text, context) {
		return cutLineOverlap(cutFollowingLines(text, context), context);
	},
};

/** Drops the last lines if they equal the first lines after the cursor's line, for example `}`. */
function cutFollowingLines(text: string, { window, languageId }: FilterContext): string {
	const following = window.suffix.split('\n').map((line) => line.trimEnd());
	while (following.length > 0 && following[0] === '') following.shift();
	const lines = text.split('\n');
	while (lines.length > 1 && lines.at(-1)!.trim() === '') lines.pop();
	let fit: Fit | undefined;
	let best = { gained: 0, cut: text };
	for (let count = Math.min(lines.length - 1, following.length); count > 0; count--) {
		const tail = lines.slice(-count).map((line) => line.trimEnd());
		const isSame = tail.every((line, i) => line === following[i]);
		if (!isSame && !tail.every((line, i) => line.trim() === following[i]!.trim())) continue;
		const cut = lines.slice(0, -count).join('\n');
		// Lines that look alike may close different things, as tags without indentation do. Then all of them are needed. Lines
		// with another indentation count as repeated only if the file fits together better without them. Then as few of them
		// as possible are cut.
		fit ??= new Fit(window, languageId);
		const gained = fit.cost(text) - fit.cost(cut);
		if (isSame && gained >= best.gained) return cut;
		if (!isSame && gained > 0 && gained >= best.gained) best = { gained, cut };
	}
	return best.cut;
}

/** Drops the end of a suggestion if the rest of the cursor's line begins with it. A short end has to be closers. */
function cutLineOverlap(text: string, { window, languageId }: FilterContext): string {
	const rest = window.lineSuffix.trimEnd();
	if (rest === '' || text.includes('\n')) return text;
	let fit: Fit | undefined;
	for (let length = Math.min(text.length, rest.length); length > 0; length--) {
		const overlap = rest.slice(0, length);
		if (!text.endsWith(overlap)) continue;
		const isAll = length === rest.length && !window.lineSuffixIsCut;
		const isTelling = isAll || length >= TELLING_OVERLAP;
		if (isTelling && /[\p{L}\p{N}]/u.test(overlap)) return text.slice(0, -length);
		if (!isTelling && !/^[)\]}>"'`;,]+$/.test(overlap)) continue;
		// The suggestion keeps the closers of what it opened itself: `f(x)` before `)` stays whole.
		const cut = text.slice(0, -length);
		fit ??= new Fit(window, languageId);
		if (fit.cost(cut) <= fit.cost(text)) return cut;
	}
	return text;
}
