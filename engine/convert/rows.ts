// Converts rows of weights from one number format to another. All functions write into buffers that the caller keeps.
// So converting a file of any size makes no garbage.
import type { TensorType } from '../gguf/tensor-types';
import { fromHalf, toHalf } from '../synth/floats';

/** Formats that weights are read in. */
export type FloatType = 'F32' | 'F16' | 'BF16';
/** Formats that weights are written in. */
export type WeightType = Extract<TensorType, 'F32' | 'F16' | 'BF16' | 'Q8_0'>;

export function isFloatType(dtype: string): dtype is FloatType {
	return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

const BLOCK = 32;

let halves: Float32Array | undefined;
/** The value of each binary16 bit pattern. */
function halfTable(): Float32Array {
	halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) =>
		(bits & 0x7c00) === 0x7c00 ? (bits & 0x3ff ? Number.NaN : bits & 0x8000 ? -Infinity : Infinity) : fromHalf(bits),
	);
	return halves;
}

/** Reads `count` numbers at `source[from…]` (bytes) as floats into `target`. */
export function decodeFloats(
	type: FloatType,
	source: Uint8Array,
	from: number,
	count: number,
	target: Float32Array,
): void {
	const start = source.byteOffset + from;
	if (type === 'F32') {
		new Uint8Array(target.buffer, target.byteOffset, 4 * count).set(source.subarray(from, from + 4 * count));
		return;
	}
	// The offset is even, since a chunk begins with a whole row. All platforms that Node runs on here are little-endian,
	// as the format is.
	const bits = new Uint16Array(source.buffer, start, count);
	if (type === 'F16') {
		const table = halfTable();
		for (let i = 0; i < count; i++) target[i] = table[bits[i]!]!;
	} else {
		const words = new Uint32Array(target.buffer, target.byteOffset, count);
		for (let i = 0; i < count; i++) words[i] = bits[i]! << 16;
	}
}

/**
 * Writes `count` floats as `type` at `target[at…]` (bytes). Floats are rounded to the nearest, ties to even. Q8_0 is
 * quantised as ggml's reference does it: the scale of a block is its largest magnitude ÷ 127.
 */
export function encodeFloats(
	type: WeightType,
	source: Float32Array,
	count: number,
	target: Uint8Array,
	at: number,
): void {
	const start = target.byteOffset + at;
	switch (type) {
		case 'F32':
			target.set(new Uint8Array(source.buffer, source.byteOffset, 4 * count), at);
			break;
		case 'F16': {
			const halves = new Uint16Array(target.buffer, start, count);
			for (let i = 0; i < count; i++) halves[i] = toHalf(source[i]!);
			break;
		}
		case 'BF16': {
			const words = new Uint32Array(source.buffer, source.byteOffset, count);
			const halves = new Uint16Array(target.buffer, start, count);
			for (let i = 0; i < count; i++) halves[i] = (words[i]! + 0x7fff + ((words[i]! >>> 16) & 1)) >>> 16;
			break;
		}
		case 'Q8_0': {
			const bytes = new Int8Array(target.buffer, start, (count / BLOCK) * 34);
			for (let first = 0, to = 0; first < count; first += BLOCK, to += 34) {
				let largest = 0;
				for (let i = first; i < first + BLOCK; i++) {
					const value = source[i]!;
					const magnitude = value < 0 ? -value : value;
					if (magnitude > largest) largest = magnitude;
				}
				const scale = Math.fround(largest / 127);
				const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
				const half = toHalf(scale);
				bytes[to] = half;
				bytes[to + 1] = half >>> 8;
				for (let i = 0; i < BLOCK; i++) {
					const value = Math.fround(source[first + i]! * inverse);
					// Rounds half away from zero, as C's `roundf` does.
					bytes[to + 2 + i] = value < 0 ? value - 0.5 : value + 0.5;
				}
			}
		}
	}
}

/**
 * Writes a row of MXFP4 as ggml's blocks of 17 bytes: the scale, then the nibbles. gpt-oss has these in two tensors.
 * Byte j of Hugging Face's block holds elements 2j and 2j + 1; byte j of ggml's block holds elements j and j + 16.
 * @param blocks 16 bytes a block, from `blocksAt` on.
 * @param scales 1 byte a block, from `scalesAt` on.
 */
export function repackMxfp4(
	blocks: Uint8Array,
	blocksAt: number,
	scales: Uint8Array,
	scalesAt: number,
	count: number,
	target: Uint8Array,
	at: number,
): void {
	let from = blocksAt;
	let to = at;
	for (let block = 0; block < count; block++) {
		target[to++] = scales[scalesAt + block]!;
		for (let j = 0; j < 8; j++) {
			const low = blocks[from + j]!;
			const high = blocks[from + 8 + j]!;
			target[to++] = (low & 0x0f) | (high << 4);
			target[to++] = (low >>> 4) | (high & 0xf0);
		}
		from += 16;
	}
}
