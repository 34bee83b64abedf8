// The tokens of the texts that conversations consist of. Each turn sends the whole conversation again, and its earlier
// texts do not change, so each text is encoded once and its tokens are kept.
import type { PromptPart } from '../families/prompt-builder';
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { Pace } from './pace';

/** Characters of all texts whose tokens are kept. The tokens take about as much memory as the text. */
const MOST_CHARACTERS = 2 ** 23;
/** A longer text is not kept, because it would drive out all others. */
const MOST_REMEMBERED = MOST_CHARACTERS / 2;
/** Bytes that are encoded before others may have their turn. They take about 5 ms. */
const STEP_BYTES = 16_384;

export class TextTokens {
	readonly #tokenizer: Pick<Tokenizer, 'encodeInSteps' | 'longestToken'>;
	/** The tokens by text, the least recently used text first. */
	readonly #known = new Map<string, Int32Array>();
	#characters = 0;

	constructor(tokenizer: Pick<Tokenizer, 'encodeInSteps' | 'longestToken'>) {
		this.#tokenizer = tokenizer;
	}

	/**
	 * The least number of tokens that so many characters can have. A text of megabytes is refused by this without being
	 * encoded.
	 */
	atLeast(characters: number): number {
		return Math.ceil(characters / this.#tokenizer.longestToken);
	}

	/** The tokens of a text. The caller must not write to them. */
	async of(text: string, pace: Pace): Promise<Int32Array> {
		// A text that is too long to be kept is not looked up, since the map's hash would read all of it.
		const known = text.length > MOST_REMEMBERED ? undefined : this.#known.get(text);
		if (known) {
			this.#known.delete(text);
			this.#known.set(text, known);
			return known;
		}
		const steps = this.#tokenizer.encodeInSteps(text, STEP_BYTES);
		let step = steps.next();
		for (; !step.done; step = steps.next()) if (pace.due) await pace.rest();
		this.#remember(text, step.value);
		return step.value;
	}

	/** The ids of a prompt's special tokens, and between them the tokens of its texts. */
	async ofParts(parts: readonly PromptPart[], pace: Pace): Promise<(number | Int32Array)[]> {
		const pieces: (number | Int32Array)[] = [];
		for (const part of parts) {
			pieces.push(typeof part === 'number' ? part : await this.of(part, pace));
			if (pace.due) await pace.rest();
		}
		return pieces;
	}

	#remember(text: string, tokens: Int32Array): void {
		// Another request may have encoded the same text meanwhile.
		if (text.length > MOST_REMEMBERED || this.#known.has(text)) return;
		this.#known.set(text, tokens);
		this.#characters += text.length;
		for (const [oldest] of this.#known) {
			if (this.#characters <= MOST_CHARACTERS) break;
			this.#known.delete(oldest);
			this.#characters -= oldest.length;
		}
	}
}
