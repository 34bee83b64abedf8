// Drafts from a smaller model with the same vocabulary. The smaller model continues the sequence, and the larger one
// verifies that continuation in one pass (Leviathan et al. 2023, arXiv 2211.17192). The smaller model has a cache of
// its own, which finds earlier computations by their tokens.
import type { Vocabulary } from '../tokenizer/vocabulary';
import type { DraftRequest, DraftSequence, DraftSource } from './draft-source';

/**
 * The draft model guesses if it has at most so many tokens to catch up on. More are computed beside the larger model's
 * steps first.
 */
const MAX_BEHIND = 64;

/** The part of the smaller model's engine that drafting uses. */
interface DraftEngine {
	/** The most positions of one request. */
	readonly contextTokens: number;
	/** Continues `tokens` greedily. */
	generate(request: {
		tokens: readonly number[];
		priority: 'completion' | 'warmup';
		maxTokens: number;
		speculation?: false;
	}): Promise<{ tokens: number[] }>;
	close(): Promise<void>;
}

interface Progress {
	/** How many tokens of the sequence the draft model has computed. */
	known: number;
	catchingUp: boolean;
}

export class ModelDraft implements DraftSource {
	readonly #engine: DraftEngine;
	/** The larger model's vocabulary. Ids from here on mean nothing to it. */
	readonly #vocabularySize: number;
	readonly #progress = new WeakMap<DraftSequence, Progress>();

	/**
	 * @param engine the draft model's engine. `close` closes it.
	 * @param vocabularySize the number of the larger model's tokens.
	 */
	constructor(engine: DraftEngine, vocabularySize: number) {
		this.#engine = engine;
		this.#vocabularySize = vocabularySize;
	}

	propose(requests: readonly DraftRequest[]): Promise<number[][]> {
		return Promise.all(requests.map((request) => this.#continue(request)));
	}

	close(): void {
		void this.#engine.close();
	}

	async #continue({ sequence, limit }: DraftRequest): Promise<number[]> {
		const { tokens } = sequence;
		if (tokens.length + limit > this.#engine.contextTokens) return [];
		const progress = this.#progress.get(sequence) ?? { known: 0, catchingUp: false };
		this.#progress.set(sequence, progress);
		if (progress.catchingUp) return [];
		if (tokens.length - progress.known > MAX_BEHIND) {
			this.#catchUp(tokens, progress);
			return [];
		}
		const result = await this.#engine.generate({
			tokens,
			priority: 'completion',
			maxTokens: limit,
			speculation: false,
		});
		progress.known = tokens.length;
		const foreign = result.tokens.findIndex((token) => token >= this.#vocabularySize);
		return foreign < 0 ? result.tokens : result.tokens.slice(0, foreign);
	}

	#catchUp(tokens: readonly number[], progress: Progress): void {
		const { length } = tokens;
		progress.catchingUp = true;
		this.#engine
			.generate({ tokens, priority: 'warmup', maxTokens: 0 })
			.then(() => {
				progress.known = length;
			})
			.catch(() => {}) // The engine is closed or has no room. The next draft tries again.
			.finally(() => {
				progress.catchingUp = false;
			});
	}
}

/**
 * Says why a model cannot draft for another one, and is undefined if it can. An id has to mean the same token in both
 * vocabularies. Their sizes may differ, because publishers pad vocabularies of one family to different sizes.
 */
export function vocabularyMismatch(target: Vocabulary, draft: Vocabulary): string | undefined {
	const common = Math.min(target.size, draft.size);
	for (let id = 0; id < common; id++) {
		const same = target.isAdded(id) === draft.isAdded(id) && equal(target.tokenBytes(id), draft.tokenBytes(id));
		// Models of one family add different tokens to its vocabulary. These may differ, since models hardly ever write them.
		if (!same && !(target.isAdded(id) && draft.isAdded(id))) return `token ${id} is another one`;
	}
	const larger = target.size > common ? target : draft;
	for (let id = common; id < larger.size; id++) {
		if (!larger.isAdded(id)) return `it has ${draft.size} tokens, not ${target.size}`;
	}
	return undefined;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
	return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
