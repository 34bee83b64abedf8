// Conversions between floats and the two 16-bit formats. They round to the nearest, ties to even.

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The binary16 (IEEE 754) bits of a finite number. A number that is too large becomes infinity. */
export function toHalf(value: number): number {
	float[0] = value;
	const word = bits[0]!;
	const sign = (word >>> 16) & 0x8000;
	const magnitude = word & 0x7fffffff;
	if (magnitude >= 0x47800000) return sign | 0x7c00;
	if (magnitude < 0x38800000) {
		// A subnormal counts units of 2^-24. Adding 2^23 rounds the count to an integer, since a float has no digits behind
		// the point there.
		return sign | (Math.fround(Math.fround(Math.abs(float[0]!) * 2 ** 24) + 2 ** 23) - 2 ** 23);
	}
	const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
	return sign | ((rounded - 0x38000000) >>> 13);
}

/** The number of binary16 bits. */
export function fromHalf(half: number): number {
	const exponent = (half >>> 10) & 0x1f;
	const mantissa = half & 0x3ff;
	const magnitude = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
	return half & 0x8000 ? -magnitude : magnitude;
}

/** The bfloat16 bits of a finite number. */
export function toBfloat16(value: number): number {
	float[0] = value;
	const word = bits[0]!;
	return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}
