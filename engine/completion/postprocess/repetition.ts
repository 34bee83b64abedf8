// Cuts loops. If a text ends with the same unit over and over, the unit is kept once.
import type { Filter } from './filter';

/** Shorter loops are kept, since they may be meant: rules of dashes, nested brackets, tables of zeros. */
const MIN_REPEATS = 4;
const MIN_LOOP_CHARACTERS = 24;

export const repetition: Filter = {
	name: 'repetition',
	reason: 'the model repeated itself',
	apply(text) {
		const loop = findLoop(text);
		if (!loop) return text;
		const end = text.length - loop.length + loop.period;
		// A loop of whole lines may begin in the middle of a line. The kept text then goes on to the end of that line.
		const lineEnd = text.indexOf('\n', end - 1) + 1;
		return text.slice(0, lineEnd > 0 && lineEnd < end + loop.period ? lineEnd : end);
	},
};

/** The end of the text that repeats a unit of `period` characters. The last repetition may be unfinished. */
function findLoop(text: string): { length: number; period: number } | undefined {
	// The prefix function (Knuth, Morris and Pratt) of the reversed text gives the period of every end of the text.
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
	// A run of one character draws a line or indents, so it is not a loop.
	return best === undefined || isUniform(text.slice(-best.period)) ? undefined : best;
}

function isUniform(text: string): boolean {
	return [...text].every((character) => character === text[0]);
}
