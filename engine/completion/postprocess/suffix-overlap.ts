// Cuts the end of a suggestion that says what already stands after the cursor.
import type { Filter } from './filter';

export const suffixOverlap: Filter = {
	reason: 'the suggestion only repeated the text after the cursor',
	apply(text, { window }) {
		return cutLineOverlap(cutFollowingLines(text, window.suffix), window.lineSuffix);
	},
};

/** Drops last lines that equal the first lines after the cursor's: `}` and whatever comes with it. */
function cutFollowingLines(text: string, suffix: string): string {
	const following = suffix.split('\n').map((line) => line.trimEnd());
	while (following.length > 0 && following[0] === '') following.shift();
	const lines = text.split('\n');
	while (lines.length > 1 && lines.at(-1)!.trim() === '') lines.pop();
	for (let count = Math.min(lines.length - 1, following.length); count > 0; count--) {
		const tail = lines.slice(-count).map((line) => line.trimEnd());
		if (tail.every((line, i) => line === following[i])) return lines.slice(0, -count).join('\n');
	}
	return text;
}

/** Drops the end of a one-line suggestion that the rest of the cursor's line, or at least its closers, begins with. */
function cutLineOverlap(text: string, lineSuffix: string): string {
	const rest = lineSuffix.trimEnd();
	if (rest === '' || text.includes('\n')) return text;
	for (let length = Math.min(text.length, rest.length); length > 0; length--) {
		const overlap = rest.slice(0, length);
		if (!text.endsWith(overlap)) continue;
		if (length < rest.length && !/^[)\]}>"'`;,]+$/.test(overlap)) continue;
		// Closers of what the suggestion opened are its own: `f(x)` before `)` stays whole.
		if (openBrackets(text.slice(0, -length)) === 0) return text.slice(0, -length);
	}
	return text;
}

function openBrackets(text: string): number {
	let open = 0;
	for (const character of text) {
		if ('([{'.includes(character)) open++;
		else if (')]}'.includes(character)) open = Math.max(0, open - 1);
	}
	return open;
}
