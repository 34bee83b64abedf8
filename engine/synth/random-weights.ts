// Random weights with the statistics of a trained model: activations keep their size through the layers, the router
// decides clearly, and attention is neither flat nor a spike. Each chunk has a random stream of its own, so no chunk
// depends on another.
import { type TensorTraits, type TensorType, tensorTypes } from '../gguf/tensor-types';
import { type GgufTensor, tensorBytes } from '../gguf/writer';
import { llama3Divisors, type TensorPlan, type TensorRole } from './architecture';
import { toBfloat16, toHalf } from './floats';
import { fillRandom, NORMAL_BITS, normalTable } from './random';

/** The most bytes that are made at a time. */
const CHUNK_BYTES = 17 * 2 ** 16;

/** Root mean square of the values of random MXFP4 nibbles at exponent 127, and of random odd int8 numbers. */
const MXFP4_RMS = 2.926;
const INT8_RMS = 73.9;

/**
 * For types whose values are an integer times an F16 scale, some of them with a minimum that is added or taken away.
 * `rms`: root mean square of such values with random integers, over the scale. `ratio`: the minimum, over the scale.
 */
const integerTypes = {
	Q4_0: { rms: 4.64 },
	Q4_1: { rms: 4.61, ratio: -7.5 },
	Q5_0: { rms: 9.25 },
	Q5_1: { rms: 9.23, ratio: -15.5 },
	// The parts of these types' blocks have scales of their own, which are random, too. They have 6 bits in Q4_K and
	// Q5_K, as their minima do, and 8 bits in Q6_K.
	Q4_K: { rms: 258, ratio: 7.5 },
	Q5_K: { rms: 527, ratio: 15.5 },
	Q6_K: { rms: 1366 },
} satisfies Partial<Record<TensorType, { rms: number; ratio?: number }>>;

/** A tensor of the plan with random weights that the seed determines. */
export function randomTensor(plan: TensorPlan, seed: number): GgufTensor {
	if (plan.role === 'ropeDivisors') {
		const divisors = new Uint8Array(llama3Divisors(2 * plan.shape[0]!).buffer);
		return { ...plan, chunks: () => [divisors] };
	}
	const { mean, deviation } = distribution(plan.role, plan.shape[0]!);
	return { ...plan, chunks: () => randomChunks(plan.name, plan.type, tensorBytes(plan), seed, mean, deviation) };
}

function distribution(role: Exclude<TensorRole, 'ropeDivisors'>, columns: number): { mean: number; deviation: number } {
	const unit = 1 / Math.sqrt(columns);
	switch (role) {
		case 'embedding':
			return { mean: 0, deviation: 1 };
		case 'attention':
		case 'feedForward':
			return { mean: 0, deviation: unit };
		case 'router':
		case 'output':
			return { mean: 0, deviation: 2 * unit };
		case 'norm':
			return { mean: 1, deviation: 0.1 };
		case 'sinks':
			return { mean: 0, deviation: 1 };
		case 'attentionBias':
		case 'routerBias':
		case 'feedForwardBias':
			return { mean: 0, deviation: 0.1 };
	}
}

function* randomChunks(
	name: string,
	type: TensorType,
	bytes: number,
	seed: number,
	mean: number,
	deviation: number,
): Iterable<Uint8Array> {
	const shape = shapeOf(type, mean, deviation);
	const buffers = [new Uint32Array(CHUNK_BYTES / 4), new Uint32Array(CHUNK_BYTES / 4)];
	// The unit is a whole number of blocks and of 32-bit words.
	const unit = 4 * tensorTypes[type].blockBytes;
	const chunkBytes = CHUNK_BYTES - (CHUNK_BYTES % unit);
	for (let start = 0, chunk = 0; start < bytes; start += chunkBytes, chunk++) {
		const length = Math.min(chunkBytes, bytes - start);
		const words = buffers[chunk % 2]!.subarray(0, Math.ceil(length / 4));
		shape(words, seed, `${name}/${chunk}`);
		yield new Uint8Array(words.buffer, 0, length);
	}
}

/** Makes the function that fills a chunk of this type from the random stream of a label. */
function shapeOf(type: TensorType, mean: number, deviation: number) {
	const { blockBytes, scaleAt = 0, minimumAt }: TensorTraits = tensorTypes[type];
	switch (type) {
		case 'MXFP4': {
			const exponent = 127 + Math.round(Math.log2(deviation / MXFP4_RMS));
			return (words: Uint32Array, seed: number, label: string) => {
				fillRandom(words, seed, label);
				const out = new Uint8Array(words.buffer, 0, 4 * words.length);
				for (let at = 0; at < out.length; at += blockBytes) out[at] = exponent - 1 + (out[at]! % 3);
			};
		}
		case 'Q8_0': {
			const scales = [0.75, 1, 1, 1.25].map((factor) => toHalf((factor * deviation) / INT8_RMS));
			return (words: Uint32Array, seed: number, label: string) => {
				fillRandom(words, seed, label);
				// The lowest bit is set, so that all values are odd. Quantisers never make the even value −128.
				for (let i = 0; i < words.length; i++) words[i]! |= 0x01010101;
				const out = new Uint8Array(words.buffer, 0, 4 * words.length);
				for (let at = 0; at < out.length; at += blockBytes) {
					const scale = scales[(out[at]! >>> 1) & 3]!;
					out[at] = scale;
					out[at + 1] = scale >>> 8;
				}
			};
		}
		case 'F32': {
			const table = new Uint32Array(Float32Array.from(normalTable, (value) => mean + deviation * value).buffer);
			return (words: Uint32Array, seed: number, label: string) => {
				fillRandom(words, seed, label);
				for (let i = 0; i < words.length; i++) words[i] = table[words[i]! >>> (32 - NORMAL_BITS)]!;
			};
		}
		case 'I64':
			throw new Error('random weights are no integers');
		case 'F16':
		case 'BF16': {
			const convert = type === 'F16' ? toHalf : toBfloat16;
			const table = Uint16Array.from(normalTable, (value) => convert(mean + deviation * value));
			return (words: Uint32Array, seed: number, label: string) => {
				fillRandom(words, seed, label);
				const mask = 2 ** NORMAL_BITS - 1;
				for (let i = 0; i < words.length; i++) {
					const word = words[i]!;
					words[i] = table[word >>> (32 - NORMAL_BITS)]! | (table[word & mask]! << 16);
				}
			};
		}
		default: {
			const { rms, ratio }: { rms: number; ratio?: number } = integerTypes[type];
			return (words: Uint32Array, seed: number, label: string) => {
				fillRandom(words, seed, label);
				const out = new Uint8Array(words.buffer, 0, 4 * words.length);
				const half = (at: number, value: number) => {
					const bits = toHalf(value);
					out[at] = bits;
					out[at + 1] = bits >>> 8;
				};
				for (let at = 0; at + blockBytes <= out.length; at += blockBytes) {
					const bits = out[at + scaleAt]!;
					const size = ([0.75, 1, 1, 1.25][bits & 3]! * deviation) / rms;
					// Without a minimum the integers reach one farther down than up. Scales of both signs balance that.
					half(at + scaleAt, ratio === undefined && bits & 4 ? -size : size);
					if (minimumAt !== undefined) half(at + minimumAt, size * ratio!);
				}
			};
		}
	}
}
