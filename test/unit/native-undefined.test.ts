// Runs the kernels one by one, and steps of each architecture and tensor type, under clang's sanitizer of undefined
// behaviour. The first undefined operation ends the program.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../native/build.mjs';
import { clang } from '../support/metal';
import { makeModel, otherShapes, shapes, temporaryFolder } from '../support/models';
import { kernelSets, kernels, needs } from '../support/needs';

const run = promisify(execFile);
const programs = path.resolve(import.meta.dirname, '..', '..', 'dist', 'native', 'undefined');
const folder = temporaryFolder();
const models = { ...shapes, ...otherShapes };
/** The kernel sets whose files are compiled with the sanitizer (native/targets.mjs). */
const sanitized = kernelSets.filter((set) => ['portable', 'avx2', 'neon'].includes(set));

// The tests of Metal need the same clang.
describe('no undefined behaviour', needs(clang), () => {
	beforeAll(async () => {
		await buildNative({ undefinedBehaviour: true });
	});

	for (const set of sanitized) {
		test(`in the kernels of the set ${set}`, needs(kernels(set)), async () => {
			await run(path.join(programs, 'test_kernels'), [set]);
		});
	}

	test('in the thread pool', async () => {
		await run(path.join(programs, 'test_thread_pool'));
	});

	test.each(Object.keys(models) as (keyof typeof models)[])('in steps of %s', async (name) => {
		const runnable = sanitized.filter((set) => kernels(set).met);
		const file = await makeModel(folder, name.replaceAll(/\W+/g, '-'), { ...models[name], layers: 2 });
		const { stdout } = await run(path.join(programs, 'hash_logits'), [file, ...runnable]);
		expect(stdout.trim().split('\n')).toHaveLength(runnable.length);
	});
});
