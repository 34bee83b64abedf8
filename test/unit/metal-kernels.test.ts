// Compares every Metal kernel of the addon with plain references (native/test/metal/kernels) on the CPU: in every order
// of lanes, under the memory checker, and under the address and memory sanitizers.
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildMetalTests, metalModes } from '../../native/build-metal.mjs';
import { clang, runProgram } from '../support/metal';
import { needs } from '../support/needs';

describe('Metal kernels', needs(clang), () => {
	let programs: string;

	beforeAll(async () => {
		programs = await buildMetalTests({ programs: ['kernel_tests'] });
	});

	test.each(metalModes)('right in mode %s', async (mode) => {
		const { ok, output } = await runProgram(path.join(programs, mode, 'kernel_tests'), []);
		expect(output).toMatch(/^ok /m);
		expect(ok, output).toBe(true);
	});
});
