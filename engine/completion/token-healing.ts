// The second half of token healing. The prompt left out the piece before the cursor (families/prompts/healing.ts). The
// generation has to begin with the bytes of that piece, in the tokens that the model finds likeliest.
import type { TokenChooser } from '../runtime/request';
import type { Vocabulary } from '../tokenizer/vocabulary';

/** Finds the tokens that agree with given bytes: the tokens that begin with them, and those that they begin with. */
export class TokenPrefixIndex {
	readonly #vocabulary: Vocabulary;
	readonly #byFirstByte: number[][] = Array.from({ length: 256 }, () => []);

	constructor(vocabulary: Vocabulary) {
		this.#vocabulary = vocabulary;
		for (let id = 0; id < vocabulary.size; id++) {
			if (vocabulary.comesFromText(id)) this.#byFirstByte[vocabulary.tokenBytes(id)[0]!]!.push(id);
		}
	}

	/** The likeliest token that begins with `wanted` or with which `wanted` begins. */
	best(logits: Float32Array, wanted: Uint8Array): number | undefined {
		let best: number | undefined;
		for (const id of this.#byFirstByte[wanted[0]!]!) {
			if (best !== undefined && logits[id]! <= logits[best]!) continue;
			if (agrees(this.#vocabulary.tokenBytes(id), wanted)) best = id;
		}
		return best;
	}

	/** Makes a generation begin with `piece`. After that, the model chooses freely. */
	chooser(piece: string): TokenChooser {
		let wanted = new TextEncoder().encode(piece);
		return (logits) => {
			if (wanted.length === 0) return undefined;
			const token = this.best(logits, wanted);
			if (token !== undefined) wanted = wanted.subarray(this.#vocabulary.tokenBytes(token).length);
			return token;
		};
	}
}

function agrees(token: Uint8Array, wanted: Uint8Array): boolean {
	const length = Math.min(token.length, wanted.length);
	for (let i = 0; i < length; i++) if (token[i] !== wanted[i]) return false;
	return true;
}
