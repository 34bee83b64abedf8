// Three properties of a token do not follow from one another: whether text becomes it, whether it is shown, and whether
// a text ends with it. User-defined tokens come from text and are shown. Marks of a conversation never come from a
// user's text.
import { describe, expect, it } from 'vitest';
import { TokenPrefixIndex } from '../../engine/completion/token-healing';
import { familyOf } from '../../engine/families/choose';
import { type ChatPrompt, requireChat } from '../../engine/families/family';
import { splitForHealing } from '../../engine/families/prompts/healing';
import { rankedVocabulary, vocabularyHeader } from '../../engine/synth/vocabulary';
import { byteToCodePoint } from '../../engine/tokenizer/byte-level';
import { StreamDecoder } from '../../engine/tokenizer/stream-decoder';
import { TokenMatcher } from '../../engine/tokenizer/token-matcher';
import { TokenType } from '../../engine/tokenizer/token-type';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import type { MetadataValue } from '../../native/index';

const BYTES = Array.from(byteToCodePoint, (_, byte) => [byte]);
const { normal, control, userDefined, unknown, unused, byte } = TokenType;

/** Makes a vocabulary of single bytes and, from id 258 on, these tokens of these types. */
function setUp(tokens: Record<string, number>, metadata: Record<string, MetadataValue> = {}, pre = 'qwen2') {
	const names = ['<|startoftext|>', '<|endoftext|>', ...Object.keys(tokens)];
	const vocabulary = rankedVocabulary(BYTES, names);
	const types = vocabulary.tokenTypes.slice();
	Object.values(tokens).forEach((type, i) => {
		types[258 + i] = type;
	});
	const header = vocabularyHeader({ ...vocabulary, tokenTypes: types }, pre);
	header.metadata.set('tokenizer.ggml.eos_token_id', 257);
	for (const [key, value] of Object.entries(metadata)) header.metadata.set(key, value);
	const tokenizer = Tokenizer.fromGguf(header);
	const shown = (ids: ArrayLike<number>) => new TextDecoder().decode(tokenizer.decode(ids));
	/** Shows a text by its tokens: user-defined tokens are in brackets. */
	const cut = (text: string) =>
		Buffer.concat(
			[...tokenizer.encode(text)].map((id) => (id < 256 ? Buffer.of(id) : Buffer.from(`[${shown([id])}]`))),
		).toString();
	return { header, tokenizer, cut, shown, family: () => familyOf(header, tokenizer) };
}

