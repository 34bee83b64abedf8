import { describe, expect, it } from 'vitest';
import { DraftRecord, MAX_DRAFT, StepCost } from '../../../engine/speculation/draft-length';
import { LookupIndex, PromptLookup } from '../../../engine/speculation/prompt-lookup';

function lookup(tokens: number[]): LookupIndex {
	const source = new LookupIndex();
	source.update(tokens);
	return source;
}

/** The definition without an index. The longest match of at least 3 tokens wins, and the latest one among equals. */
function naive(tokens: number[], limit: number): number[] {
	let best = -1;
	let bestLength = 2;
	for (let position = tokens.length - 1; position >= 3; position--) {
		let length = 0;
		while (length < 64 && length < position && tokens[position - 1 - length] === tokens[tokens.length - 1 - length])
			length++;
		if (length > bestLength) {
			best = position;
			bestLength = length;
		}
	}
	if (best < 0) return [];
	const all = [...tokens];
	for (let i = 0; i < limit; i++) all.push(all[best + i]!);
	return all.slice(tokens.length);
}

describe('prompt lookup', () => {
	it('proposes what followed the longest earlier match', () => {
		expect(lookup([1, 2, 3, 4, 5, 9, 2, 3, 4, 6, 7, 1, 2, 3, 4]).propose(2)).toEqual([5, 9]);
	});

	it('prefers the latest of equal matches', () => {
		expect(lookup([1, 2, 3, 8, 0, 1, 2, 3, 9, 0, 1, 2, 3]).propose(1)).toEqual([9]);
	});

	it('goes on through its own draft where the match overlaps the end', () => {
		expect(lookup([7, 1, 2, 1, 2, 1, 2, 1]).propose(5)).toEqual([2, 1, 2, 1, 2]);
	});

	it('proposes nothing without a match of three tokens', () => {
		expect(lookup([1, 2, 9, 3, 1, 2]).propose(4)).toEqual([]);
		expect(lookup([]).propose(4)).toEqual([]);
		expect(lookup([1, 2, 3, 1, 2, 3]).propose(0)).toEqual([]);
	});

	it('tells how well founded a draft is before it makes it', () => {
		const source = new PromptLookup();
		const ground = (shared: number) => {
			const text = Array.from({ length: shared }, (_, i) => 100 + i);
			return source.ground({ tokens: [1, ...text, 2, 3, 4, ...text] });
		};
		expect(ground(2)).toBeUndefined();
		const kinds = [3, 4, 6, 10, 16, 32, 64].map((shared) => ground(shared)!);
		expect(new Set(kinds.map(({ kind }) => kind)).size).toBe(7);
		expect(kinds.map(({ prior }) => prior)).toEqual(kinds.map(({ prior }) => prior).sort());
		expect(ground(15)).toEqual(ground(10));
	});

	describe('behind a change in what is being copied', () => {
		const original = Array.from({ length: 60 }, (_, i) => 100 + i);
		/** A sequence that copies its first ten tokens, is asked for drafts on the way, and then goes on with `changed`. */
		const copied = (changed: number[]) => {
			const source = new PromptLookup();
			const tokens = [...original, 7, ...original.slice(0, 6)];
			const sequence = { tokens };
			for (const token of [...original.slice(6, 10), ...changed]) {
				source.ground(sequence);
				tokens.push(token);
			}
			const next = () => source.propose([{ sequence, limit: 3, blocks: [] }])[0];
			return { ground: source.ground(sequence), next };
		};

		it('two tokens are enough to go on near there', () => {
			for (const changed of [
				[50, 51, 111, 112],
				[50, 113, 114],
				[50, 108, 109],
			]) {
				const { ground, next } = copied(changed);
				expect(ground).toMatchObject({ near: true, tokens: 2 });
				expect(next()).toEqual([1, 2, 3].map((i) => changed.at(-1)! + i));
			}
		});

		it('one is not, and two that stand far away are not', () => {
			expect(copied([50, 51, 112]).ground).toBeUndefined();
			expect(copied([50, 51, 140, 141]).ground).toBeUndefined();
		});

		it('guesses are better founded than elsewhere', () => {
			const near = copied([50, 111, 112, 113]).ground!;
			const far = new PromptLookup().ground({ tokens: [...original, 50, 111, 112, 113] })!;
			expect(near.kind).not.toBe(far.kind);
			expect(near.prior).toBeGreaterThan(far.prior);
		});
	});

	it('agrees with the definition on random text, however the text arrived', () => {
		let state = 1;
		const random = (below: number) => {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			return Math.floor((state / 2 ** 32) * below);
		};
		for (let round = 0; round < 200; round++) {
			const source = new LookupIndex();
			const tokens: number[] = [];
			for (let i = 0; i < 60; i++) {
				tokens.push(random(4));
				if (random(3) === 0) source.update(tokens);
			}
			source.update(tokens);
			// The naive search has no limit of 24 candidates. With four different tokens, a text of 60 rarely has more.
			const expected = naive(tokens, 6);
			expect(source.propose(6)).toEqual(expected);
		}
	});
});

