// Decodes tokens to text while they are generated.
import type { Vocabulary } from './vocabulary';

/** Decodes ids to text piece by piece and never splits a character. Bytes that are no UTF-8 become U+FFFD. */
export class StreamDecoder {
	readonly #vocabulary: Vocabulary;
	#decoder = new TextDecoder('utf-8', { ignoreBOM: true });

	constructor(vocabulary: Vocabulary) {
		this.#vocabulary = vocabulary;
	}

	/** The text up to the last character that `id` completes. It is empty while a character is unfinished. */
	push(id: number): string {
		return this.#decoder.decode(this.#vocabulary.tokenBytes(id), { stream: true });
	}

	/**
	 * Ends the text. The rest is U+FFFD if the text ends within a character. The decoder can then be used for another
	 * text.
	 */
	end(): string {
		return this.#decoder.decode();
	}
}