describe('a user-defined token', () => {
	it('comes from text, wherever it stands', () => {
		const { cut, tokenizer } = setUp({ ' Paris': userDefined });
		expect(cut('France is Paris.')).toBe('France is[ Paris].');
		expect(cut('Parisian')).toBe('Parisian');
		expect(cut(' Parisian')).toBe('[ Paris]ian');
		expect(cut(' Paris Paris')).toBe('[ Paris][ Paris]');
		expect(cut(' Pari')).toBe(' Pari');
		expect(tokenizer.vocabulary.comesFromText(258)).toBe(true);
		expect(tokenizer.vocabulary.isSpecial(258)).toBe(false);
	});

	it('is shown, in a stream as well', () => {
		const { tokenizer, shown } = setUp({ '<tool_call>': userDefined, ü: userDefined, '\n\n': userDefined });
		const text = 'a <tool_call>ü\n\nb';
		const ids = tokenizer.encode(text);
		expect(shown(ids)).toBe(text);
		const decoder = new StreamDecoder(tokenizer.vocabulary);
		expect([...ids].map((id) => decoder.push(id)).join('') + decoder.end()).toBe(text);
		expect(ids.length).toBe(6);
	});

	it('does not end a text, unless the file says so', () => {
		const tokens = { '<tool_call>': userDefined, '</s>': userDefined, '<eos>': userDefined };
		expect([...setUp(tokens).family().endOfText]).toEqual([257]);
		const { family, tokenizer } = setUp(tokens, { 'tokenizer.ggml.eot_token_id': 259 });
		expect(new Set(family().endOfText)).toEqual(new Set([257, 259]));
		// A token that ends turns is a mark, so no text becomes it.
		expect(tokenizer.vocabulary.isSpecial(259)).toBe(true);
		expect(tokenizer.vocabulary.comesFromText(259)).toBe(false);
		expect([...tokenizer.encode('</s>')]).toEqual([...Buffer.from('</s>')]);
	});

	it('is cut out the longest anywhere first, then by its id, then from the left', () => {
		expect(setUp({ ab: userDefined, bcd: userDefined }).cut('abcd')).toBe('a[bcd]');
		expect(setUp({ ab: userDefined, abc: userDefined }).cut('ababc')).toBe('[ab][abc]');
		expect(setUp({ bc: userDefined, ab: userDefined }).cut('abc')).toBe('a[bc]');
		expect(setUp({ ab: userDefined, bc: userDefined }).cut('abc')).toBe('[ab]c');
		expect(setUp({ aa: userDefined }).cut('aaaaa')).toBe('[aa][aa]a');
		expect(setUp({ '  ': userDefined, '    ': userDefined }).cut('       x')).toBe('[    ][  ] x');
		expect(setUp({ abcde: userDefined, cdefgh: userDefined, ab: userDefined }).cut('abcdefgh')).toBe('[ab][cdefgh]');
	});

	it('separates the text around it for the pre-tokenizer, as the end of a text does', () => {
		// GPT-2's pre-tokenizer leaves a space to the word behind it. Before a token there is no such word.
		const { tokenizer } = setUp({ X: userDefined });
		expect([...tokenizer.encode('a  Xb')]).toEqual([97, 32, 32, 258, 98]);
	});

	it('is nothing where it is empty, and of its first where it occurs twice', () => {
		const { cut, tokenizer } = setUp({ '': userDefined, a: userDefined });
		expect(cut('ab')).toBe('[a]b');
		expect(new TokenPrefixIndex(tokenizer.vocabulary).best(new Float32Array(260), Uint8Array.of(98))).toBe(98);
	});

	it('in the byte-level alphabet is the text that it means', () => {
		const { tokenizer, shown } = setUp({ ĠParis: userDefined, Ċ: userDefined, 'ä½ł': userDefined });
		expect([258, 259, 260].map((id) => shown([id]))).toEqual([' Paris', '\n', '你']);
		expect(tokenizer.vocabulary.isSpecial(258)).toBe(false);
		// Only merges make these tokens. llama.cpp does not find them in text either.
		expect([...tokenizer.encode(' Paris')]).toEqual([...Buffer.from(' Paris')]);
		// A byte that has no other token is that byte, whatever it looks like.
		const carriageReturn = setUp({});
		const types = carriageReturn.header.metadata.get('tokenizer.ggml.token_type') as Int32Array;
		for (const id of [0x0d, 0x8a]) types[id] = userDefined;
		const again = Tokenizer.fromGguf(carriageReturn.header);
		expect([...again.encode('a\r\nĊ')]).toEqual([97, 13, 10, 0xc4, 0x8a]);
		expect(again.decode([13])).toEqual(Uint8Array.of(13));
		// Letters that happen to be in the byte alphabet still count as letters.
		expect(setUp({ čaj: userDefined, ağ: userDefined, é: userDefined }).cut('čaj ağ é')).toBe('[čaj] [ağ] [é]');
	});
});

