// Continuous batching: decides which rows of which sequences the next step runs. The policy is pure: it knows the
// cache's bookkeeping but neither a model nor a clock, so tests drive it with simulated step times.
import type { DraftGround, DraftSource } from '../speculation/draft-source';
import { ContextOverflowError, OverloadedError } from './errors';
import type { KvCache, Lease } from './kv-cache';

/** Most urgent first. */
export const PRIORITIES = ['completion', 'chat', 'benchmark', 'warmup'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** One request's timeline as the scheduler sees it. */
export interface Sequence {
	readonly priority: Priority;
	/**
	 * The prompt and everything generated and accepted so far. Tokens beyond `lease.length` are pending. One pending token is
	 * a decode, more are a prefill. Speculation adds draft rows behind the pending token without touching this list.
	 */
	readonly tokens: number[];
	/** Whether the last token's successor is wanted; a warm-up only fills the cache. */
	readonly wantsOutput: boolean;
}

export interface StepEntry<S extends Sequence> {
	sequence: S;
	lease: Lease;
	/** Positions [start, end) run in this step. */
	start: number;
	end: number;
	/** Whether the successor of the last row is to be sampled. */
	output: boolean;
	/** Drafts for positions end, end + 1, … that run behind the last row to be verified; see `reserveDrafts`. */
	drafts: number[];
	/** The source of the drafts, and what the source based them on. */
	draftSource?: DraftSource;
	draftGround?: DraftGround | undefined;
}

export interface StepPlan<S extends Sequence> {
	entries: StepEntry<S>[];
	/** Rows of sequences that still prefill. */
	prefillRows: number;
	/** Rows of sequences that decode. */
	decodeRows: number;
}

/** Rows that a step computes, drafts included. */
export function rowCount<S extends Sequence>({ entries }: StepPlan<S>): number {
	return entries.reduce((sum, entry) => sum + entry.end - entry.start + entry.drafts.length, 0);
}

export interface SchedulerOptions {
	cache: KvCache;
	/** Positions one sequence may span. */
	contextTokens: number;
	/** Sequences that run at once; default 64. */
	maxRunning?: number;
	/** Sequences that may wait; default 256. */
	maxWaiting?: number;
	/** Milliseconds that a step should take at most; default 500. Infinity: prefill in the largest chunks. */
	latencyBudget?: number;
}

/**
 * Prefill rows of a step. gpt-oss-20b has 32 experts, of which a row takes 4. So a step of 64 rows reads every expert anyway, and
 * smaller chunks only read them more often. In a step of 512 rows each expert has 64, enough for any kernel to be compute bound.
 */
export const MAX_CHUNK = 512;
const MIN_CHUNK = 64;
const FIRST_CHUNK = 128;

/** Prefill rows that a less urgent class may take of a step in which a more urgent sequence runs. */
const BACKGROUND_SHARE = 1 / 4;

/** A benchmark measures throughput. While it is alone, its steps may take this many times the latency budget. */
const BENCHMARK_PATIENCE = 8;

interface Entry<S extends Sequence> {
	sequence: S;
	rank: number;
	arrival: number;
	lease: Lease | undefined;
}

/**
 * Decides the steps. Call `plan`, run the step, then call `complete`. Call `submit` and `remove` only between steps.
 */
export class Scheduler<S extends Sequence> {
	readonly contextTokens: number;
	readonly #cache: KvCache;
	readonly #maxRunning: number;
	readonly #maxWaiting: number;
	readonly #chunk: AdaptiveChunk;
	readonly #patientChunk: AdaptiveChunk;
	/** Both lists are in order of urgency: by priority, then by arrival. */
	#running: Entry<S>[] = [];
	#waiting: Entry<S>[] = [];
	#arrivals = 0;
	/** The chunk that the last plan used up. A plan with fewer rows does not tell how long a full chunk takes. */
	#saturated: AdaptiveChunk | undefined;

	constructor(options: SchedulerOptions) {
		this.#cache = options.cache;
		this.#maxRunning = options.maxRunning ?? 64;
		this.#maxWaiting = options.maxWaiting ?? 256;
		// One sequence alone must always fit: then the most urgent one can always go on, and nothing deadlocks.
		this.contextTokens = Math.min(options.contextTokens, options.cache.blockCount * options.cache.blockTokens);
		const budget = options.latencyBudget ?? 500;
		this.#chunk = new AdaptiveChunk(budget);
		this.#patientChunk = new AdaptiveChunk(budget * BENCHMARK_PATIENCE);
	}

	/**
	 * Queues a sequence.
	 * @throws ContextOverflowError if its tokens leave no room for one more; OverloadedError if too many wait.
	 */
	submit(sequence: S): void {
		if (sequence.tokens.length + (sequence.wantsOutput ? 1 : 0) > this.contextTokens) {
			throw new ContextOverflowError(sequence.tokens.length, this.contextTokens);
		}
		if (this.#waiting.length >= this.#maxWaiting) throw new OverloadedError(this.#waiting.length);
		const rank = PRIORITIES.indexOf(sequence.priority);
		insertByUrgency(this.#waiting, { sequence, rank, arrival: this.#arrivals++, lease: undefined });
	}

	/** Takes a finished or cancelled sequence out. Its computed tokens stay cached for sequences that begin alike. */
	remove(sequence: S): void {
		const entry = this.#running.find((candidate) => candidate.sequence === sequence);
		if (entry?.lease) this.#cache.release(entry.lease, sequence.tokens);
		this.#running = this.#running.filter((candidate) => candidate.sequence !== sequence);
		this.#waiting = this.#waiting.filter((candidate) => candidate.sequence !== sequence);
	}

	/** The next step; undefined when there is nothing to run. */
	plan(): StepPlan<S> | undefined {
		this.#growDecoding();
		this.#admit();
		const best = this.#running[0]?.rank;
		if (best === undefined) return undefined;

		const plan: StepPlan<S> = { entries: [], prefillRows: 0, decodeRows: 0 };
		for (const entry of this.#running) {
			if (isDecoding(entry)) plan.decodeRows += this.#run(plan, entry, 1);
		}
		const patient = PRIORITIES[best] === 'benchmark';
		const chunk = patient ? this.#patientChunk : this.#chunk;
		let left = chunk.rows;
		for (let rank = best; rank < PRIORITIES.length; rank++) {
			// Warm-ups only use rows that would be idle.
			if (PRIORITIES[rank] === 'warmup' && rank !== best) break;
			const group = this.#running.filter((entry) => entry.rank === rank && !isDecoding(entry));
			for (const entry of group) this.#cache.advance(entry.lease!, entry.sequence.tokens, prefillLimit(entry));
			const share = rank === best ? left : Math.min(left, Math.ceil(chunk.rows * BACKGROUND_SHARE));
			const rows = fairShares(group.map(pendingTokens), share);
			group.forEach((entry, index) => {
				plan.prefillRows += this.#run(plan, entry, rows[index]!);
			});
			left = chunk.rows - plan.prefillRows;
		}
		this.#saturated = left <= 0 ? chunk : undefined;
		return plan;
	}

	/**
	 * Records that a plan's step has run: its positions are computed.
	 * @param milliseconds what the step took, from which the next prefill chunks are sized.
	 */
	complete(plan: StepPlan<S>, milliseconds: number): void {
		for (const { sequence, lease, end } of plan.entries) this.#cache.commit(lease, sequence.tokens, end);
		this.#saturated?.observe(milliseconds);
	}

	/**
	 * Makes room in the cache for `count` draft rows behind an entry that decodes, without taking it from anyone who runs. The
	 * drafts then go into `entry.drafts`. Drafts that turn out right lengthen the entry: set its `end` before `complete`.
	 * @returns false if there is no room.
	 */
	reserveDrafts(entry: StepEntry<S>, count: number): boolean {
		return this.#cache.grow(entry.lease, entry.end + count);
	}

	/**
	 * Makes room in the cache for a step of several rounds, without taking it from anyone who runs. A sequence that got more than
	 * one token is longer: set its entry's `end` before `complete`.
	 * @returns how many rounds the step may have, at most `rounds`: one where the step prefills or a sequence waits, fewer than
	 * asked for where the cache has no room for more.
	 */
	reserveRounds({ entries, prefillRows }: StepPlan<S>, rounds: number): number {
		if (prefillRows > 0 || this.#waiting.length > 0) return 1;
		const missing = (count: number) =>
			entries
				.map(({ lease, end }) => Math.max(0, this.#cache.blocksFor(end + count - 1) - lease.blocks.length))
				.reduce((sum, blocks) => sum + blocks, 0);
		let count = rounds;
		while (count > 1 && missing(count) > this.#cache.availableBlocks) count--;
		for (const { lease, end } of entries) this.#cache.grow(lease, end + count - 1);
		return count;
	}

	#run(plan: StepPlan<S>, entry: Entry<S>, rows: number): number {
		if (rows === 0) return 0;
		const lease = entry.lease!;
		const { sequence } = entry;
		const end = lease.length + rows;
		const output = sequence.wantsOutput && end === sequence.tokens.length;
		plan.entries.push({ sequence, lease, start: lease.length, end, output, drafts: [] });
		return rows;
	}

	/** Leases to every decoding sequence the block that its next token needs, at the cost of less urgent sequences. */
	#growDecoding(): void {
		for (const entry of [...this.#running]) {
			while (entry.lease && !this.#cache.grow(entry.lease, entry.sequence.tokens.length)) {
				this.#preempt(this.#running.at(-1)!);
			}
		}
	}

	/** Starts waiting sequences in order of urgency, as far as blocks go. */
	#admit(): void {
		for (;;) {
			const entry = this.#waiting[0];
			if (!entry) return;
			if (this.#running.length >= this.#maxRunning) {
				const last = this.#running.at(-1)!;
				if (last.rank <= entry.rank) return;
				this.#preempt(last);
			}
			const lease = this.#acquire(entry);
			// No sequence overtakes another: a long prompt would otherwise wait for ever behind short ones.
			if (!lease) return;
			this.#waiting.shift();
			entry.lease = lease;
			insertByUrgency(this.#running, entry);
		}
	}

	#acquire(entry: Entry<S>): Lease | undefined {
		const { tokens } = entry.sequence;
		const lease = this.#cache.acquire(tokens);
		if (lease) return lease;
		const victims = this.#running.filter((candidate) => candidate.rank > entry.rank);
		const reclaimable = victims.reduce((sum, victim) => sum + victim.lease!.blocks.length, 0);
		if (this.#cache.availableBlocks + reclaimable < this.#cache.blocksFor(tokens.length)) return undefined;
		for (const victim of victims.reverse()) {
			this.#preempt(victim);
			const retried = this.#cache.acquire(tokens);
			if (retried) return retried;
		}
		return undefined;
	}

	/**
	 * Sends a running sequence back to wait. Its tokens are kept. The positions that are still cached when it starts
	 * again are not computed again.
	 */
	#preempt(entry: Entry<S>): void {
		this.#cache.release(entry.lease!, entry.sequence.tokens);
		entry.lease = undefined;
		this.#running = this.#running.filter((candidate) => candidate !== entry);
		insertByUrgency(this.#waiting, entry);
	}
}

/** The prefill rows of a step, adjusted so that a step that fills them takes about `budget` milliseconds. */
class AdaptiveChunk {
	readonly #budget: number;
	#rows: number;

	constructor(budget: number) {
		this.#budget = budget;
		this.#rows = budget === Number.POSITIVE_INFINITY ? MAX_CHUNK : FIRST_CHUNK;
	}

	get rows(): number {
		return this.#rows;
	}

	/** Learns from a step that held as many prefill rows as it was allowed. */
	observe(milliseconds: number): void {
		const factor = Math.min(2, Math.max(0.5, this.#budget / Math.max(milliseconds, 1e-3)));
		this.#rows = Math.min(MAX_CHUNK, Math.max(MIN_CHUNK, Math.round(this.#rows * factor)));
	}
}

function pendingTokens<S extends Sequence>(entry: Entry<S>): number {
	return entry.sequence.tokens.length - entry.lease!.length;
}

function isDecoding<S extends Sequence>(entry: Entry<S>): boolean {
	return pendingTokens(entry) === 1;
}

/** A sequence that wants an output must compute its last token itself. */
function prefillLimit<S extends Sequence>(entry: Entry<S>): number {
	return entry.sequence.tokens.length - 1;
}

function insertByUrgency<S extends Sequence>(list: Entry<S>[], entry: Entry<S>): void {
	const index = list.findIndex(
		(other) => other.rank > entry.rank || (other.rank === entry.rank && other.arrival > entry.arrival),
	);
	list.splice(index === -1 ? list.length : index, 0, entry);
}

/**
 * Splits `rows` among `demands`: all get equal shares, and rows that one demand does not need go to the others (max-min
 * fairness).
 */
function fairShares(demands: number[], rows: number): number[] {
	const shares = demands.map(() => 0);
	let left = Math.min(
		rows,
		demands.reduce((sum, demand) => sum + demand, 0),
	);
	while (left > 0) {
		const open = demands.flatMap((demand, index) => (shares[index]! < demand ? [index] : []));
		const share = Math.max(1, Math.floor(left / open.length));
		for (const index of open) {
			const given = Math.min(share, demands[index]! - shares[index]!, left);
			shares[index]! += given;
			left -= given;
		}
	}
	return shares;
}
