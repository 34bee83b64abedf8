// Drafts by the draft head that a model was opened with (EAGLE-3, native/core/draft_head.h). The head reads the hidden
// states of every step in native memory, and only token ids come back.
import type { NativeCache, NativeModel, StepBatch } from '../../native/index';
import type { DraftRequest, DraftSequence, DraftSource } from './draft-source';

/** Runs the steps of all models, one at a time. */
export interface Turns {
	run<T>(step: () => Promise<T>): Promise<T>;
}

/** Sequence numbers start again from 0 here. No sequence lives so long that its number is given to another one. */
const NUMBERS = 2 ** 31;

export class HeadDrafts implements DraftSource {
	readonly #model: NativeModel;
	readonly #cache: NativeCache;
	readonly #turns: Turns;
	/** The numbers by which the head knows the sequences. */
	readonly #numbers = new Map<DraftSequence, number>();
	#next = 0;

	/**
	 * @param cache the cache that the model's steps use.
	 * @param turns gives the model its turn among the models that run one step at a time.
	 */
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