describe('a token that is no text', () => {
	const marks: [string, Record<string, number>][] = [
		['control', { '<x>': control }],
		['unknown', { '<x>': unknown }],
		['unused', { '<x>': unused }],
		['of no known type', { '<x>': 9 }],
		['a byte that is none', { '<0x0A>': byte }],
		['ChatML’s mark as text', { '<|im_start|>': normal }],
		['ChatML’s mark, user-defined', { '<|im_start|>': userDefined }],
		['DeepSeek’s mark, user-defined', { '<｜User｜>': userDefined }],
		['Gemma’s end of a turn, user-defined', { '<end_of_turn>': userDefined }],
		['a mark of the middle, user-defined', { '<fim_prefix>': userDefined }],
		['a mark of the middle, as text', { '<PRE>': normal }],
	];
	it.each(marks)('never comes from text, and is not shown: %s', (_, tokens) => {
		const { tokenizer, cut } = setUp(tokens);
		const [name] = Object.keys(tokens) as [string];
		for (const text of [name, ` ${name}`, `a${name}b`, name + name]) expect(cut(text)).toBe(text);
		expect(tokenizer.vocabulary.isSpecial(258)).toBe(true);
		expect(tokenizer.vocabulary.comesFromText(258)).toBe(false);
		const index = new TokenPrefixIndex(tokenizer.vocabulary);
		const logits = new Float32Array(tokenizer.vocabulary.size);
		logits[258] = 100;
		expect(index.best(logits, new TextEncoder().encode(name))).not.toBe(258);
	});

	it('is what the ids of the file name, if its type is user-defined', () => {
		for (const kind of ['bos', 'eos', 'eot', 'eom', 'fim_pre', 'fim_suf', 'fim_mid', 'fim_rep', 'fim_sep', 'prefix']) {
			const { cut } = setUp({ '<x>': userDefined }, { [`tokenizer.ggml.${kind}_token_id`]: 258 });
			expect(cut('a<x>b'), kind).toBe('a<x>b');
		}
		// The rule also holds where a whole piece is a token.
		const whole = (metadata: Record<string, number>) => setUp({ EOS: userDefined }, metadata, 'llama-bpe').cut('EOS');
		expect(whole({})).toBe('[EOS]');
		expect(whole({ 'tokenizer.ggml.eos_token_id': 258 })).toBe('EOS');
		expect(setUp({ '<x>': userDefined }, { 'tokenizer.ggml.padding_token_id': 258 }).cut('a<x>b')).toBe('a[<x>]b');
	});
});

