// `hearth bench --peer llama.cpp`: the process that measures llama.cpp runs on a small model.
import { beforeAll, expect, test } from 'vitest';
import { QUICK_TESTS } from '../../engine/benchmark/options';
import { peerRound, peerVersion } from '../../engine/benchmark/peer';
import { makeModel, temporaryFolder } from '../support/models';

const folder = temporaryFolder();
const { signal } = new AbortController();
const options = { tests: QUICK_TESTS, prompt: [40], generate: 5, batch: [3], length: 4 };
let model: string;

beforeAll(async () => {
	model = await makeModel(folder, 'small');
});

test('a round: load, first forward, prefill, decode, a batch, memory', async () => {
	const round = await peerRound({ model, threads: 2, options }, signal);
	expect(round.version).toBe(await peerVersion(signal));
	expect(round.version).toMatch(/\d/);
	expect(round.rows.map(({ test }) => test)).toEqual(['load', 'load+forward', 'forward', 'pp40', 'tg5', 'b3x4']);
	for (const { milliseconds } of round.rows) expect(milliseconds).toBeGreaterThan(0);
	expect(round.memory.peakBytes).toBeGreaterThanOrEqual(round.memory.averageBytes);
	expect(round.memory.averageBytes).toBeGreaterThan(1e7);
});

test('tests of no tokens are left out', async () => {
	const none = { tests: QUICK_TESTS, prompt: [0], generate: 0, batch: [0], length: 1 };
	const { rows } = await peerRound({ model, threads: 1, options: none }, signal);
	expect(rows.map(({ test }) => test)).toEqual(['load', 'load+forward', 'forward']);
});

test('a file that llama.cpp cannot load is one line', async () => {
	const failure = await peerRound({ model: `${model}.none`, threads: 1, options }, signal).catch(String);
	expect(failure).toMatch(/^Error: llama\.cpp: .+$/);
});

test('an aborted round ends at once', async () => {
	const controller = new AbortController();
	const round = peerRound({ model, threads: 2, options: { ...options, generate: 1_000_000 } }, controller.signal);
	setTimeout(() => controller.abort(), 500);
	await expect(round).rejects.toThrow(/abort/i);
});
