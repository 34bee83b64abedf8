// A deterministic toy in place of the native addon. It stores tokens where a K/V cache would store keys and values, and
// computes its next token from exactly what it finds there. A wrong block, position or copy thus shows as a wrong
// token.
import type {
	ModelInfo,
	NativeCache,
	NativeModel,
	RoundListener,
	Sampling,
	StepBatch,
	StepResult,
} from '../../../native/index';

export interface FakeModelOptions {
	vocabularySize?: number;
	contextLength?: number;
	blockTokens?: number;
	/** Returns the next token after `tokens`; default: a hash of them. */
	next?: (tokens: number[]) => number;
	/** Milliseconds that a round of a step claims to take; default 1. */
	cost?: (rows: number) => number;
	/** Awaited while a round of a step "runs". It may throw to make the step fail. */
	onStep?: (batch: StepBatch, round: number) => Promise<void> | void;
}

const EMPTY = -1;

class FakeCache implements NativeCache {
	readonly blockCount: number;
	readonly blockTokens: number;
	readonly bytes: number;
	readonly cells: Int32Array;
	/** Blocks that a running step uses. */
	readonly inUse = new Set<number>();
	closed = false;

	constructor(blockCount: number, blockTokens: number) {
		this.blockCount = blockCount;
		this.blockTokens = blockTokens;
		this.cells = new Int32Array(blockCount * blockTokens).fill(EMPTY);
		this.bytes = this.cells.byteLength;
	}

	copyBlock(from: number, to: number, tokens: number): void {
		if (this.inUse.has(to)) throw new Error(`block ${to} was overwritten while a step uses it`);
		const start = from * this.blockTokens;
		this.cells.fill(EMPTY, to * this.blockTokens, (to + 1) * this.blockTokens);
		this.cells.copyWithin(to * this.blockTokens, start, start + tokens);
	}

	close(): void {
		this.closed = true;
	}
}

export class FakeModel implements NativeModel {
	readonly info: ModelInfo;
	readonly batches: StepBatch[] = [];
	readonly caches: FakeCache[] = [];
	closed = false;
	readonly #blockTokens: number;
	readonly #options: FakeModelOptions;
	#running = false;
	#profiled = 0;
	/** Steps asked for so far, and how many of them end after the round that they are at. */
	#asked = 0;
	#ended = 0;

	constructor(options: FakeModelOptions = {}) {
		this.#options = options;
		this.#blockTokens = options.blockTokens ?? 4;
		this.info = {
			path: '/models/fake.gguf',
			architecture: 'gpt-oss',
			name: 'fake',
			fileBytes: 1000,
			tensorCount: 15,
			parameterCount: 500,
			tensorTypes: [{ type: 'F32', count: 15, bytes: 1000 }],
			layers: 1,
			embeddingLength: 32,
			vocabularySize: options.vocabularySize ?? 1000,
			contextLength: options.contextLength ?? 4096,
			headCount: 2,
			headCountKv: 1,
			headLength: 16,
			expertCount: 4,
			expertUsedCount: 2,
			expertFeedForwardLength: 32,
			slidingWindow: 16,
			rmsEpsilon: 1e-5,
			ropeFrequencyBase: 150000,
			ropeScalingFactor: 32,
			ropeOriginalContextLength: 4096,
			backend: 'cpu',
			kernels: 'portable',
			threads: 1,
			bytesPerToken: 1000,
		};
	}

	/** Rows run so far, prefill and decode. */
	rowsRun = 0;

