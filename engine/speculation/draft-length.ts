// How many tokens to draft. Measurements tell: what a step of n rows costs here and now, and how often drafts of this
// sequence were right. Verifying more rows of a mixture of experts reads more experts, so drafts are not free (gpt-oss:
// 2 rows read 1.4 times, 4 rows 2.1 times, 8 rows 3.1 times the bytes of one).

import type { DraftGround } from './draft-source';

/** Lengths to choose from: few, so that what each costs is soon known. The longest pay where processors have arithmetic to spare. */
const LENGTHS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
export const MAX_DRAFT = LENGTHS.at(-1)!;

/** Weight of the newest observation. */
const COST_WEIGHT = 0.1;
const ACCEPTANCE_WEIGHT = 0.05;
/** Before anything was measured: bytes read by a step of n rows ÷ those of one row (gpt-oss with 4 of 32 experts). */
const ROW_COST = (rows: number) => 0.51 + 0.49 * 8 * (1 - 0.875 ** rows);

/** Learns milliseconds by a count. A prior gives the shape of the curve, measurements give its height at some counts. */
class MeasuredCost {
	readonly prior: (count: number) => number;
	readonly unmeasured: number;
	/** Measured milliseconds ÷ prior, by count; the nearest count's fills the gaps. */
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

	/** Undefined before the first measurement, when estimates have no unit. */
	milliseconds(count: number): number | undefined {
		return this.#ratios.size === 0 ? undefined : this.estimate(count);
	}

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
 * What a decode step takes by its number of rows, learned from steps without prefill rows. Before the first such step the unit
 * has no meaning. All sequences share it.
 */
export class StepCost extends MeasuredCost {
	constructor() {
		super(ROW_COST, 1);
	}
}

/** What drafting takes by its length, one pass a token. It costs nothing before the first measurement, so that there is one. */
export class DraftCost extends MeasuredCost {
	constructor() {
		super((length) => length, 0);
	}
}

/** What a draft of the best length promises. */
interface DraftChoice {
	/** 0: no draft pays. */
	length: number;
	/** Expected tokens a millisecond of the whole step. */
	rate: number;
}

/** The ground of a source that does not tell its drafts apart. Its prior is hopeful, so that drafts are tried. */
export const ALIKE: DraftGround = { kind: 0, prior: 0.7 };

interface Acceptance {
	/** Probability that the next drafted token is right, given that those before it were. */
	probability: number;
	/** Tokens since a draft was last tried. */
	idle: number;
}

/** One sequence's record of a source's drafts: how many were right, by what they were founded on. */
export class DraftRecord {
	readonly #byKind = new Map<number, Acceptance>();

	/** Learns that of `drafted` tokens the first `accepted` were right. */
	observe(drafted: number, accepted: number, ground = ALIKE): void {
		const record = this.#of(ground);
		// Each accepted token is a success; the first wrong one is a failure; what follows it says nothing.
		for (let i = 0; i < Math.min(drafted, accepted + 1); i++) {
			const hit = i < accepted ? 1 : 0;
			record.probability += ACCEPTANCE_WEIGHT * (hit - record.probability);
		}
		record.idle = 0;
	}

	/**
	 * The draft length with the most expected tokens a millisecond, at most `limit`.
	 * @param otherRows rows of other sequences in the same step: under load a draft only adds cost to everyone.
	 * @param drafting what making the draft costs; absent: nothing.
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
			// Others wait for the longer step too: their tokens count for its price.
			const promised = (tokens + otherRows) / (cost.estimate(otherRows + 1 + k) + (drafting?.estimate(k) ?? 0));
			if (promised > rate) {
				rate = promised;
				length = k;
			}
		}
		// A record can only recover by trying: once in a while, one token.
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
