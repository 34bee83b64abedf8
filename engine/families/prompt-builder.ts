// Builds a prompt part by part. Special tokens are added by id. Texts between them are encoded as text, so no text can
// become a special token.
import type { Tokenizer } from '../tokenizer/tokenizer';

/** A special token's id, or the text between two of them. */
export type PromptPart = number | string;

export class PromptBuilder {
	readonly #tokenizer: Tokenizer;
	/** The parts of the prompt. Neighbouring texts are joined, because tokens may span them. */
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

/** Joins the ids of special tokens and the ids of the texts between them to a prompt. */
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
