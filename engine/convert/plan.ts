// The plan of a conversion: the GGUF's tensors, and the jobs that fill them from the folder's. Everything is checked
// while the plan is made. So a folder that cannot be converted is refused before a byte is written.
import { type TensorType, tensorTypes } from '../gguf/tensor-types';
import type { GgufFile, GgufValue, TensorShape } from '../gguf/writer';
import { decodeFloats, encodeFloats, type FloatType, isFloatType, repackMxfp4, type WeightType } from './rows';
import { elementBytes, readTensor, type SafeTensor, type SafetensorsFolder, shown } from './safetensors';

/** The type that matrices get. `keep` leaves them in the folder's type. */
export const WEIGHT_CHOICES = ['keep', 'f16', 'bf16', 'q8_0'] as const;
export type WeightChoice = (typeof WEIGHT_CHOICES)[number];

/** How many bytes a job reads at a time. */
const CHUNK_BYTES = 4 * 2 ** 20;
/** How many output rows are transposed together. That many cache lines stay in the cache. */
const TRANSPOSED_ROWS = 64;

/** Fills one or more of the file's tensors. */
export interface Job {
	/** The file that the job reads most of. Jobs that read different files run at the same time. */
	shard: string;
	run(output: GgufFile, signal: AbortSignal | undefined): Promise<void>;
}

/**
 * Which rows of a source tensor go into an output tensor. The source is read in units of `unit` rows. Each unit gives
 * the output the rows `take`, in that order.
 */
export interface RowOrder {
	unit: number;
	take: readonly number[];
}
export const IN_ORDER: RowOrder = { unit: 1, take: [0] };
/** gpt-oss interleaves the rows of gate and up. */
export const EVEN_ROWS: RowOrder = { unit: 2, take: [0] };
export const ODD_ROWS: RowOrder = { unit: 2, take: [1] };

/**
 * Reorders the rows of Q or K of one head. Hugging Face's rotary layout has the pairs (i, i + D/2). GGUFs of the
 * architecture `llama` have the interleaved pairs (2i, 2i + 1).
 */
export function interleavedHeads(headLength: number): RowOrder {
	const half = headLength / 2;
	return { unit: headLength, take: Array.from({ length: headLength }, (_, i) => (i % 2) * half + Math.floor(i / 2)) };
}

interface RowOutput {
	index: number;
	order: RowOrder;
	/** The output row that the first row becomes. Default: 0. */
	firstRow?: number;
}

export class Plan {
	readonly source: SafetensorsFolder;
	readonly #weights: WeightChoice;
	readonly metadata = new Map<string, GgufValue>();
	readonly tensors: TensorShape[] = [];
	readonly jobs: Job[] = [];
	readonly #used = new Set<string>();

	constructor(source: SafetensorsFolder, weights: WeightChoice) {
		this.source = source;
		this.#weights = weights;
	}

	has(name: string): boolean {
		return this.source.tensors.has(name);
	}

	/** A tensor of the folder. @throws naming the tensor where it is missing, or has another shape or element type. */
	take(name: string, shape: readonly number[], dtypes: readonly string[]): SafeTensor {
		const tensor = this.source.tensors.get(name);
		if (!tensor) throw new Error(`${this.source.folder} lacks the tensor ${name}`);
		if (tensor.shape.length !== shape.length || tensor.shape.some((length, i) => length !== shape[i])) {
			throw new Error(
				`${tensor.shard.file}: tensor ${name} has the shape [${tensor.shape.join(', ')}], but config.json asks for [${shape.join(', ')}]`,
			);
		}
		if (!dtypes.includes(tensor.dtype)) {
			throw new Error(
				`${tensor.shard.file}: tensor ${name} has the type ${shown(tensor.dtype)}; ${dtypes.join(', ')} can be converted`,
			);
		}
		this.#used.add(name);
		return tensor;
	}

	/** Plans a matrix [rows][columns]. Its type is `type`, or else the chosen one. */
	matrix(
		output: string,
		name: string,
		[rows, columns]: readonly [number, number],
		{ order = IN_ORDER, type }: { order?: RowOrder; type?: WeightType } = {},
	): void {
		const source = this.take(name, [rows, columns], ['F32', 'F16', 'BF16']);
		const written = type ?? this.#weightType(source, columns);
		this.#rows(source, columns, [{ index: this.#tensor(output, written, [columns, rows]), order }]);
	}

	/**
	 * Plans a stack of matrices [rows][columns]. Each is a tensor of its own in the folder; in the file they follow one
	 * another.
	 */
	stack(output: string, names: readonly string[], [rows, columns]: readonly [number, number]): void {
		const sources = names.map((name) => this.take(name, [rows, columns], ['F32', 'F16', 'BF16']));
		const index = this.#tensor(output, this.#weightType(sources[0]!, columns), [columns, rows, sources.length]);
		sources.forEach((source, n) => {
			this.#rows(source, columns, [{ index, order: IN_ORDER, firstRow: n * rows }]);
		});
	}

