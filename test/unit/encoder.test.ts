// A made-up encoder of another kind than byte-level BPE. It shows that the interface holds what it promises: this
// encoder works through the tokenizer, token healing and text from tokens, although none of them knows it.
import { describe, expect, it } from 'vitest';
import { TextTokens } from '../../engine/chat/text-tokens';
import { TokenPrefixIndex } from '../../engine/completion/token-healing';
import { splitForHealing } from '../../engine/families/prompts/healing';
import type { Encoder, Pace } from '../../engine/tokenizer/encoder';
import { StreamDecoder } from '../../engine/tokenizer/stream-decoder';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { toUtf8 } from '../../engine/tokenizer/utf8';
import { TokenKind, Vocabulary } from '../../engine/tokenizer/vocabulary';

const SPACE = 0x20;

/**
 * Splits at spaces only. Each word has a space before it, as in SentencePiece. A word is a token or, if there is no
 * such token, `<unknown>`.
 */
class Words implements Encoder {
	/** `<unknown>` stands for any number of bytes. */
	readonly longestToken = Number.POSITIVE_INFINITY;
	readonly #vocabulary: Vocabulary;
	readonly #unknown: number;

	constructor(vocabulary: Vocabulary, unknown: number) {
		this.#vocabulary = vocabulary;
		this.#unknown = unknown;
	}

	/** The space that is put before the text may be a word of its own. */
	mostTokens(bytes: number): number {
		return bytes + 1;
	}

	*encode(text: Uint8Array, ids: Int32Array, count: number, pace: Pace): Generator<undefined, number> {
		const spaced = Uint8Array.of(SPACE, ...text);
		let written = count;
		for (let start = 0; start < spaced.length; ) {
			const next = spaced.indexOf(SPACE, start + 1);
			const end = next < 0 ? spaced.length : next;
			const id = this.#vocabulary.index.find(spaced, start, end);
			ids[written++] = id < 0 ? this.#unknown : id;
			pace.left -= end - start;
			start = end;
			if (pace.left > 0) continue;
			pace.left = pace.bytes;
			yield;
		}
		return written;
	}

	stableEnd(text: Uint8Array, open: number): number {
		return Math.max(0, text.subarray(0, open).lastIndexOf(SPACE));
	}
}

const names: [string, TokenKind][] = [
	['<unknown>', TokenKind.control],
	...[' ', ' the', ' cat', ' sat', ' sa', ' dog', ' im', ' Käse'].map((word): [string, TokenKind] => [
		word,
		TokenKind.text,
	]),
	['<tool>', TokenKind.userDefined],
	['<end>', TokenKind.control],
];

function words(): Tokenizer {
	const texts = names.map(([name]) => toUtf8(name));
	const steps = Vocabulary.of({
		bytes: Uint8Array.from(texts.flatMap((text) => [...text])),
		starts: Uint32Array.from([0, ...texts.map((_, i) => texts.slice(0, i + 1).flatMap((text) => [...text]).length)]),
		kinds: Uint8Array.from(names, ([, kind]) => kind),
	});
	const vocabulary = steps.next().value as Vocabulary;
	return new Tokenizer(vocabulary, new Words(vocabulary, 0), { bosId: 10 });
}

const id = (name: string) => names.findIndex(([other]) => other === name);
const ids = (...tokens: string[]) => tokens.map(id);

describe('an encoder that splits at spaces only', () => {
	it('encodes a text and the parts between user-defined tokens', () => {
		const tokenizer = words();
		expect([...tokenizer.encode('the cat sat')]).toEqual(ids(' the', ' cat', ' sat'));
		expect([...tokenizer.encode('the <tool>cat  rat')]).toEqual(ids(' the', ' ', '<tool>', ' cat', ' ', '<unknown>'));
		expect([...tokenizer.encode('<tool><tool>')]).toEqual(ids('<tool>', '<tool>'));
		expect([...tokenizer.encode('')]).toEqual([]);
		expect([...tokenizer.encode('<end>')]).toEqual(ids('<unknown>'));
		expect(tokenizer.count('im Käse')).toBe(2);
	});

	it('encodes in steps, and has no more tokens than it says', () => {
		const tokenizer = words();
		const text = 'the cat <tool>sat '.repeat(20);
		const steps = tokenizer.encodeInSteps(text, 10);
		let turns = 0;
		for (;;) {
			const { done, value } = steps.next();
			if (!done) {
				turns++;
				continue;
			}
			expect(value).toEqual(tokenizer.encode(text));
			break;
		}
		expect(turns).toBeGreaterThan(10);
	});

	it('says what of a text is stable, by which token healing goes', () => {
		const tokenizer = words();
		expect(splitForHealing('the cat sa', tokenizer)).toEqual({ head: 'the cat', piece: ' sa' });
		expect(splitForHealing('im Kä', tokenizer)).toEqual({ head: 'im', piece: ' Kä' });
		expect(splitForHealing('the', tokenizer)).toEqual({ head: '', piece: 'the' });
		expect(splitForHealing('the cat <to', tokenizer)).toEqual({ head: 'the cat', piece: ' <to' });
		expect(splitForHealing('the <tool>cat', tokenizer)).toEqual({ head: 'the <tool>', piece: 'cat' });
		expect(splitForHealing('the <tool>', tokenizer)).toEqual({ head: 'the <tool>', piece: '' });
		const file = 'the cat <tool>sat the im Käse dog';
		const whole = [...tokenizer.encode(file)];
		for (let end = 0; end <= file.length; end++) {
			const { head } = splitForHealing(file.slice(0, end), tokenizer);
			const stable = [...tokenizer.encode(head)];
			expect(whole.slice(0, stable.length), head).toEqual(stable);
		}
	});

	it('is generated from: the piece first, and text token by token', () => {
		const { vocabulary } = words();
		const choose = new TokenPrefixIndex(vocabulary).chooser(' sa');
		const logits = new Float32Array(vocabulary.size);
		logits[id(' dog')] = 9;
		logits[id(' sat')] = 5;
		expect(choose(logits)).toBe(id(' sat'));
		expect(choose(logits)).toBeUndefined();
		const decoder = new StreamDecoder(vocabulary);
		expect(
			ids(' im', ' Käse')
				.map((token) => decoder.push(token))
				.join(''),
		).toBe(' im Käse');
	});

	it('says how few tokens a long text may be', () => {
		const texts = new TextTokens(words());
		expect(texts.atLeast(1e6)).toBe(0);
	});
});
