import { describe, expect, test } from 'vitest';
import { KvCache } from '../../../engine/runtime/kv-cache';
import { type Priority, Scheduler, type SchedulerOptions, type Sequence } from '../../../engine/runtime/scheduler';
import { seededRandom } from '../support/fake-native';

interface Job extends Sequence {
	name: string;
	tokens: number[];
	/** Tokens to generate. */
	want: number;
	generated: number;
	firstTokenAt?: number;
	doneAt?: number;
}

/** Runs a scheduler on a simulated clock. A step takes the time that `cost` gives, and every output is a new token. */
class Simulation {
	now = 0;
	readonly scheduler: Scheduler<Job>;
	readonly cache: KvCache;
	readonly steps: {
		start: number;
		end: number;
		prefillRows: number;
		decodeRows: number;
		rows: Map<string, number>;
		rounds: number;
	}[] = [];
	readonly #cost: (rows: number) => number;
	#serial = 1_000_000;

	constructor(cost: (rows: number) => number, options: Partial<SchedulerOptions> & { blocks?: number } = {}) {
		this.#cost = cost;
		this.cache = new KvCache({ blockCount: options.blocks ?? 4096, blockTokens: 16, copyBlock: () => {} });
		this.scheduler = new Scheduler<Job>({ cache: this.cache, contextTokens: 16_384, ...options });
	}

