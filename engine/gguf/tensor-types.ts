// The types of tensors that can be written, and those that a matrix may have.

/**
 * The rows of native/core/tensor_type_table.h, which is the one table of types. Each row has ggml's id, the values and
 * the bytes of a block, and the places of the F16 scale and minimum in a block. A test compares the two tables. The
 * rows are repeated here so that the compiler can check that no code forgets a type.
 */
export const tensorTypes = {
	MXFP4: { id: 39, blockValues: 32, blockBytes: 17 },
	Q4_0: { id: 2, blockValues: 32, blockBytes: 18, scaleAt: 0 },
	Q4_1: { id: 3, blockValues: 32, blockBytes: 20, scaleAt: 0, minimumAt: 2 },
	Q5_0: { id: 6, blockValues: 32, blockBytes: 22, scaleAt: 0 },
	Q5_1: { id: 7, blockValues: 32, blockBytes: 24, scaleAt: 0, minimumAt: 2 },
	Q8_0: { id: 8, blockValues: 32, blockBytes: 34, scaleAt: 0 },
	Q4_K: { id: 12, blockValues: 256, blockBytes: 144, scaleAt: 0, minimumAt: 2 },
	Q5_K: { id: 13, blockValues: 256, blockBytes: 176, scaleAt: 0, minimumAt: 2 },
	Q6_K: { id: 14, blockValues: 256, blockBytes: 210, scaleAt: 208 },
	F16: { id: 1, blockValues: 1, blockBytes: 2 },
	BF16: { id: 30, blockValues: 1, blockBytes: 2 },
	F32: { id: 0, blockValues: 1, blockBytes: 4 },
	I64: { id: 27, blockValues: 1, blockBytes: 8 },
} as const satisfies Record<string, TensorTraits>;

export interface TensorTraits {
	id: number;
	blockValues: number;
	blockBytes: number;
	scaleAt?: number;
	minimumAt?: number;
}
export type TensorType = keyof typeof tensorTypes;

/**
 * The types of matrices that the native core multiplies. These are all types except I64, which holds the token ids of
 * draft heads.
 */
export type MatrixType = Exclude<TensorType, 'I64'>;
export const matrixTypes = (Object.keys(tensorTypes) as TensorType[]).filter(
	(type): type is MatrixType => type !== 'I64',
);
