// A prompt, part by part. Special tokens are put between the parts by id; every part is encoded as text, so nothing in it can
// become one.
import type { Tokenizer } from '../tokenizer/tokenizer';

/** A special token's id, or the text between two of them. */
export type PromptPart = number | string;

export class PromptBuilder {
	readonly #tokenizer: Tokenizer;
	/** Neighbouring texts are one, and encoded as if they had been written at once. */
	readonly parts: PromptPart[] = [];

	constructor(tokenizer: Tokenizer) {
		this.#tokenizer = tokenizer;
	}

	special(id: number): this {
		this.parts.push(id);
		return this;
	}

	text(text: string): this {
		const last = this.parts.length - 1;
		if (text === '') return this;
		if (typeof this.parts[last] === 'string') this.parts[last] += text;
		else this.parts.push(text);
		return this;
	}

	build(): Int32Array {
		return joinTokens(this.parts.map((part) => (typeof part === 'number' ? part : this.#tokenizer.encode(part))));
	}
}

/** A prompt of special tokens' ids and of the ids of the texts between them. */
export function joinTokens(pieces: readonly (number | Int32Array)[]): Int32Array {
	const ids = new Int32Array(tokenCount(pieces));
	let count = 0;
	for (const piece of pieces) {
		if (typeof piece === 'number') {
			ids[count++] = piece;
		} else {
			ids.set(piece, count);
			count += piece.length;
		}
	}
	return ids;
}

export function tokenCount(pieces: readonly (number | Int32Array)[]): number {
	return pieces.reduce<number>((sum, piece) => sum + (typeof piece === 'number' ? 1 : piece.length), 0);
}