	job(name: string, priority: Priority, prompt: number, want: number): Job {
		const tokens = Array.from({ length: prompt }, () => this.#serial++);
		const job: Job = { name, priority, tokens, want, generated: 0, wantsOutput: want > 0 };
		this.scheduler.submit(job);
		return job;
	}

	/** Runs one step. False if there was nothing to run. */
	step(wanted = 1): boolean {
		const plan = this.scheduler.plan();
		if (!plan) return false;
		const rounds = this.scheduler.reserveRounds(plan, wanted);
		const start = this.now;
		const rows = new Map(plan.entries.map((entry) => [entry.sequence.name, entry.end - entry.start]));
		const total = plan.prefillRows + plan.decodeRows;
		expect(total).toBe([...rows.values()].reduce((sum, count) => sum + count, 0));
		expect(total).toBeGreaterThan(0);
		this.now += rounds * this.#cost(total);
		for (const entry of plan.entries) {
			for (let round = 1; round < rounds; round++, entry.end++) {
				expect(entry.lease.blocks.length * 16).toBeGreaterThan(entry.end);
				entry.sequence.tokens.push(this.#serial++);
				entry.sequence.generated++;
			}
		}
		this.scheduler.complete(plan, this.now - start);
		this.steps.push({ start, end: this.now, prefillRows: plan.prefillRows, decodeRows: plan.decodeRows, rows, rounds });
		for (const { sequence, output, end } of plan.entries) {
			if (output) {
				sequence.firstTokenAt ??= this.now;
				sequence.tokens.push(this.#serial++);
				sequence.generated++;
			}
			const done = sequence.wantsOutput ? sequence.generated === sequence.want : end === sequence.tokens.length;
			if (done) {
				sequence.doneAt = this.now;
				this.scheduler.remove(sequence);
			}
		}
		return true;
	}

	runUntil(condition: () => boolean): void {
		while (!condition()) expect(this.step()).toBe(true);
	}

	runAll(): void {
		while (this.step());
	}
}

const linear = (rows: number) => 20 + rows * 2;

describe('Scheduler', () => {
	test('decodes all running sequences in one step', () => {
		const simulation = new Simulation(linear);
		const jobs = Array.from({ length: 20 }, (_, i) => simulation.job(`s${i}`, 'chat', 10, 5));
		simulation.runAll();
		expect(jobs.every((job) => job.doneAt !== undefined)).toBe(true);
		expect(simulation.steps.filter((step) => step.decodeRows === 20).length).toBeGreaterThanOrEqual(3);
	});

	test('a completion starts with the next step of a long prefill, and its decode never waits for it', () => {
		const simulation = new Simulation(linear);
		const chat = simulation.job('chat', 'chat', 8000, 4);
		for (let i = 0; i < 5; i++) simulation.step();
		const completion = simulation.job('completion', 'completion', 60, 8);
		const before = simulation.steps.length;
		simulation.runUntil(() => completion.doneAt !== undefined);
		expect(simulation.steps[before]!.rows.get('completion')).toBe(60);
		expect(simulation.steps.length - before).toBe(8);
		expect(chat.firstTokenAt).toBeUndefined();
		// The chat went on meanwhile at a reduced rate.
		expect(simulation.steps.at(-1)!.rows.get('chat')).toBeGreaterThan(0);
		expect(simulation.steps.at(-1)!.rows.get('chat')).toBeLessThan(simulation.steps[before - 1]!.rows.get('chat')!);
	});

	test('prefill chunks settle at the latency budget, whatever a row costs', () => {
		for (const perRow of [1.5, 3, 6]) {
			const simulation = new Simulation((rows) => rows * perRow, { latencyBudget: 500 });
			simulation.job('long', 'chat', 12_000, 1);
			simulation.runAll();
			const settled = simulation.steps.slice(4, -1);
			for (const step of settled) {
				expect(step.end - step.start).toBeLessThan(550);
				expect(step.end - step.start).toBeGreaterThan(350);
			}
		}
	});

	test('chunks stay within their bounds on very fast and very slow machines', () => {
		const fast = new Simulation(() => 1);
		fast.job('p', 'chat', 8000, 1);
		fast.runAll();
		expect(Math.max(...fast.steps.map((step) => step.prefillRows))).toBe(512);
		const slow = new Simulation((rows) => rows * 1000);
		slow.job('p', 'chat', 2000, 1);
		slow.runAll();
		expect(Math.min(...slow.steps.slice(0, -1).map((step) => step.prefillRows))).toBe(64);
	});

	test('without a latency budget, prefill runs in the largest chunks from the first step', () => {
		const simulation = new Simulation(linear, { latencyBudget: Number.POSITIVE_INFINITY });
		simulation.job('p', 'benchmark', 1024, 1);
		simulation.runAll();
		expect(simulation.steps.map((step) => step.prefillRows)).toEqual([512, 512]);
	});

	test('equals share the prefill: a short prompt is not held up by a long one of its own class', () => {
		const simulation = new Simulation(linear);
		simulation.job('long', 'chat', 6000, 1);
		simulation.step();
		const short = simulation.job('short', 'chat', 100, 1);
		const before = simulation.steps.length;
		simulation.runUntil(() => short.doneAt !== undefined);
		expect(simulation.steps.length - before).toBeLessThanOrEqual(4);
	});

	test('classes go in order: completion, chat, benchmark, warm-up', () => {
		const simulation = new Simulation(linear);
		const warmup = simulation.job('warmup', 'warmup', 600, 0);
		const benchmark = simulation.job('benchmark', 'benchmark', 600, 1);
		const chat = simulation.job('chat', 'chat', 600, 1);
		const completion = simulation.job('completion', 'completion', 600, 1);
		simulation.runAll();
		const order = [completion, chat, benchmark, warmup].map((job) => job.doneAt!);
		expect(order).toEqual([...order].sort((a, b) => a - b));
		expect(new Set(order).size).toBe(4);
	});

	test('a warm-up uses idle steps only', () => {
		const simulation = new Simulation(linear);
		const chat = simulation.job('chat', 'chat', 50, 10);
		simulation.job('warmup', 'warmup', 500, 0);
		simulation.runUntil(() => chat.doneAt !== undefined);
		expect(simulation.steps.every((step) => !step.rows.has('warmup'))).toBe(true);
		simulation.runAll();
		expect(simulation.steps.some((step) => step.rows.has('warmup'))).toBe(true);
	});

	test('a sequence taken out in mid-prefill frees its blocks at once and keeps its tokens cached', () => {
		const simulation = new Simulation(linear);
		const job = simulation.job('gone', 'chat', 4000, 1);
		simulation.step();
		simulation.step();
		simulation.scheduler.remove(job);
		expect(simulation.cache.availableBlocks).toBe(simulation.cache.blockCount);
		expect(simulation.step()).toBe(false);
		const computed = simulation.steps.reduce((sum, step) => sum + step.prefillRows, 0);
		simulation.steps.length = 0;
		simulation.scheduler.submit({ ...job, name: 'again', tokens: [...job.tokens] });
		simulation.runAll();
		expect(simulation.steps.reduce((sum, step) => sum + step.prefillRows, 0)).toBe(4000 - computed);
	});

	test('when blocks run out, the less urgent is preempted, waits and then goes on without computing twice', () => {
		const simulation = new Simulation(linear, { blocks: 64, contextTokens: 1000 });
		const chat = simulation.job('chat', 'chat', 700, 20);
		simulation.runUntil(() => chat.generated === 5);
		const completion = simulation.job('completion', 'completion', 400, 3);
		simulation.runUntil(() => completion.doneAt !== undefined);
		expect(chat.generated).toBe(5);
		expect([...simulation.steps.at(-1)!.rows.keys()]).toEqual(['completion']);
		const before = simulation.steps.length;
		simulation.runAll();
		expect(chat.generated).toBe(20);
		const redone = simulation.steps.slice(before).reduce((sum, step) => sum + step.prefillRows, 0);
		expect(redone).toBeLessThan(700 - 16 * 30);
	});

	test('the younger of two equals gives way when both cannot grow', () => {
		const simulation = new Simulation(linear, { blocks: 12, contextTokens: 180 });
		const first = simulation.job('first', 'chat', 80, 60);
		const second = simulation.job('second', 'chat', 80, 60);
		simulation.runAll();
		expect(first.generated).toBe(60);
		expect(second.generated).toBe(60);
		expect(first.doneAt).toBeLessThan(second.doneAt!);
	});

	test('a full house of less urgent sequences does not keep a completion out', () => {
		const simulation = new Simulation(linear, { maxRunning: 4 });
		const jobs = Array.from({ length: 6 }, (_, i) => simulation.job(`b${i}`, 'benchmark', 20, 50));
		for (let i = 0; i < 3; i++) simulation.step();
		const completion = simulation.job('completion', 'completion', 20, 2);
		simulation.step();
		expect(completion.generated).toBe(1);
		simulation.runAll();
		expect(jobs.filter((job) => job.doneAt === undefined)).toEqual([]);
	});

	test('several rounds a step only where all decode and nobody waits', () => {
		const simulation = new Simulation(linear, { maxRunning: 3 });
		const last = () => simulation.steps.at(-1)!.rounds;
		const long = simulation.job('long', 'chat', 40, 100);
		simulation.step(8);
		expect(last()).toBe(1); // a prefill
		simulation.step(8);
		expect(last()).toBe(8);
		const second = simulation.job('second', 'chat', 40, 100);
		simulation.step(8);
		expect(last()).toBe(1);
		simulation.step(8);
		expect(last()).toBe(8);
		simulation.job('third', 'chat', 40, 100);
		simulation.job('waits', 'chat', 40, 5);
		simulation.step(8);
		simulation.step(8);
		expect([...simulation.steps.at(-1)!.rows.keys()]).toEqual(['long', 'second', 'third']);
		expect(last()).toBe(1);
		expect([long.generated, second.generated]).toEqual([20, 11]);
	});

	test("rounds take free and cached blocks, and nobody else's", () => {
		// There are 8 blocks of 16 positions. The first sequence fills 6 of them, and the two sequences then share the
		// others.
		const simulation = new Simulation(linear, { blocks: 8, contextTokens: 128 });
		const cached = simulation.job('cached', 'chat', 30, 1);
		simulation.runUntil(() => cached.doneAt !== undefined);
		simulation.job('first', 'chat', 92, 30);
		simulation.job('second', 'chat', 14, 10);
		simulation.step(8);
		const before = simulation.cache.usedBlocks;
		expect(before).toBe(8);
		// The first sequence is 3 tokens before the end of its block, the second one is 1 token before it.
		simulation.step(8);
		expect(simulation.steps.at(-1)!.rounds).toBe(4);
		expect([...simulation.steps.at(-1)!.rows.keys()]).toEqual(['first', 'second']);
	});

	test('refuses a prompt longer than the context, naming both', () => {
		const simulation = new Simulation(linear, { contextTokens: 100 });
		expect(() => simulation.job('p', 'chat', 100, 1)).toThrow('100 tokens, more than fit into the context of 100');
		simulation.job('p', 'chat', 99, 1);
	});

	test('the context is never larger than the cache', () => {
		const simulation = new Simulation(linear, { blocks: 4, contextTokens: 1000 });
		expect(simulation.scheduler.contextTokens).toBe(64);
	});

	test('refuses clearly when too many wait', () => {
		const simulation = new Simulation(linear, { maxRunning: 1, maxWaiting: 3 });
		for (let i = 0; i < 3; i++) simulation.job(`w${i}`, 'chat', 10, 1);
		expect(() => simulation.job('w3', 'chat', 10, 1)).toThrow('overloaded: 3 requests are waiting');
	});

	test.each([1, 2, 3, 4])('random loads under pressure all finish and leak nothing (seed %i)', (seed) => {
		const random = seededRandom(seed);
		const simulation = new Simulation(linear, { blocks: 40, contextTokens: 500, maxRunning: 6, maxWaiting: 1000 });
		const priorities: Priority[] = ['completion', 'chat', 'benchmark', 'warmup'];
		const jobs: Job[] = [];
		for (let i = 0; i < 200; i++) {
			const priority = priorities[Math.floor(random() * 4)]!;
			const prompt = 1 + Math.floor(random() * 400);
			const want = priority === 'warmup' ? 0 : 1 + Math.floor(random() * 60);
			const job = simulation.job(`j${i}`, priority, prompt, want);
			jobs.push(job);
			for (let s = Math.floor(random() * 6); s > 0; s--) simulation.step();
			if (random() < 0.15) {
				const victim = jobs[Math.floor(random() * jobs.length)]!;
				simulation.scheduler.remove(victim);
				victim.doneAt ??= -1;
			}
		}
		simulation.runAll();
		expect(jobs.filter((job) => job.doneAt === undefined)).toEqual([]);
		expect(simulation.cache.availableBlocks).toBe(40);
	});
});