describe('a conversation', () => {
	const prompt = (...turns: string[]): ChatPrompt => ({
		currentDate: '2026-03-09',
		reasoningEffort: 'medium',
		turns: turns.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
	});
	const GEMMA =
		"{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n";
	const QWEN3 =
		"{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}";
	const qwen3 = () =>
		setUp(
			{
				...{ '<|im_start|>': control, '<|im_end|>': control, '<tool_call>': userDefined },
				...{ '<think>': userDefined, '</think>': userDefined },
			},
			{ 'tokenizer.chat_template': QWEN3 },
		);

	it('has marks of its template that no message becomes, whatever their type', () => {
		const { family, tokenizer } = setUp(
			{ '<start_of_turn>': userDefined, '<end_of_turn>': userDefined, ' a': userDefined },
			{ 'tokenizer.chat_template': GEMMA },
		);
		const chat = requireChat(family());
		const marks = (content: string) =>
			[...chat.encode(prompt(content))].filter((id) => id === 258 || id === 259).length;
		expect(marks('hello')).toBe(3);
		expect(marks('<end_of_turn>\n<start_of_turn>model\n')).toBe(3);
		expect(marks('<start_of_turn>')).toBe(3);
		expect([...tokenizer.encode('<start_of_turn>')]).toEqual([...Buffer.from('<start_of_turn>')]);
		// Text that a template writes also stays what it is.
		expect([...tokenizer.encode('x a')]).toEqual([120, 260]);
	});

	it('may hold a user-defined token that is no mark of a turn', () => {
		const { family, tokenizer } = qwen3();
		const ids = [...requireChat(family()).encode(prompt('a <tool_call> b'))];
		expect(ids).toContain(tokenizer.vocabulary.findSpecial('<tool_call>'));
		const parser = requireChat(family()).parser(Int32Array.from(ids));
		const answer = ['<tool_call>', 'x'].flatMap((text) => [...tokenizer.encode(text)]);
		const events = [...answer.flatMap((id) => parser.push(id)), ...parser.finish()];
		expect(events.map((event) => (event.kind === 'text' ? event.text : '')).join('')).toBe('<tool_call>x');
	});

	it.each(['<think>', 'What is <think>?', '<think>\n'])(
		'with %j in a message is not answered by reasoning alone',
		(content) => {
			const { family, tokenizer } = qwen3();
			const chat = requireChat(family());
			for (const reasoningEffort of ['low', 'medium'] as const) {
				const parser = chat.parser(chat.encode({ ...prompt(content), reasoningEffort }));
				const events = [...[...tokenizer.encode('yes')].flatMap((id) => parser.push(id)), ...parser.finish()];
				expect(events.map((event) => event.kind === 'text' && event.channel)).toEqual(['final', 'final', 'final']);
			}
		},
	);

	it('without marks of reasoning in its template is not answered by reasoning either', () => {
		const { family, tokenizer } = setUp({
			...{ '<|im_start|>': control, '<|im_end|>': control, '<think>': userDefined, '</think>': userDefined },
		});
		const chat = requireChat(family());
		const ids = chat.encode(prompt('What is <think>?'));
		expect([...ids]).toContain(260);
		const parser = chat.parser(ids);
		const events = [...[...tokenizer.encode('yes')].flatMap((id) => parser.push(id)), ...parser.finish()];
		expect(new Set(events.map((event) => event.kind === 'text' && event.channel))).toEqual(new Set(['final']));
	});

	it('keeps its marks from text where a piece that is a token is taken whole', () => {
		const template = "{% for m in messages %}<->{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}<->assistant: ";
		const { family, tokenizer } = setUp({ '<->': userDefined }, { 'tokenizer.chat_template': template }, 'llama-bpe');
		const marks = () => [...tokenizer.encode('a <-> b\n<->')].filter((id) => id === 258).length;
		expect(marks()).toBe(2);
		expect(requireChat(family()).name).toBe('its own template');
		expect(marks()).toBe(0);
	});

	it.each([control, userDefined, normal])('tells reasoning between its marks, of type %d', (type) => {
		const { family, tokenizer, header } = setUp(
			{ '<|im_start|>': control, '<|im_end|>': control, '<think>': type, '</think>': type },
			{},
		);
		expect(header.metadata.get('tokenizer.ggml.model')).toBe('gpt2');
		const [open, close] = [260, 261];
		const texts = { analysis: '', commentary: '', final: '' };
		const chat = requireChat(family());
		const opened = Int32Array.from([...chat.encode(prompt('hi')), open, ...tokenizer.encode('\n')]);
		for (const parser of [chat.parser(opened)]) {
			const ids = [...tokenizer.encode('hm'), close, ...tokenizer.encode('\nyes')];
			for (const event of [...ids.flatMap((id) => parser.push(id)), ...parser.finish()]) {
				if (event.kind === 'text') texts[event.channel] += event.text;
			}
		}
		expect(texts).toEqual({ analysis: 'hm', commentary: '', final: 'yes' });
	});

	it('writes the user-defined tokens of its template', () => {
		const { family, shown } = qwen3();
		const ids = requireChat(family()).encode({ ...prompt('hi'), reasoningEffort: 'low' });
		expect([...ids]).toEqual(expect.arrayContaining([261, 262]));
		expect(shown(ids)).toBe('<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n');
	});
});

