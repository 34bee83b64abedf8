// The tokens of the texts that conversations consist of. Each turn sends all of a conversation again, and what is said in it
// stays as it is: each text is encoded once.
import type { PromptPart } from '../families/prompt-builder';
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { Pace } from './pace';

/** Characters that are remembered; the tokens take about as much memory as the text. */
const MOST_CHARACTERS = 2 ** 23;
/** A single text must not drive out all others. */
const MOST_REMEMBERED = MOST_CHARACTERS / 2;
/** Bytes that are encoded before others may have their turn: about 5 ms. */
const STEP_BYTES = 16_384;

export class TextTokens {
	readonly #tokenizer: Pick<Tokenizer, 'encodeInSteps' | 'longestToken'>;
	/** Least recently used first. */
	readonly #known = new Map<string, Int32Array>();
	#characters = 0;

	constructor(tokenizer: Pick<Tokenizer, 'encodeInSteps' | 'longestToken'>) {
		this.#tokenizer = tokenizer;
	}

	/** How many tokens a text of so many characters has at least: megabytes that cannot fit need no counting. */
	atLeast(characters: number): number {
		return Math.ceil(characters / this.#tokenizer.longestToken);
	}

	/** The tokens of a text: do not write. */
	async of(text: string, pace: Pace): Promise<Int32Array> {
		// Not even looked for where it would not be remembered: that reads all of it.
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

	/** The tokens of a prompt's parts, text by text. */
	async ofParts(parts: readonly PromptPart[], pace: Pace): Promise<(number | Int32Array)[]> {
		const pieces: (number | Int32Array)[] = [];
		for (const part of parts) {
			pieces.push(typeof part === 'number' ? part : await this.of(part, pace));
			if (pace.due) await pace.rest();
		}
		return pieces;
	}

	#remember(text: string, tokens: Int32Array): void {
		// Somebody else may have encoded it meanwhile.
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