	/** Plans a norm, bias or other vector as F32. */
	vector(output: string, name: string, length: number, order: RowOrder = IN_ORDER): void {
		const source = this.take(name, [length], ['F32', 'F16', 'BF16']);
		const index = this.#tensor(output, 'F32', [length]);
		this.#rows(source, order === IN_ORDER ? length : 1, [{ index, order }]);
	}

	/**
	 * Plans the biases of a stack, [stack][rows], as F32. Where there are several outputs, each takes its part of the
	 * rows.
	 */
	stackedBias(
		name: string,
		[stack, rows]: readonly [number, number],
		outputs: { name: string; order: RowOrder }[],
	): void {
		const source = this.take(name, [stack, rows], ['F32', 'F16', 'BF16']);
		if (outputs.length === 1) {
			this.#rows(source, rows, [{ index: this.#tensor(outputs[0]!.name, 'F32', [rows, stack]), order: IN_ORDER }]);
			return;
		}
		this.#rows(
			source,
			1,
			outputs.map(({ name: output, order }) => ({
				index: this.#tensor(output, 'F32', [rows / order.unit, stack]),
				order,
			})),
		);
	}

	/** Plans a stack of MXFP4 matrices, [stack][rows][columns], from the folder's tensors `_blocks` and `_scales`. */
	mxfp4(
		name: string,
		[stack, rows, columns]: readonly [number, number, number],
		outputs: { name: string; order: RowOrder }[],
	): void {
		const blocksInRow = columns / 32;
		const blocks = this.take(`${name}_blocks`, [stack, rows, blocksInRow, 16], ['U8']);
		const scales = this.take(`${name}_scales`, [stack, rows, blocksInRow], ['U8']);
		const targets = outputs.map(({ name: output, order }) => ({
			index: this.#tensor(output, 'MXFP4', [columns, rows / order.unit, stack]),
			order,
		}));
		const unit = targets[0]!.order.unit;
		const step = Math.max(1, Math.floor(CHUNK_BYTES / (17 * blocksInRow * unit))) * unit;
		this.jobs.push({
			shard: blocks.shard.file,
			run: async (output, signal) => {
				const nibbles = new Uint8Array(step * blocksInRow * 16);
				const exponents = new Uint8Array(step * blocksInRow);
				const packed = new Uint8Array((step / unit) * blocksInRow * 17);
				for (let first = 0; first < stack * rows; first += step) {
					signal?.throwIfAborted();
					const count = Math.min(step, stack * rows - first);
					await Promise.all([
						readTensor(blocks, first * blocksInRow * 16, count * blocksInRow * 16, nibbles),
						readTensor(scales, first * blocksInRow, count * blocksInRow, exponents),
					]);
					for (const { index, order } of targets) {
						const made = (count / unit) * order.take.length;
						eachRow(order, count, (row, at) => {
							repackMxfp4(
								nibbles,
								row * blocksInRow * 16,
								exponents,
								row * blocksInRow,
								blocksInRow,
								packed,
								at * blocksInRow * 17,
							);
						});
						const start = (first / unit) * order.take.length * blocksInRow * 17;
						await output.write(index, start, packed.subarray(0, made * blocksInRow * 17));
					}
				}
			},
		});
	}

	/**
	 * Plans a stack of matrices that the folder keeps transposed, [stack][columns][rows]. gpt-oss without MXFP4 keeps
	 * them so.
	 */
	transposedStack(
		name: string,
		[stack, columns, rows]: readonly [number, number, number],
		outputs: { name: string; order: RowOrder }[],
	): void {
		const source = this.take(name, [stack, columns, rows], ['F32', 'F16', 'BF16']);
		const type = this.#weightType(source, columns);
		const dtype = source.dtype as FloatType;
		const size = elementBytes[dtype];
		const targets = outputs.map(({ name: output, order }) => ({
			index: this.#tensor(output, type, [columns, rows / order.unit, stack]),
			order,
		}));
		const matrixBytes = rows * columns * size;
		if (matrixBytes > MAX_MATRIX_BYTES) {
			throw new Error(
				`${source.shard.file}: a matrix of tensor ${name} takes ${matrixBytes} bytes, which is too much to transpose`,
			);
		}
		const rowBytes = bytesOfRow(type, columns);
		this.jobs.push({
			shard: source.shard.file,
			run: async (output, signal) => {
				const matrix = new Uint8Array(matrixBytes);
				const words = size === 2 ? new Uint16Array(matrix.buffer) : new Uint32Array(matrix.buffer);
				const stripe = words.slice(0, TRANSPOSED_ROWS * columns);
				const bytes = new Uint8Array(stripe.buffer);
				const floats = new Float32Array(columns);
				const encoded = new Uint8Array(TRANSPOSED_ROWS * rowBytes);
				for (let n = 0; n < stack; n++) {
					signal?.throwIfAborted();
					await readTensor(source, n * matrixBytes, matrixBytes, matrix);
					for (const { index, order } of targets) {
						const made = (rows / order.unit) * order.take.length;
						for (let first = 0; first < made; first += TRANSPOSED_ROWS) {
							const count = Math.min(TRANSPOSED_ROWS, made - first);
							for (let k = 0; k < columns; k++) {
								for (let r = 0; r < count; r++) {
									stripe[r * columns + k] = words[k * rows + sourceRow(order, first + r)]!;
								}
							}
							for (let r = 0; r < count; r++) {
								decodeFloats(dtype, bytes, r * columns * size, columns, floats);
								encodeFloats(type, floats, columns, encoded, r * rowBytes);
							}
							await output.write(index, (n * made + first) * rowBytes, encoded.subarray(0, count * rowBytes));
						}
					}
				}
			},
		});
	}

	/** Plans a tensor with the given values. */
	constant(output: string, type: 'F32' | 'I64', shape: number[], bytes: Uint8Array): void {
		const index = this.#tensor(output, type, shape);
		this.jobs.push({ shard: '', run: (file) => file.write(index, 0, bytes) });
	}

	/** Leaves out tensors that inference does not need. The folder may lack them. */
	ignore(pattern: RegExp): void {
		for (const name of this.source.tensors.keys()) if (pattern.test(name)) this.#used.add(name);
	}

	/** @throws naming the tensors of the folder that the plan neither takes nor leaves out. */
	finish(): void {
		const left = [...this.source.tensors.keys()].filter((name) => !this.#used.has(name));
		if (left.length === 0) return;
		const more = left.length > 3 ? ` and ${left.length - 3} more` : '';
		throw new Error(
			`${this.source.folder} holds tensors that this architecture does not have: ${left.slice(0, 3).map(shown).join(', ')}${more}`,
		);
	}

	/** The type that a matrix gets. Rows that Q8_0 cannot cut into blocks become F16, as in llama.cpp. */
	#weightType({ dtype }: SafeTensor, columns: number): WeightType {
		switch (this.#weights) {
			case 'keep':
				return dtype as FloatType;
			case 'q8_0':
				return columns % tensorTypes.Q8_0.blockValues === 0 ? 'Q8_0' : 'F16';
			case 'f16':
				return 'F16';
			case 'bf16':
				return 'BF16';
		}
	}

	/** Plans a job that writes rows of `columns` numbers of a source tensor into planned output tensors. */
	#rows(source: SafeTensor, columns: number, targets: RowOutput[]): void {
		const dtype = source.dtype;
		if (!isFloatType(dtype)) throw new Error(`tensor ${shown(source.name)} is no float tensor`);
		const rowBytes = columns * elementBytes[dtype];
		const rows = source.bytes / rowBytes;
		const unit = targets[0]!.order.unit;
		const step = Math.max(1, Math.floor(CHUNK_BYTES / (rowBytes * unit))) * unit;
		const types = targets.map(({ index }) => this.tensors[index]!.type as WeightType);
		this.jobs.push({
			shard: source.shard.file,
			run: async (output, signal) => {
				const raw = new Uint8Array(Math.min(step, rows) * rowBytes);
				const floats = new Float32Array(columns);
				const most = Math.max(...types.map((type) => bytesOfRow(type, columns)));
				const encoded = new Uint8Array(Math.min(step, rows) * most);
				for (let first = 0; first < rows; first += step) {
					signal?.throwIfAborted();
					const count = Math.min(step, rows - first);
					await readTensor(source, first * rowBytes, count * rowBytes, raw);
					for (const [t, { index, order, firstRow = 0 }] of targets.entries()) {
						const type = types[t]!;
						const bytes = bytesOfRow(type, columns);
						const made = (count / unit) * order.take.length;
						const start = (firstRow + (first / unit) * order.take.length) * bytes;
						if (type === dtype && order === IN_ORDER) {
							await output.write(index, start, raw.subarray(0, count * rowBytes));
							continue;
						}
						eachRow(order, count, (row, at) => {
							if (type === dtype) {
								encoded.set(raw.subarray(row * rowBytes, (row + 1) * rowBytes), at * bytes);
							} else {
								decodeFloats(dtype, raw, row * rowBytes, columns, floats);
								encodeFloats(type, floats, columns, encoded, at * bytes);
							}
						});
						await output.write(index, start, encoded.subarray(0, made * bytes));
					}
				}
			},
		});
	}

	#tensor(name: string, type: TensorType, shape: number[]): number {
		this.tensors.push({ name, type, shape });
		return this.tensors.length - 1;
	}
}

/** The most bytes of a matrix that is held in memory. gpt-oss-120b's largest matrix has 33 MB. */
const MAX_MATRIX_BYTES = 128 * 2 ** 20;

function bytesOfRow(type: TensorType, columns: number): number {
	const { blockValues, blockBytes } = tensorTypes[type];
	return (columns / blockValues) * blockBytes;
}

/** The source row that becomes output row `row`. */
function sourceRow(order: RowOrder, row: number): number {
	const each = order.take.length;
	return Math.floor(row / each) * order.unit + order.take[row % each]!;
}

/**
 * Calls `visit` for each output row that `count` source rows make.
 * @param visit gets the source row and the output row.
 */
function eachRow(order: RowOrder, count: number, visit: (row: number, at: number) => void): void {
	const made = (count / order.unit) * order.take.length;
	for (let at = 0; at < made; at++) visit(sourceRow(order, at), at);
}
