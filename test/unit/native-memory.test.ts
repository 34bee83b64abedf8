// A model takes memory, threads and files from the machine and gives them back: weights are mapped and not copied,
// threads end, files close.
import { statSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { runChild } from '../support/child';
import { makeModel, temporaryFolder } from '../support/models';
import { linux, needs } from '../support/needs';
import type { Held, Stage } from '../support/use-model';

const folder = temporaryFolder();
const MB = 2 ** 20;

// These tests read what Linux counts.
describe('a model of 100 MB and more', needs(linux), () => {
	let stages: Record<Stage, Held>;
	let fileBytes: number;

	beforeAll(async () => {
		const file = await makeModel(folder, 'large', {
			...{ layers: 4, embedding: 512, feedForward: 512, experts: 64, expertsUsed: 4 },
			...{ heads: 8, headsKv: 2, headLength: 64 },
		});
		fileBytes = statSync(file).size;
		expect(fileBytes).toBeGreaterThan(100 * MB);
		const child = await runChild('use-model.ts', [file]);
		expect(child.code, child.stderr).toBe(0);
		stages = JSON.parse(child.stdout);
	});

	test('loading maps the file and reads its header only', () => {
		const { start, loaded } = stages;
		expect(loaded.mappings).toBe(1);
		expect(loaded.ownBytes - start.ownBytes).toBeLessThan(8 * MB);
		// The kernel reads a little around each page that is touched.
		expect(loaded.mappedBytes - start.mappedBytes).toBeLessThan(8 * MB);
		expect(loaded.files).toBe(start.files);
	});

	test('use touches the mapped weights and copies none', () => {
		const { start, used } = stages;
		// 256 random rows choose every expert, so all weights are read.
		expect(used.mappedBytes - start.mappedBytes).toBeGreaterThan(0.8 * fileBytes);
		// The rest is activations of 256 rows (some MB) and the cache. A copy of the weights would take 100 MB.
		expect(used.ownBytes - start.ownBytes).toBeLessThan(0.3 * fileBytes);
	});

	test('weights in the faster layout take the place of those in the file', () => {
		const { start, used, repacked } = stages;
		const total = (held: Held) => held.ownBytes + held.mappedBytes - start.ownBytes - start.mappedBytes;
		// Kernel sets that have only one layout move nothing.
		expect(total(repacked) - total(used)).toBeLessThan(0.1 * fileBytes);
	});

	test('closing gives all back', () => {
		const { start, closed } = stages;
		expect(closed.mappings).toBe(0);
		expect(closed.mappedBytes - start.mappedBytes).toBeLessThan(8 * MB);
		expect(closed.ownBytes - start.ownBytes).toBeLessThan(32 * MB);
		expect(closed.threads).toBe(start.threads);
		expect(closed.files).toBe(start.files);
	});

	test('ten more times take no more', () => {
		const { closed, again } = stages;
		// Allocators keep some of what was freed. If a step's scratch were kept ten times, it would be far more.
		expect(again.ownBytes - closed.ownBytes).toBeLessThan(
			Math.max(32 * MB, 3 * (stages.used.ownBytes - stages.loaded.ownBytes)),
		);
		expect(again.mappings).toBe(0);
		expect(again.threads).toBe(closed.threads);
		expect(again.files).toBe(closed.files);
	});
});
