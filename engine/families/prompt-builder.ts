// Token ids of a prompt, part by part. Special tokens are put between the parts by id; every part is encoded as text, so nothing
// in it can become one.
import type { Tokenizer } from '../tokenizer/tokenizer';

export class PromptBuilder {
	#ids = new Int32Array(1024);
	#length = 0;
	/** Text not yet encoded: neighbouring parts are encoded together, as if they had been written at once. */
	#text = '';

	constructor(private readonly tokenizer: Tokenizer) {}

	special(id: number): this {
		this.#flush();
		this.#reserve(1);
		this.#ids[this.#length++] = id;
		return this;
	}

	text(text: string): this {
		this.#text += text;
		return this;
	}

	build(): Int32Array {
		this.#flush();
		return this.#ids.slice(0, this.#length);
	}

	#flush(): void {
		if (this.#text === '') return;
		const ids = this.tokenizer.encode(this.#text);
		this.#text = '';
		this.#reserve(ids.length);
		this.#ids.set(ids, this.#length);
		this.#length += ids.length;
	}

	#reserve(more: number): void {
		if (this.#length + more <= this.#ids.length) return;
		const grown = new Int32Array(2 * (this.#length + more));
		grown.set(this.#ids);
		this.#ids = grown;
	}
}
