// Drafts from a smaller model of the same vocabulary. The smaller model goes on where the sequence stands, and the larger one verifies
// in one pass what it wrote (Leviathan et al. 2023, arXiv 2211.17192). The smaller model has a cache of its own, which finds by its
// tokens what was computed before.
import type { Vocabulary } from '../tokenizer/vocabulary';
import type { DraftRequest, DraftSequence, DraftSource } from './draft-source';

/** Tokens the draft model may have to catch up on before it guesses; more are computed beside the larger model's steps. */
const MAX_BEHIND = 64;

/** What drafting asks of the smaller model's engine. */
interface DraftEngine {
	/** Positions one request may span. */
	readonly contextTokens: number;
	/** Goes on greedily behind `tokens`. */
	generate(request: {
		tokens: readonly number[];
		priority: 'completion' | 'warmup';
		maxTokens: number;
		speculation?: false;
	}): Promise<{ tokens: number[] }>;
	close(): Promise<void>;
}

interface Progress {
	/** Tokens of the sequence that the draft model has computed. */
	known: number;
	catchingUp: boolean;
}

export class ModelDraft implements DraftSource {
	readonly #engine: DraftEngine;
	/** Ids from here on are not the larger model's. */
	readonly #vocabularySize: number;
	readonly #progress = new WeakMap<DraftSequence, Progress>();

	/** Takes the draft model's engine over: `close` closes it. */
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
			.catch(() => {}) // closed, or no room: it is tried again with the next draft
			.finally(() => {
				progress.catchingUp = false;
			});
	}
}

/**
 * What keeps a model from drafting for another one; undefined where nothing does: an id has to mean the same to both. Publishers
 * pad vocabularies of one family to different lengths.
 */
export function vocabularyMismatch(target: Vocabulary, draft: Vocabulary): string | undefined {
	const common = Math.min(target.size, draft.size);
	for (let id = 0; id < common; id++) {
		const same = target.isAdded(id) === draft.isAdded(id) && equal(target.tokenBytes(id), draft.tokenBytes(id));
		// Members of a family add different tokens to its vocabulary, and hardly any of these is ever written.
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
