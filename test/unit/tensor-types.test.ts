// Compares the one table of tensor types (native/core/tensor_type_table.h) with what stands beside it in TypeScript.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { matrixTypes, tensorTypes } from '../../engine/gguf/tensor-types';
import { planTensors } from '../../engine/synth/architecture';
import { presets } from '../../engine/synth/presets';
import { otherShapes, shapes } from '../support/models';

const table = readFileSync(path.resolve(import.meta.dirname, '../../native/core/tensor_type_table.h'), 'utf8');

/** The rows of one list of the table. */
function rowsOf(list: string) {
	const text = new RegExp(`#define ${list}\\(ROW\\) *((?:.*\\\\\\n)*.*)`).exec(table)![1]!;
	return [...text.matchAll(/ROW\((\w+), +(\d+), +(\d+), +(\d+), +(-?\d+), +(-?\d+)\)/g)].map(([, name, ...numbers]) => {
		const [id, blockValues, blockBytes, scaleAt, minimumAt] = numbers.map(Number);
		return {
			...{ name: name!, id, blockValues, blockBytes },
			...(scaleAt! >= 0 && { scaleAt }),
			...(minimumAt! >= 0 && { minimumAt }),
		};
	});
}
const matrices = [...rowsOf('HEARTH_QUANTISED_TYPES'), ...rowsOf('HEARTH_FLOAT_TYPES')];
const others = rowsOf('HEARTH_OTHER_TYPES');

describe('the table of tensor types', () => {
	it('is read whole by this test', () => {
		expect(matrices.length + others.length).toBe(table.match(/^ {2}ROW\(/gm)!.length);
	});

	it('has in TypeScript the rows that it has in C++', () => {
		const rows = new Map([...matrices, ...others].map(({ name, ...row }) => [name, row]));
		for (const [name, row] of Object.entries(tensorTypes)) expect([name, row]).toEqual([name, rows.get(name)]);
	});

	it('has in TypeScript every type that a matrix may have, in the same order', () => {
		expect(matrixTypes).toEqual(matrices.map(({ name }) => name));
	});

	it('has no type of matrices that no test’s model has', () => {
		const models = [...Object.values(shapes), ...Object.values(otherShapes)];
		const used = models.flatMap((shape) =>
			planTensors({ ...presets.tiny.shape, ...shape }, 100).map(({ type }) => type),
		);
		expect(matrixTypes.filter((type) => !used.includes(type))).toEqual([]);
	});
});