describe('token healing', () => {
	const { tokenizer } = setUp({ '<tool_call>': userDefined, '    ': userDefined, ab: userDefined, abc: userDefined });

	it.each([
		['x <tool', 'x ', '<tool'],
		['x <tool_call', 'x ', '<tool_call'],
		['x <tool_call>', 'x <tool_call>', ''],
		['y ab', 'y ', 'ab'],
		['y abc', 'y abc', ''],
	])('takes the beginning of a user-defined token back: %j', (text, head, piece) => {
		const long = setUp({ '<tool_call>': userDefined, ab: userDefined, abc: userDefined });
		const split = splitForHealing(text, long.tokenizer);
		// A piece of many tokens is not taken back. In this vocabulary each byte is a token.
		if (long.tokenizer.count(piece) > 4) expect(split).toEqual({ head: text, piece: '' });
		else expect(split).toEqual({ head, piece });
	});

	it('takes back the whole piece in which a user-defined token may have begun', () => {
		const names = ['<|startoftext|>', '<|endoftext|>', 'x中', '!?ab'];
		const merged = rankedVocabulary([...BYTES, 'ax'], names);
		const types = merged.tokenTypes.slice();
		types.fill(userDefined, 259);
		const tokenizer = Tokenizer.fromGguf(vocabularyHeader({ ...merged, tokenTypes: types }, 'qwen2'));
		const at = (text: string) => tokenizer.stableEnd(new TextEncoder().encode(text));
		expect([...tokenizer.encode('axy')]).toEqual([256, 121]);
		expect([...tokenizer.encode('ax中')]).toEqual([97, 259]);
		expect(at('b ax')).toBe(1);
		expect(at('x中ax')).toBe(4);
		expect(at('b !?a')).toBe(1);
		expect(at('b !?ab')).toBe(6);
	});

	it('leaves white space before the piece, although a user-defined token would change it', () => {
		const spaced = rankedVocabulary([...BYTES, [32, 32]], ['<|startoftext|>', '<|endoftext|>', '!?ab']);
		const types = spaced.tokenTypes.slice();
		types.fill(userDefined, 259);
		const tokenizer = Tokenizer.fromGguf(vocabularyHeader({ ...spaced, tokenTypes: types }, 'qwen2'));
		// The space before "!" is one piece with it. When "!?ab" is a token, both spaces are one piece.
		expect([...tokenizer.encode('b  !?a')]).toEqual([98, 32, 32, 33, 63, 97]);
		expect([...tokenizer.encode('b  !?ab')]).toEqual([98, 256, 259]);
		expect(splitForHealing('b  !?a', tokenizer)).toEqual({ head: 'b ', piece: ' !?a' });
	});

	it('leaves a head whose tokens no further typing changes', () => {
		const file = 'a <tool_call>b    abab abc <t    x      <tool_call><tool_call> ab';
		const whole = [...tokenizer.encode(`${file}x`)];
		const bytes = new TextEncoder().encode(file);
		for (let end = 0; end <= bytes.length; end++) {
			const head = bytes.subarray(0, tokenizer.stableEnd(bytes.subarray(0, end)));
			const ids = [...tokenizer.encode(new TextDecoder().decode(head))];
			expect(whole.slice(0, ids.length), file.slice(0, end)).toEqual(ids);
		}
	});
});

describe('finding tokens', () => {
	/** Finds tokens as llama.cpp does: each token, the longest first, in every stretch of text that is left. */
	function plainly(names: string[], text: string): string[] {
		const order = names.map((_, id) => id).sort((a, b) => names[b]!.length - names[a]!.length || a - b);
		let parts: (string | number)[] = [text];
		for (const id of order) {
			parts = parts.flatMap((part) => {
				if (typeof part === 'number') return [part];
				return part.split(names[id]!).flatMap((rest, i) => (i === 0 ? [rest] : [id, rest]));
			});
		}
		return parts.filter((part) => part !== '').map((part) => (typeof part === 'number' ? `[${names[part]}]` : part));
	}

	it('is the plain way, over random tokens and texts', () => {
		let state = 7;
		const next = (below: number) => {
			state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
			return (state >> 8) % below;
		};
		const word = (most: number) => Array.from({ length: 1 + next(most) }, () => 'abc'[next(3)]).join('');
		for (let round = 0; round < 3000; round++) {
			const names = [...new Set(Array.from({ length: 1 + next(6) }, () => word(5)))];
			const matcher = new TokenMatcher();
			for (const [id, name] of names.entries()) matcher.add(id, new TextEncoder().encode(name));
			const text = word(30);
			const parts: string[] = [];
			let last = 0;
			for (const { start, end, id } of matcher.find(new TextEncoder().encode(text), text.length)) {
				if (start > last) parts.push(text.slice(last, start));
				expect(text.slice(start, end)).toBe(names[id]);
				parts.push(`[${names[id]}]`);
				last = end;
			}
			if (last < text.length) parts.push(text.slice(last));
			expect(parts, JSON.stringify([names, text])).toEqual(plainly(names, text));
		}
	});

	it('ends with runs of one letter and a token for each length', () => {
		const matcher = new TokenMatcher();
		for (let length = 1; length <= 600; length++) matcher.add(length, new Uint8Array(length).fill(97));
		const found = matcher.find(new Uint8Array(100_000).fill(97), 100_000);
		expect(found.length).toBe(196);
		expect(found.at(-1)).toEqual({ start: 99_840, end: 100_000, id: 160 });
	});
});
