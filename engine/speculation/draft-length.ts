// Chooses how many tokens to draft. Two measurements decide: how long a step of n rows takes on this machine, and how
// often drafts of this sequence were right. Verifying more rows of a mixture of experts reads more experts, so drafts
// are not free. In gpt-oss, 2 rows read 1.4 times, 4 rows 2.1 times and 8 rows 3.1 times the bytes of one row.

import type { DraftGround } from './draft-source';

/**
 * The lengths to choose from. They are few, so that the cost of each is soon known. The longest pay on processors with
 * arithmetic to spare.
 */
const LENGTHS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
export const MAX_DRAFT = LENGTHS.at(-1)!;

/** The weight of the newest observation in the moving averages of cost and acceptance. */
const COST_WEIGHT = 0.1;
const ACCEPTANCE_WEIGHT = 0.05;
/**
 * The cost of a step before any was measured: the bytes that n rows read ÷ those of one row (gpt-oss with 4 of 32
 * experts).
 */
const ROW_COST = (rows: number) => 0.51 + 0.49 * 8 * (1 - 0.875 ** rows);

/**
 * Learns how many milliseconds something takes by a count. A prior gives the curve's shape, and measurements give its
 * height at some counts.
 */
class MeasuredCost {
	readonly prior: (count: number) => number;
	readonly unmeasured: number;
	/** Measured milliseconds ÷ prior, by count. A count that was not measured takes the ratio of the nearest one. */
	readonly #ratios = new Map<number, number>();

	constructor(prior: (count: number) => number, unmeasured: number) {
		this.prior = prior;
		this.unmeasured = unmeasured;
	}

	observe(count: number, milliseconds: number): void {
		if (count < 1 || !(milliseconds > 0)) return;
		const ratio = milliseconds / this.prior(count);
		const old = this.#ratios.get(count) ?? ratio;
		this.#ratios.set(count, old + COST_WEIGHT * (ratio - old));
	}

	/** The estimate in milliseconds. It is undefined before the first measurement. */
	milliseconds(count: number): number | undefined {
		return this.#ratios.size === 0 ? undefined : this.estimate(count);
	}

	/** The estimate in milliseconds, and in an arbitrary unit before the first measurement. */
	estimate(count: number): number {
		return (this.#ratios.get(count) ?? this.#nearest(count)) * this.prior(count);
	}

	#nearest(count: number): number {
		let nearest = this.unmeasured;
		let least = Number.POSITIVE_INFINITY;
		for (const [measured, ratio] of this.#ratios) {
			const distance = Math.abs(Math.log(measured / count));
			if (distance < least) [nearest, least] = [ratio, distance];
		}
		return nearest;
	}
}

/**
 * How long a decode step takes by its number of rows. It is learned from steps without prefill rows. All sequences
 * share it.
 */
export class StepCost extends MeasuredCost {
	constructor() {
		super(ROW_COST, 1);
	}
}

/**
 * How long drafting takes by the draft's length, with one pass a token. It is 0 before the first measurement, so that
 * drafts are tried.
 */
export class DraftCost extends MeasuredCost {
	constructor() {
		super((length) => length, 0);
	}
}

/** The best draft length and the speed that it promises. */
interface DraftChoice {
	/** It is 0 where no draft pays. */
	length: number;
	/** The expected tokens a millisecond of the whole step, those of other sequences included. */
	rate: number;
}

/**
 * The ground of all drafts of a source that does not tell its drafts apart. Its prior is high, so that drafts are
 * tried.
 */
export const ALIKE: DraftGround = { kind: 0, prior: 0.7 };

interface Acceptance {
	/** Probability that the next drafted token is right, given that those before it were. */
	probability: number;
	/** How often no draft was tried since the last one. */
	idle: number;
}

/** The record of one source's drafts for one sequence: how many tokens were right, by the draft's ground. */
export class DraftRecord {
	readonly #byKind = new Map<number, Acceptance>();

	/** Records that the first `accepted` of `drafted` tokens were right. */
	observe(drafted: number, accepted: number, ground = ALIKE): void {
		const record = this.#of(ground);
		// Each accepted token is a success, and the first wrong one is a failure. The tokens after that say nothing.
		for (let i = 0; i < Math.min(drafted, accepted + 1); i++) {
			const hit = i < accepted ? 1 : 0;
			record.probability += ACCEPTANCE_WEIGHT * (hit - record.probability);
		}
		record.idle = 0;
	}

	/**
	 * Finds the draft length with the most expected tokens a millisecond.
	 * @param otherRows the rows of other sequences in the same step. A draft slows these down, too.
	 * @param limit the greatest length.
	 * @param drafting the cost of making the draft. Without it a draft costs nothing to make.
	 */
	best(cost: StepCost, otherRows: number, limit: number, drafting?: DraftCost, ground = ALIKE): DraftChoice {
		const record = this.#of(ground);
		let length = 0;
		let rate = (1 + otherRows) / cost.estimate(otherRows + 1);
		let tokens = 1;
		let chance = 1;
		for (let k = 1; k <= Math.min(limit, MAX_DRAFT); k++) {
			chance *= record.probability;
			tokens += chance;
			if (k < limit && !LENGTHS.includes(k)) continue;
			// The other sequences wait for the longer step, too, so their tokens count as well.
			const promised = (tokens + otherRows) / (cost.estimate(otherRows + 1 + k) + (drafting?.estimate(k) ?? 0));
			if (promised > rate) {
				rate = promised;
				length = k;
			}
		}
		// A bad record can only recover if drafts are tried, so every 16th time one token is drafted.
		if (length === 0 && limit > 0 && otherRows === 0 && ++record.idle >= 16) length = 1;
		return { length, rate };
	}

	#of({ kind, prior }: DraftGround): Acceptance {
		const known = this.#byKind.get(kind);
		if (known) return known;
		const made = { probability: prior, idle: 0 };
		this.#byKind.set(kind, made);
		return made;
	}
}
