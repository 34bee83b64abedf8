// A model without weights that knows what it has to write: gpt-oss's own tokenizer and prompts, and an engine that plays the tokens of
// a given text as the real one would choose them.
import type { CompletionModel } from '../../engine/completion/completer';
import { familyOf } from '../../engine/families/choose';
import type { GenerateOptions, GenerateResult } from '../../engine/runtime/request';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import { o200kVocabulary, vocabularyHeader } from '../../engine/synth/vocabulary';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';

/** More characters than a token of code has on average by far: what lies beyond them is not encoded. */
const MAX_CHARACTERS_PER_TOKEN = 40;

export class StandIn {
	readonly model: CompletionModel;
	/** What it writes after the cursor, with plain line ends; it ends there. */
	text = '';
	#healed = '';

	private constructor(tokenizer: Tokenizer, family: CompletionModel['family']) {
		const { completion } = family;
		this.model = {
			tokenizer,
			family: {
				...family,
				completion: {
					...{ name: completion.name, takesRelated: completion.takesRelated, shared: completion.shared },
					build: (file, window) => {
						const prompt = completion.build(file, window);
						this.#healed = prompt.healed;
						return prompt;
					},
				},
			},
			engine: { contextTokens: DEFAULT_SETTINGS.contextTokens, generate: (options) => this.#generate(options) },
		};
	}

	static async open(): Promise<StandIn> {
		const header = vocabularyHeader(await o200kVocabulary());
		const tokenizer = await Tokenizer.fromGgufInTurns(header);
		return new StandIn(tokenizer, familyOf(header, tokenizer));
	}

	async #generate({ tokens: prompt, maxTokens, choose, onToken }: GenerateOptions): Promise<GenerateResult> {
		const { tokenizer } = this.model;
		// The prompt leaves the piece before the cursor out, so the model writes it first.
		let left = Buffer.from(`${this.#healed}${this.text.slice(0, maxTokens * MAX_CHARACTERS_PER_TOKEN)}`);
		let planned = [...tokenizer.encode(left.toString())];
		const logits = new Float32Array(choose ? tokenizer.vocabulary.size : 0);
		const tokens: number[] = [];
		let choosing = choose;
		let stopReason: GenerateResult['stopReason'] = 'length';
		while (tokens.length < maxTokens) {
			const wanted = planned.shift();
			if (wanted === undefined) {
				stopReason = 'stop';
				break;
			}
			if (choosing) logits[wanted] = 1;
			const chosen = choosing?.(logits);
			if (choosing) logits[wanted] = 0;
			if (chosen === undefined) choosing = undefined;
			const token = chosen ?? wanted;
			tokens.push(token);
			left = left.subarray(tokenizer.vocabulary.tokenBytes(token).length);
			if (token !== wanted) planned = [...tokenizer.encode(left.toString())];
			if (onToken?.(token) === 'stop') {
				stopReason = 'stop';
				break;
			}
		}
		return {
			...{ tokens, stopReason, promptTokens: prompt.length, cachedTokens: 0 },
			drafts: { proposed: 0, accepted: 0 },
			timings: { firstTokenMilliseconds: 0, milliseconds: 0, decodeTokensPerSecond: 0 },
		};
	}
}
