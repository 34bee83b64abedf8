import { describe, expect, test } from 'vitest';
import { KvCache, type Lease } from '../../../engine/runtime/kv-cache';
import { seededRandom } from '../support/fake-native';

/** A cache whose keys and values are the tokens themselves, so that every lease's content can be checked. */
function makeCache(blockCount: number, blockTokens: number) {
	const cells = Array.from({ length: blockCount }, () => new Array<number>(blockTokens).fill(-1));
	const cache = new KvCache({
		blockCount,
		blockTokens,
		copyBlock: (from, to, tokens) => {
			for (let i = 0; i < tokens; i++) cells[to]![i] = cells[from]![i]!;
		},
	});
	const compute = (lease: Lease, tokens: number[], end: number) => {
		for (let p = lease.length; p < end; p++) {
			cells[lease.blocks[Math.floor(p / blockTokens)]!]![p % blockTokens] = tokens[p]!;
		}
		cache.commit(lease, tokens, end);
	};
	const content = (lease: Lease) =>
		Array.from({ length: lease.length }, (_, p) => cells[lease.blocks[Math.floor(p / blockTokens)]!]![p % blockTokens]);
	/** Runs a whole request and returns how many tokens were reused. */
	const run = (tokens: number[]) => {
		const lease = cache.acquire(tokens)!;
		const reused = lease.length;
		expect(content(lease)).toEqual(tokens.slice(0, reused));
		compute(lease, tokens, tokens.length);
		expect(content(lease)).toEqual(tokens);
		cache.release(lease, tokens);
		return reused;
	};
	return { cache, cells, compute, content, run };
}

const range = (start: number, end: number) => Array.from({ length: end - start }, (_, i) => start + i);

