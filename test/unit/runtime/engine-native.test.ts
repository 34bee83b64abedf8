// The engine on the real addon. Whatever runs beside a request, and whatever is cached, the request gets the tokens
// that it gets alone.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type OpenedModel, openModel } from '../../../engine/loading/open-model';
import { Engine } from '../../../engine/runtime/engine';
import type { DraftSource } from '../../../engine/speculation/draft-source';
import { synthesize } from '../../../engine/synth/synthesize';
import type { NativeModel, Sampling } from '../../../native/index';
import { claimingSpeed } from '../../support/rounds';
import { seededRandom } from '../support/fake-native';

const directory = mkdtempSync(path.join(os.tmpdir(), 'hearth-engine-'));
const file = path.join(directory, 'tiny.gguf');
let alone: OpenedModel;

beforeAll(async () => {
	await synthesize(file, { preset: 'tiny', seed: 3 });
	alone = await openModel(file, { contextTokens: 512, threads: 1, speculation: false });
});

afterAll(async () => {
	await alone.engine.close();
	rmSync(directory, { recursive: true, force: true });
});

interface Job {
	prompt: number[];
	count: number;
	sampling: Sampling;
}

/** The tokens that a job gets from an engine that runs nothing else and has nothing cached. */
async function expected({ prompt, count, sampling }: Job): Promise<number[]> {
	const result = await alone.engine.generate({ tokens: prompt, priority: 'chat', maxTokens: count, sampling });
	alone.engine.forget([...prompt, ...result.tokens]);
	expect(result.cachedTokens).toBe(0);
	return result.tokens;
}

describe('Engine on the native addon', () => {
	test.each([1, 2])(
		'random loads with shared prefixes, preemption and cancels: equal tokens (seed %i)',
		async (seed) => {
			const random = seededRandom(seed);
			const crowded = await openModel(file, {
				contextTokens: 512,
				cacheTokens: 1024,
				maxRunning: 6,
				latencyBudget: 5,
				threads: 2,
			});
			try {
				const { vocabularySize } = crowded.engine.info;
				const bases: number[][] = [Array.from({ length: 300 }, () => Math.floor(random() * vocabularySize))];
				const jobs: Job[] = [];
				const running: Promise<number[] | undefined>[] = [];
				let cached = 0;
				for (let i = 0; i < 40; i++) {
					const base = bases[Math.floor(random() * bases.length)]!;
					const prompt = base.slice(0, Math.floor(random() * 300));
					for (let more = 1 + Math.floor(random() * 60); more > 0; more--)
						prompt.push(Math.floor(random() * vocabularySize));
					bases.push(prompt);
					const sampling = { temperature: i % 2, topK: 0, topP: 0.95, minP: 0, seed: i };
					const job: Job = { prompt, count: 1 + Math.floor(random() * 30), sampling };
					jobs.push(job);
					const controller = new AbortController();
					running.push(
						crowded.engine
							.generate({
								tokens: prompt,
								priority: (['completion', 'chat', 'benchmark'] as const)[i % 3]!,
								maxTokens: job.count,
								sampling,
								signal: controller.signal,
							})
							.then((result) => {
								cached += result.cachedTokens;
								return result.tokens;
							}),
					);
					if (i % 7 === 6) setTimeout(() => controller.abort(), random() * 20);
					if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, random() * 20));
				}
				const results = await Promise.all(running);
				for (const [i, job] of jobs.entries()) {
					const tokens = await expected(job);
					const wanted = i % 7 === 6 ? tokens.slice(0, results[i]!.length) : tokens;
					expect(results[i]).toEqual(wanted);
				}
				// How many tokens were cached in time depends on the machine. The last prompt's tokens are cached for certain.
				const { prompt } = jobs.at(-1)!;
				await crowded.engine.generate({ tokens: prompt, priority: 'chat', maxTokens: 0 });
				const again = await crowded.engine.generate({ tokens: prompt, priority: 'chat', maxTokens: 1 });
				expect(cached + again.cachedTokens).toBeGreaterThanOrEqual(prompt.length - 32);
			} finally {
				await crowded.engine.close();
			}
		},
	);

	test('drafts, right, wrong and half right, change no token, greedy or sampled', async () => {
		const random = seededRandom(9);
		const { vocabularySize } = alone.engine.info;
		const jobs: Job[] = Array.from({ length: 12 }, (_, i) => ({
			prompt: Array.from({ length: 1 + Math.floor(random() * 90) }, () => Math.floor(random() * vocabularySize)),
			count: 40,
			sampling: { temperature: i % 3 === 0 ? 0 : 1, topK: i % 4 === 0 ? 20 : 0, topP: 0.95, minP: 0, seed: i },
		}));
		const answers: number[][] = [];
		for (const job of jobs) answers.push(await expected(job));
		// This source knows every answer and spoils about one token in five.
		const oracle: DraftSource = {
			propose: async (requests) =>
				requests.map(({ sequence, limit }) => {
					const known = sequence.tokens;
					const job = jobs.findIndex(({ prompt }) => prompt.every((token, i) => token === known[i]));
					const done = known.length - jobs[job]!.prompt.length;
					return answers[job]!.slice(done, done + limit).map((token) =>
						random() < 0.2 ? Math.floor(random() * vocabularySize) : token,
					);
				}),
		};
		// To the engine, rows of a draft seem to cost nothing.
		const instrument = claimingSpeed([], 20);
		const drafting = await openModel(file, {
			...{ contextTokens: 512, cacheTokens: 4096 },
			...{ draftSources: [oracle], instrument },
		});
		try {
			const total = { proposed: 0, accepted: 0 };
			const run = async ({ prompt, count, sampling }: Job, priority: 'chat' | 'completion') => {
				const result = await drafting.engine.generate({ tokens: prompt, priority, maxTokens: count, sampling });
				total.proposed += result.drafts.proposed;
				total.accepted += result.drafts.accepted;
				return result.tokens;
			};
			for (const [i, job] of jobs.entries()) expect(await run(job, 'chat')).toEqual(answers[i]);
			expect(total.accepted).toBeGreaterThan(50);
			expect(total.proposed).toBeGreaterThan(total.accepted);
			// All jobs run again, two at a time, with what is cached by now.
			for (let i = 0; i < jobs.length; i += 2) {
				const pair = await Promise.all([run(jobs[i]!, 'completion'), run(jobs[i + 1]!, 'chat')]);
				expect(pair).toEqual([answers[i], answers[i + 1]]);
			}
		} finally {
			await drafting.engine.close();
		}
	});
});

test('a model that finds no memory for its cache closes the model that was opened to draft for it', async () => {
	const close = vi.spyOn(Engine.prototype, 'close');
	const withoutMemory = (model: NativeModel): NativeModel => ({
		...model,
		createCache: () => {
			throw new Error('no memory for the cache');
		},
	});
	const options = { contextTokens: 64, threads: 1, draftModelPath: file, instrument: withoutMemory };
	await expect(openModel(file, options)).rejects.toThrow('no memory for the cache');
	expect(close).toHaveBeenCalledOnce();
	await close.mock.results[0]!.value;
	close.mockRestore();
});
