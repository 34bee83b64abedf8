// Decodes several sequences in the native core, with one round or several rounds a step.
import type { NativeCache, NativeModel, Sampling, StepBatch, StepResult } from '../../native/index';
import { forward } from './forward';

export interface Decoding {
	prompt: Int32Array;
	sampling: Sampling;
	stopIds?: readonly number[];
}

/** Sequences whose prompts are in the cache but for the last token. Each has its own blocks, which are in no order. */
export class Decoder {
	readonly model: NativeModel;
	readonly sequences: readonly Decoding[];
	readonly #cache: NativeCache;
	readonly #tables: Int32Array[];

	private constructor(model: NativeModel, sequences: readonly Decoding[], ahead: number) {
		this.model = model;
		this.sequences = sequences;
		let next = 0;
		this.#tables = sequences.map(({ prompt }) =>
			Int32Array.from({ length: Math.ceil((prompt.length + ahead) / 32) }, () => next++).reverse(),
		);
		this.#cache = model.createCache({ blocks: next });
	}

	/** @param ahead - positions behind the prompts that the cache has room for */
	static async at(model: NativeModel, sequences: readonly Decoding[], ahead: number): Promise<Decoder> {
		const decoder = new Decoder(model, sequences, ahead);
		for (const [i, { prompt }] of sequences.entries()) {
			const options = { cache: decoder.#cache, blockTable: decoder.#tables[i]!, positions: [] };
			await forward(model, prompt.subarray(0, -1), options);
		}
		return decoder;
	}

	/**
	 * Runs the next rounds. `since` has the tokens that each sequence got after its prompt. `forced` is as in StepBatch.
	 */
	step(
		since: readonly (readonly number[])[],
		rounds: number,
		onRound?: (tokens: Int32Array) => void,
		forced?: Int32Array,
	): Promise<StepResult> {
		const batch: StepBatch = {
			tokens: Int32Array.from(this.sequences, ({ prompt }, i) => since[i]!.at(-1) ?? prompt.at(-1)!),
			positions: Int32Array.from(this.sequences, ({ prompt }, i) => prompt.length + since[i]!.length - 1),
			sequences: Int32Array.from(this.sequences.keys()),
			blockTables: this.#tables,
			outputs: Int32Array.from(this.sequences.keys()),
			sampling: this.sequences.map(({ sampling }) => sampling),
			stopIds: this.sequences.map(({ stopIds = [] }) => Int32Array.from(stopIds)),
			rounds,
			probabilities: true,
			...(forced && { forced }),
		};
		return this.model.step(this.#cache, batch, onRound);
	}

	/**
	 * Decodes `count` tokens of each sequence in steps of `rounds` rounds. `told` counts the rounds that `onRound`
	 * reported.
	 */
	async decode(
		count: number,
		rounds: number,
	): Promise<{ tokens: number[][]; probabilities: number[][]; told: number }> {
		const tokens: number[][] = this.sequences.map(() => []);
		const probabilities: number[][] = this.sequences.map(() => []);
		let told = 0;
		while (tokens[0]!.length < count) {
			const early: number[] = [];
			const result = await this.step(tokens, Math.min(rounds, count - tokens[0]!.length), (round) =>
				early.push(...round),
			);
			if (early.some((token, i) => token !== result.tokens[i])) throw new Error('a round was told wrongly');
			told += early.length / this.sequences.length;
			result.tokens.forEach((token, i) => {
				tokens[i % this.sequences.length]!.push(token);
				probabilities[i % this.sequences.length]!.push(result.probabilities![i]!);
			});
		}
		return { tokens, probabilities, told };
	}

	close(): void {
		this.#cache.close();
	}
}

/**
 * Wraps a model for `openModel`. Each round claims to take `milliseconds`, whatever its rows and this machine, so that
 * the engine's choices do not depend on the machine. `rounds` collects how many rounds each step was asked for.
 */
export function claimingSpeed(rounds: number[] = [], milliseconds = 1): (model: NativeModel) => NativeModel {
	return (model) =>
		new Proxy(model, {
			get: (target, name) => {
				if (name === 'step') {
					return async (...[cache, batch, onRound]: Parameters<NativeModel['step']>): Promise<StepResult> => {
						rounds.push(batch.rounds ?? 1);
						const result = await target.step(cache, batch, onRound);
						const ran = batch.outputs.length > 0 ? result.tokens.length / batch.outputs.length : 1;
						return { ...result, milliseconds: ran * milliseconds };
					};
				}
				const value: unknown = Reflect.get(target, name, target);
				return typeof value === 'function' ? value.bind(target) : value;
			},
		});
}
