// Drafts by the draft head that a model was opened with (EAGLE-3; native/core/draft_head.h). The head reads the hidden states of
// every step where they are; only token ids come back.
import type { NativeCache, NativeModel, StepBatch } from '../../native/index';
import type { DraftRequest, DraftSequence, DraftSource } from './draft-source';

/** Runs one step at a time, of whichever model. */
export interface Turns {
	run<T>(step: () => Promise<T>): Promise<T>;
}

/** Numbers of sequences begin anew here; no sequence lives so long that its number comes again. */
const NUMBERS = 2 ** 31;

export class HeadDrafts implements DraftSource {
	readonly #model: NativeModel;
	readonly #cache: NativeCache;
	readonly #turns: Turns;
	/** What the head knows the sequences by. */
	readonly #numbers = new Map<DraftSequence, number>();
	#next = 0;

	/** `cache` is the cache that the model's steps use; `turns` is the model's place among those that run one step at a time. */
	constructor(model: NativeModel, cache: NativeCache, turns: Turns) {
		this.#model = model;
		this.#cache = cache;
		this.#turns = turns;
	}

	prepare(batch: StepBatch, sequences: readonly DraftSequence[]): void {
		batch.draftSequences = Int32Array.from(sequences, (sequence) => this.#number(sequence));
	}

	async propose(requests: readonly DraftRequest[]): Promise<number[][]> {
		const asked = requests.map(({ sequence, limit, blocks }) => ({
			sequence: this.#number(sequence),
			position: sequence.tokens.length - 1,
			token: sequence.tokens.at(-1)!,
			limit,
			blocks: Int32Array.from(blocks),
		}));
		const drafts = await this.#turns.run(() => this.#model.draft(this.#cache, asked));
		return drafts.map((draft) => [...draft]);
	}

	release(sequence: DraftSequence): void {
		const number = this.#numbers.get(sequence);
		if (number === undefined) return;
		this.#numbers.delete(sequence);
		this.#model.releaseDrafts(number);
	}

	close(): void {
		for (const sequence of [...this.#numbers.keys()]) this.release(sequence);
	}

	#number(sequence: DraftSequence): number {
		const known = this.#numbers.get(sequence);
		if (known !== undefined) return known;
		const number = this.#next;
		this.#next = (this.#next + 1) % NUMBERS;
		this.#numbers.set(sequence, number);
		return number;
	}
}
