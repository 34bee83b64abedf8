// How many tokens to draft, from measurements: what a step of n rows costs here and now, and how often drafts of this
// sequence were right. Verifying more rows of a mixture of experts reads more experts, so drafts are not free (gpt-oss:
// 2 rows read 1.4 times, 4 rows 2.1 times, 8 rows 3.1 times the bytes of one).

/** Drafts longer than this never pay before their acceptance is known to be near certain, and then 16 gain little more. */
export const MAX_DRAFT = 16;

/** Weight of the newest observation. */
const COST_WEIGHT = 0.1;
const ACCEPTANCE_WEIGHT = 0.1;
/** Before anything was measured: bytes read by a step of n rows ÷ those of one row (gpt-oss with 4 of 32 experts). */
const ROW_COST = (rows: number) => 0.51 + 0.49 * 8 * (1 - 0.875 ** rows);

/** Milliseconds of a decode step by its number of rows, learned from the steps that run. Shared by all sequences. */
export class StepCost {
	/** Measured milliseconds ÷ ROW_COST, by rows; neighbours fill the gaps. */
	readonly #ratio: (number | undefined)[] = [];
	#overall: number | undefined;

	/** Learns from a step without prefill rows. */
	observe(rows: number, milliseconds: number): void {
		if (rows < 1 || !(milliseconds > 0)) return;
		const ratio = milliseconds / ROW_COST(rows);
		const blend = (old: number | undefined) => (old === undefined ? ratio : old + COST_WEIGHT * (ratio - old));
		this.#ratio[rows] = blend(this.#ratio[rows]);
		this.#overall = blend(this.#overall);
	}

	/** What a step of `rows` rows takes; in units of no meaning before the first measurement. */
	estimate(rows: number): number {
		return (this.#ratio[rows] ?? this.#overall ?? 1) * ROW_COST(rows);
	}
}

/** One sequence's record of accepted drafts. */
export class DraftRecord {
	/** Probability that the next drafted token is right, given that those before it were. Begins hopeful. */
	#acceptance = 0.7;
	/** Steps since a draft was last tried. */
	#idle = 0;

	get acceptance(): number {
		return this.#acceptance;
	}

	/** Learns that of `drafted` tokens the first `accepted` were right. */
	observe(drafted: number, accepted: number): void {
		// Each accepted token is a success; the first wrong one is a failure; what follows it says nothing.
		for (let i = 0; i < Math.min(drafted, accepted + 1); i++) {
			const hit = i < accepted ? 1 : 0;
			this.#acceptance += ACCEPTANCE_WEIGHT * (hit - this.#acceptance);
		}
		this.#idle = 0;
	}

	/**
	 * The draft length with the most expected tokens a millisecond, at most `limit`.
	 * @param otherRows rows of other sequences in the same step: under load a draft only adds cost to everyone.
	 */
	bestLength(cost: StepCost, otherRows: number, limit: number): number {
		const p = this.#acceptance;
		let best = 0;
		let bestRate = (1 + otherRows) / cost.estimate(otherRows + 1);
		let tokens = 1;
		let chance = 1;
		for (let k = 1; k <= Math.min(limit, MAX_DRAFT); k++) {
			chance *= p;
			tokens += chance;
			// Others wait for the longer step too: their tokens count for its price.
			const rate = (tokens + otherRows) / cost.estimate(otherRows + 1 + k);
			if (rate > bestRate) {
				bestRate = rate;
				best = k;
			}
		}
		// A record can only recover by trying: once in a while, one token.
		if (best === 0 && limit > 0 && otherRows === 0 && ++this.#idle >= 16) {
			this.#idle = 0;
			return 1;
		}
		return best;
	}
}
