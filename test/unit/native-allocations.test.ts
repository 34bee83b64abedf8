// Memory runs out at any moment of the native core's work. The work under way then fails with an error, and the process
// never ends.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../native/build.mjs';
import { loadNative } from '../../native/index';
import { makeDraftHead } from '../support/draft-head';
import { makeModel, temporaryFolder } from '../support/models';

const run = promisify(execFile);
const programs = path.resolve(import.meta.dirname, '..', '..', 'dist', 'native');
const folder = temporaryFolder();

beforeAll(async () => {
	await buildNative({ tests: true });
});

describe('allocations that fail while a model is opened, computes, drafts and repacks', () => {
	const small = { layers: 4, embedding: 64, feedForward: 64, heads: 4, headsKv: 2, headLength: 32 } as const;
	const experts = { ...small, experts: 4, expertsUsed: 2 };

	// The reference kernels allocate for each row of each product, so only some of their allocations fail. With the other
	// kernels each allocation fails once.
	test.each([
		['gpt-oss', 'auto', 1500],
		['gpt-oss', 'portable', 300],
		['gpt-oss', 'reference', 60],
		['qwen3', 'auto', 1500],
	] as const)(
		'%s, kernels %s: an error or the same bits, and what follows is right',
		async (architecture, set, most) => {
			const file = await makeModel(folder, `allocations-${architecture}`, { ...experts, architecture });
			const { stdout } = await run(path.join(programs, 'test_allocation_failures'), [file, set, String(most)]);
			expect(stdout).toMatch(/^\d\d+ of \d+ allocations failed/);
		},
	);

	test('with a draft head', async () => {
		const target = await makeModel(folder, 'allocations-target', experts);
		const model = await loadNative().openModel(target, { threads: 1 });
		const { vocabularySize } = model.info;
		model.close();
		const head = await makeDraftHead(folder, target, { embedding: 64, vocabulary: vocabularySize });
		const { stdout } = await run(path.join(programs, 'test_allocation_failures'), [target, 'auto', '2000', head]);
		expect(stdout).toMatch(/^\d\d+ of \d+ allocations failed/);
	});
});