describe('KvCache', () => {
	test('reuses an exact prefix, whole blocks and the part of one', () => {
		const { run } = makeCache(32, 4);
		expect(run(range(0, 10))).toBe(0);
		expect(run(range(0, 14))).toBe(10);
		expect(run([...range(0, 6), 99, 98])).toBe(6);
	});

	test('always leaves the last token to compute', () => {
		const { run } = makeCache(32, 4);
		run(range(0, 8));
		expect(run(range(0, 8))).toBe(7);
		expect(run([0])).toBe(0);
	});

	test('an edit in the middle recomputes from the first changed token only', () => {
		const { run } = makeCache(64, 4);
		const file = range(100, 160);
		run(file);
		const edited = [...file.slice(0, 37), 7, ...file.slice(37)];
		expect(run(edited)).toBe(37);
		expect(run(file)).toBe(59);
	});

	test('typing does not fill the cache with unfinished blocks', () => {
		const { cache, run } = makeCache(64, 8);
		for (let length = 1; length <= 40; length++) run(range(0, length));
		expect(cache.usedBlocks).toBe(5);
	});

	test('two sequences that compute the same prefix at once end up sharing it', () => {
		const { cache, compute, content } = makeCache(16, 4);
		const tokens = range(0, 9);
		const [first, second] = [cache.acquire(tokens)!, cache.acquire(tokens)!];
		compute(first, tokens, 9);
		expect(cache.advance(second, tokens, 8)).toBe(8);
		compute(second, tokens, 9);
		expect(second.blocks.slice(0, 2)).toEqual(first.blocks.slice(0, 2));
		expect(content(second)).toEqual(tokens);
		expect(cache.availableBlocks).toBe(16 - 4);
	});

	test('evicts the least recently used, never what is leased', () => {
		const { cache, run } = makeCache(6, 4);
		const [a, b, c] = [range(0, 8), range(100, 108), range(200, 208)];
		run(a);
		run(b);
		run(c);
		run(a.concat(1)); // `a` is recent now; one more block is needed, and it comes from the end of `b`
		expect(run(b)).toBe(4);
		const held = cache.acquire(range(300, 316))!;
		expect(cache.acquire(range(400, 412))).toBeUndefined();
		expect(cache.availableBlocks).toBe(2);
		cache.release(held, range(300, 316));
		expect(cache.availableBlocks).toBe(6);
	});

	test('a refused lease changes nothing', () => {
		const { cache, run, compute, content } = makeCache(4, 4);
		const tokens = range(0, 8);
		const held = cache.acquire(tokens)!;
		compute(held, tokens, 8);
		run(range(50, 58));
		expect(cache.acquire(range(50, 70))).toBeUndefined();
		expect(cache.acquire([...tokens, ...range(70, 82)])).toBeUndefined();
		expect(content(held)).toEqual(tokens);
		cache.release(held, tokens);
		expect(run(range(50, 58))).toBe(7);
	});

	test('a request that fits only without a copy gets its blocks', () => {
		const { run } = makeCache(4, 4);
		run(range(0, 16));
		expect(run(range(0, 16))).toBe(12);
	});

	test('rejected drafts leave no trace', () => {
		const { cache, cells, compute, content } = makeCache(8, 4);
		const tokens = range(0, 6);
		const lease = cache.acquire(tokens)!;
		compute(lease, tokens, 6);
		cache.grow(lease, 10);
		for (let p = 6; p < 10; p++) cells[lease.blocks[Math.floor(p / 4)]!]![p % 4] = 999;
		const accepted = [...tokens, 50, 51, 52];
		cache.commit(lease, tokens, 6);
		compute(lease, accepted, 9);
		expect(content(lease)).toEqual(accepted);
	});

	test('forgets one conversation, keeps what others share', () => {
		const { cache, run } = makeCache(32, 4);
		const system = range(0, 8);
		const one = [...system, ...range(100, 110)];
		const two = [...system, ...range(200, 210)];
		run(one);
		run(two);
		cache.forget(one);
		expect(run([...two, 1])).toBe(18);
		expect(run([...one, 1])).toBe(8);
	});

	test.each([1, 2, 3])('random requests reuse exactly the longest prefix ever seen (seed %i)', (seed) => {
		const random = seededRandom(seed);
		const { run } = makeCache(20_000, 4);
		const history: number[][] = [];
		for (let i = 0; i < 300; i++) {
			const base = history[Math.floor(random() * history.length)] ?? [];
			const kept = base.slice(0, Math.floor(random() * (base.length + 1)));
			const tokens = [
				...kept,
				...Array.from({ length: 1 + Math.floor(random() * 12) }, () => Math.floor(random() * 3)),
			];
			const longest = Math.max(0, ...history.map((old) => commonPrefix(old, tokens)));
			expect(run(tokens)).toBe(Math.min(longest, tokens.length - 1));
			history.push(tokens);
		}
	});

	test.each([4, 5, 6])('random concurrent leases under pressure keep their content (seed %i)', (seed) => {
		const random = seededRandom(seed);
		const { cache, compute, content } = makeCache(24, 4);
		const live: { lease: Lease; tokens: number[] }[] = [];
		let refused = 0;
		for (let i = 0; i < 3000; i++) {
			const pick = live[Math.floor(random() * live.length)];
			const dice = random();
			if (dice < 0.3 || !pick) {
				const tokens = Array.from({ length: 1 + Math.floor(random() * 30) }, () => Math.floor(random() * 2));
				const lease = cache.acquire(tokens);
				if (lease) live.push({ lease, tokens });
				else refused++;
			} else if (dice < 0.8) {
				if (pick.lease.length === pick.tokens.length) pick.tokens.push(Math.floor(random() * 2));
				if (cache.grow(pick.lease, pick.tokens.length)) {
					cache.advance(pick.lease, pick.tokens, pick.tokens.length - 1);
					const pending = pick.tokens.length - pick.lease.length;
					compute(pick.lease, pick.tokens, pick.lease.length + 1 + Math.floor(random() * pending));
				} else {
					pick.tokens.pop();
				}
			} else {
				cache.release(pick.lease, pick.tokens);
				live.splice(live.indexOf(pick), 1);
			}
			for (const { lease, tokens } of live) expect(content(lease)).toEqual(tokens.slice(0, lease.length));
		}
		for (const { lease, tokens } of live) cache.release(lease, tokens);
		expect(refused).toBeGreaterThan(0);
		expect(cache.availableBlocks).toBe(24);
		// No block is lost: one sequence can have all of them.
		expect(cache.acquire(Array.from({ length: 96 }, () => 7))?.blocks.length).toBe(24);
	});
});

function commonPrefix(a: number[], b: number[]): number {
	let length = 0;
	while (length < a.length && length < b.length && a[length] === b[length]) length++;
	return length;
}