describe('draft length', () => {
	const flat = (): StepCost => {
		const cost = new StepCost();
		for (let rows = 1; rows <= MAX_DRAFT + 1; rows++) cost.observe(rows, 10);
		return cost;
	};
	const record = (accepted: number, of: number): DraftRecord => {
		const made = new DraftRecord();
		for (let i = 0; i < 100; i++) made.observe(of, accepted);
		return made;
	};

	it('drafts as far as it may where rows are free and drafts are right', () => {
		expect(record(8, 8).best(flat(), 0, 8).length).toBe(8);
		expect(record(8, 8).best(flat(), 0, 99).length).toBe(MAX_DRAFT);
	});

	it('drafts nothing where drafts are wrong, and tries one now and then', () => {
		const wrong = record(0, 4);
		const cost = new StepCost();
		const lengths = Array.from({ length: 64 }, () => {
			const { length } = wrong.best(cost, 0, 8);
			if (length > 0) wrong.observe(length, 0);
			return length;
		});
		expect(lengths.filter((length) => length === 0).length).toBe(60);
		expect(lengths.filter((length) => length === 1).length).toBe(4);
	});

	it('drafts little where each row costs as much as a step', () => {
		const linear = new StepCost();
		for (let rows = 1; rows <= 32; rows++) linear.observe(rows, 10 * rows);
		expect(record(3, 4).best(linear, 0, 8).length).toBe(0);
	});

	it('learns apart what drafts of each ground are worth', () => {
		const [weak, strong] = [
			{ kind: 0, prior: 0.7 },
			{ kind: 1, prior: 0.7 },
		];
		const made = new DraftRecord();
		for (let i = 0; i < 50; i++) {
			made.observe(4, 0, weak);
			made.observe(4, 4, strong);
		}
		const cost = new StepCost();
		expect(made.best(cost, 0, 32, undefined, weak).length).toBe(0);
		expect(made.best(cost, 0, 32, undefined, strong).length).toBeGreaterThan(8);
	});

	it('drafts less the more others share the step', () => {
		const cost = new StepCost();
		const good = record(9, 10);
		const alone = good.best(cost, 0, 8).length;
		const crowded = good.best(cost, 12, 8).length;
		expect(alone).toBeGreaterThan(0);
		expect(crowded).toBeLessThanOrEqual(alone);
	});

	it('takes the price of a length that was not measured from the nearest that was', () => {
		const cost = new StepCost();
		cost.observe(1, 100);
		const cheap = cost.estimate(33);
		cost.observe(40, 5 * cost.estimate(40));
		expect(cost.estimate(33)).toBeCloseTo(5 * cheap, 5);
		expect(cost.estimate(2) / cost.estimate(1)).toBeLessThan(2);
	});

	it('chooses among few lengths, and the limit', () => {
		const cost = flat();
		const chosen = new Set(Array.from({ length: 80 }, (_, limit) => record(8, 8).best(cost, 0, limit).length));
		expect([...chosen]).toEqual(Array.from({ length: MAX_DRAFT + 1 }, (_, i) => i));
		const lengths = new Set<number>();
		for (let rate = 50; rate < 100; rate++) {
			const made = new DraftRecord();
			made.observe(1, 1, { kind: 0, prior: rate / 100 });
			lengths.add(made.best(new StepCost(), 0, 1000, undefined, { kind: 0, prior: rate / 100 }).length);
		}
		expect([...lengths].every((length) => [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64].includes(length))).toBe(true);
		expect(lengths.size).toBeGreaterThan(3);
	});

	it('follows measurements', () => {
		const cost = new StepCost();
		const before = cost.estimate(4) / cost.estimate(1);
		for (let i = 0; i < 50; i++) {
			cost.observe(1, 100);
			cost.observe(4, 110);
		}
		expect(cost.estimate(1)).toBeCloseTo(100, 5);
		expect(cost.estimate(4) / cost.estimate(1)).toBeLessThan(before);
	});
});