	createCache(options: { blocks: number }): NativeCache {
		const cache = new FakeCache(options.blocks, this.#blockTokens);
		this.caches.push(cache);
		return cache;
	}

	cacheBlockBytes(): number {
		return this.#blockTokens * 4;
	}

	async step(nativeCache: NativeCache, batch: StepBatch, onRound?: RoundListener): Promise<StepResult> {
		const number = ++this.#asked;
		const cache = nativeCache as FakeCache;
		if (this.closed || cache.closed) throw new Error('a step after close');
		if (this.#running) throw new Error('two steps at once');
		this.#running = true;
		this.batches.push(batch);
		for (const table of batch.blockTables) for (const block of table) cache.inUse.add(block);
		try {
			let { tokens, positions } = batch;
			const results: StepResult[] = [];
			const met = batch.outputs.map(() => 0);
			for (let round = 0; ; round++) {
				await this.#options.onStep?.(batch, round);
				await new Promise((resolve) => setImmediate(resolve));
				const result = this.#compute(cache, { ...batch, tokens, positions });
				results.push(result);
				if (round + 1 === (batch.rounds ?? 1)) break;
				onRound?.(result.tokens);
				result.tokens.forEach((token, i) => {
					if (batch.stopIds?.[i]?.includes(token)) met[i] = 1;
				});
				if (number <= this.#ended || met.every(Boolean)) break;
				tokens = batch.forced?.slice(round * tokens.length, (round + 1) * tokens.length) ?? result.tokens;
				positions = positions.map((position) => position + 1);
			}
			return {
				...results[0]!,
				tokens: Int32Array.from(results.flatMap((result) => [...result.tokens])),
				milliseconds: results.reduce((sum, { milliseconds }) => sum + milliseconds, 0),
			};
		} finally {
			cache.inUse.clear();
			this.#running = false;
		}
	}

	endRuns(): void {
		this.#ended = this.#asked;
	}

	draft(): Promise<Int32Array[]> {
		return Promise.reject(new Error('the toy has no draft head'));
	}

	releaseDrafts(): void {}

	countStep(): ReturnType<NativeModel['countStep']> {
		return Promise.resolve({ launches: [], commandBuffers: 0, scratchBytes: 0 });
	}

	readonly repackBytes = [];

	repack(): Promise<void> {
		return Promise.reject(new Error('the toy has no weights'));
	}

	measureCeilings(): ReturnType<NativeModel['measureCeilings']> {
		return Promise.resolve({ readBytesPerSecond: 1e6, multiplyAddsPerSecond: 1e9, arithmetic: 'int8' as const });
	}

	/** Returns what passed since the last call, as the native addon does. */
	takeProfile(): Record<string, number> {
		const steps = this.batches.length - this.#profiled;
		this.#profiled = this.batches.length;
		return steps > 0 ? { attention: 0.25 * steps, experts: 0.5 * steps } : {};
	}

	close(): void {
		if (this.#running) throw new Error('closed while a step runs');
		this.closed = true;
	}

	#compute(cache: FakeCache, batch: StepBatch): StepResult {
		const rows = batch.tokens.length;
		this.rowsRun += rows;
		// All rows are written first, as every layer does. A later row of the step then reads what an earlier row wrote.
		for (let row = 0; row < rows; row++) {
			if (row > 0 && batch.sequences[row] === batch.sequences[row - 1]) {
				if (batch.positions[row] !== batch.positions[row - 1]! + 1)
					throw new Error('positions of a step are not adjacent');
			}
			cache.cells[this.#cell(cache, batch, row, batch.positions[row]!)] = batch.tokens[row]!;
		}
		const vocabulary = this.info.vocabularySize;
		const tokens = new Int32Array(batch.outputs.length);
		const logits = batch.logits ? new Float32Array(batch.outputs.length * vocabulary) : undefined;
		batch.outputs.forEach((row, index) => {
			const seen: number[] = [];
			for (let position = 0; position <= batch.positions[row]!; position++) {
				const token = cache.cells[this.#cell(cache, batch, row, position)]!;
				if (token === EMPTY) throw new Error(`position ${position} was read before it was computed`);
				seen.push(token);
			}
			tokens[index] = this.#sample(seen, batch.sampling?.[index]);
			if (logits) {
				for (let id = 0; id < vocabulary; id++) {
					logits[index * vocabulary + id] = id === tokens[index] ? 100 : -(hashTokens([...seen, id]) % 97);
				}
			}
		});
		return {
			tokens,
			...(logits && { logits }),
			milliseconds: this.#options.cost?.(rows) ?? 1,
		};
	}

	#cell(cache: FakeCache, batch: StepBatch, row: number, position: number): number {
		const block = batch.blockTables[batch.sequences[row]!]![Math.floor(position / cache.blockTokens)];
		if (block === undefined || block < 0 || block >= cache.blockCount) throw new Error('a position has no block');
		return block * cache.blockTokens + (position % cache.blockTokens);
	}

	#sample(tokens: number[], sampling: Sampling | undefined): number {
		if (this.#options.next) return this.#options.next(tokens);
		const salt = sampling && sampling.temperature > 0 ? [sampling.seed, tokens.length] : [];
		return hashTokens([...tokens, ...salt]) % this.info.vocabularySize;
	}
}

/** FNV-1a over 32-bit words. */
export function hashTokens(tokens: readonly number[]): number {
	let hash = 0x811c9dc5;
	for (const token of tokens) hash = Math.imul(hash ^ token, 0x01000193) >>> 0;
	return (hash ^ (hash >>> 15)) >>> 0;
}

/** The tokens that the toy generates greedily after a prompt, computed without any cache. */
export function expectedTokens(prompt: readonly number[], count: number, vocabularySize = 1000): number[] {
	const tokens = [...prompt];
	for (let i = 0; i < count; i++) tokens.push(hashTokens(tokens) % vocabularySize);
	return tokens.slice(prompt.length);
}

/** A seeded generator of numbers in [0, 1) (mulberry32), for random schedules that can be repeated. */
export function seededRandom(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}
