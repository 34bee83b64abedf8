// Cuts loops: a text that ends in the same unit over and over keeps it once.
import type { Filter } from './filter';

/** Shorter loops are legitimate: rules of dashes, nested brackets, tables of zeros. */
const MIN_REPEATS = 4;
const MIN_LOOP_CHARACTERS = 24;

export const repetition: Filter = {
	name: 'repetition',
	reason: 'the model repeated itself',
	apply(text) {
		const loop = findLoop(text);
		if (!loop) return text;
		const end = text.length - loop.length + loop.period;
		// The loop may begin within the line before its own; then it is lines that repeat.
		const lineEnd = text.indexOf('\n', end - 1) + 1;
		return text.slice(0, lineEnd > 0 && lineEnd < end + loop.period ? lineEnd : end);
	},
};

/** The text's end that repeats a unit of `period` characters, the last repeat maybe unfinished. */
function findLoop(text: string): { length: number; period: number } | undefined {
	// Prefix function (Knuth, Morris and Pratt) of the text read backwards: its borders give the periods of all ends.
	const at = (i: number) => text.charCodeAt(text.length - 1 - i);
	const border = new Int32Array(text.length);
	let best: { length: number; period: number } | undefined;
	for (let i = 1, k = 0; i < text.length; i++) {
		while (k > 0 && at(i) !== at(k)) k = border[k - 1]!;
		if (at(i) === at(k)) k++;
		border[i] = k;
		const length = i + 1;
		const period = length - k;
		if (length < MIN_LOOP_CHARACTERS || length < MIN_REPEATS * period) continue;
		if (best === undefined || period === best.period) best = { length, period };
	}
	// A run of one character draws lines and indents.
	return best === undefined || isUniform(text.slice(-best.period)) ? undefined : best;
}

function isUniform(text: string): boolean {
	return [...text].every((character) => character === text[0]);
}
