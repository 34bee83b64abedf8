// A system's limit on threads, reached at any moment of opening a model. Fewer threads or a clear error is the result,
// and nothing is left behind.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { runChild } from '../support/child';
import { makeModel, temporaryFolder } from '../support/models';
import { linux, needs } from '../support/needs';
import type { ThreadOutcome } from '../support/open-with-few-threads';

const folder = temporaryFolder();
const native = path.resolve(import.meta.dirname, '..', '..', 'native');

// Only Linux's loader has LD_PRELOAD.
test('a limit on threads at each thread that opening starts', needs(linux), async () => {
	const library = path.join(folder, 'few_threads.so');
	const source = path.join(native, 'test', 'preload', 'few_threads.cpp');
	const compiler = process.env['CXX'] ?? 'c++';
	await promisify(execFile)(compiler, ['-std=c++20', '-O1', '-shared', '-fPIC', source, '-o', library, '-ldl']);
	const file = await makeModel(folder, 'tiny');
	const child = await runChild('open-with-few-threads.ts', [file, '7'], '', { LD_PRELOAD: library });
	expect(child.code, child.stderr).toBe(0);
	const { outcomes, selfTest } = JSON.parse(child.stdout) as { outcomes: ThreadOutcome[]; selfTest: string | null };

	const without = `${file}: the system starts no more threads; close other programs or raise its limit (ulimit -u)`;
	expect(outcomes[0]!.error).toBe(without);
	expect(selfTest).toMatch(/^the self-test: the system starts no more threads/);
	const unlimited = outcomes.at(-1)!;
	expect(unlimited).toMatchObject({ error: null, threads: 4 });
	for (const [limit, { error, threads, logits, left }] of outcomes.entries()) {
		expect(left, `limit ${limit}`).toBe(0);
		if (error !== null) {
			expect(error, `limit ${limit}`).toBe(without);
			continue;
		}
		expect(threads, `limit ${limit}`).toBeGreaterThanOrEqual(1);
		expect(logits, `limit ${limit}`).toEqual(unlimited.logits);
	}
	// When the pool gets too few threads, it leaves one for the thread that runs the steps.
	const working = outcomes.filter(({ error }) => error === null);
	expect(working.filter(({ threads }) => threads < 4).length).toBeGreaterThan(0);
});
