// Text from tokens as they are generated.
import type { Vocabulary } from './vocabulary';

/** Turns ids into text piece by piece and never splits a character; what is no UTF-8 becomes U+FFFD. */
export class StreamDecoder {
	readonly #vocabulary: Vocabulary;
	#decoder = new TextDecoder('utf-8', { ignoreBOM: true });

	constructor(vocabulary: Vocabulary) {
		this.#vocabulary = vocabulary;
	}

	/** The text that `id` completes; empty while a character is unfinished. */
	push(id: number): string {
		return this.#decoder.decode(this.#vocabulary.tokenBytes(id), { stream: true });
	}

	/** What remains: U+FFFD if the text ended inside a character. The decoder is then as new. */
	end(): string {
		return this.#decoder.decode();
	}
}
