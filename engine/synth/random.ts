// Random bytes and numbers from a seed, the same on every machine. They use no function of the math library, whose
// results differ between machines.

/**
 * Fills `words` from a seed and a label (Marsaglia's xorshift128). The hash of the label makes the streams of labels
 * independent.
 */
export function fillRandom(words: Uint32Array, seed: number, label: string): void {
	let state = seed >>> 0;
	const mix = (value: number) => {
		// murmur3's finaliser over a running sum, as splitmix does it in 64 bits.
		state = (state + 0x9e3779b9 + value) | 0;
		let mixed = state ^ (state >>> 16);
		mixed = Math.imul(mixed, 0x85ebca6b);
		mixed ^= mixed >>> 13;
		mixed = Math.imul(mixed, 0xc2b2ae35);
		state ^= mixed ^ (mixed >>> 16);
		return state;
	};
	mix(Math.floor(seed / 2 ** 32));
	for (let i = 0; i < label.length; i++) mix(label.charCodeAt(i));
	let x = mix(0);
	let y = mix(0);
	let z = mix(0);
	let w = mix(0) | 1; // the state may not be all zero
	for (let i = 0; i < words.length; i++) {
		const t = x ^ (x << 11);
		x = y;
		y = z;
		z = w;
		w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
		words[i] = w;
	}
}

/** `normalTable` has 2^NORMAL_BITS entries. The high bits of a random word choose one. */
export const NORMAL_BITS = 11;

/**
 * 2^11 numbers that are distributed normally, with mean 0 and variance 1. Each is a sum of 12 uniform numbers, and the
 * table holds its negative, too.
 */
export const normalTable: Float64Array = (() => {
	const size = 2 ** NORMAL_BITS;
	const words = new Uint32Array(12 * (size / 2));
	fillRandom(words, 1, 'normal');
	const table = new Float64Array(size);
	for (let i = 0; i < size / 2; i++) {
		let sum = -6;
		for (let j = 0; j < 12; j++) sum += words[12 * i + j]! / 2 ** 32;
		table[2 * i] = sum;
		table[2 * i + 1] = -sum;
	}
	return table;
})();
