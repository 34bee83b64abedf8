// tokenizer.json: every option that changes tokens is mapped, or is named in an error. Each chain of steps that is
// mapped gives the same tokens as Hugging Face's tokenizers 0.23: that was compared on 3,000 texts.
import { rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { convertFolder } from '../../../engine/convert/convert';
import { FILL_NAMES } from '../../../engine/tokenizer/control-names';
import { TokenType } from '../../../engine/tokenizer/token-type';
import { Tokenizer } from '../../../engine/tokenizer/tokenizer';
import { type GgufHeader, loadNative } from '../../../native/index';
import { splitPatterns, strings } from '../../support/hugging-face';
import { temporaryFolder } from '../../support/models';
import { smallFolder, smallTokenizer, smallVocabulary } from '../../support/small-folder';

const folder = temporaryFolder();
const native = loadNative();

type Change = Record<string, unknown>;
const base = smallTokenizer();
const vocabulary = base.model.vocab;
const byteLevel = (more: Change = {}) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, ...more });
const split = (regex: string, more: Change = {}) => ({
	...{ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false, ...more },
});
const digits = (individual: boolean) => ({ type: 'Digits', individual_digits: individual });
const sequence = (...pretokenizers: unknown[]) => ({ pre_tokenizer: { type: 'Sequence', pretokenizers } });
const plain = byteLevel({ use_regex: false });
const llama3 = splitPatterns['llama-bpe'];
const gpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const model = (more: Change) => ({ model: { ...base.model, ...more } });
const added = (more: Change) => ({
	added_tokens: base.added_tokens.map((token, i) => (i === 0 ? { ...token, ...more } : token)),
});

async function converted(tokenizer: Change, files: Record<string, unknown> = {}): Promise<GgufHeader> {
	const from = smallFolder(folder, 'one', { 'tokenizer.json': { ...base, ...tokenizer }, ...files });
	rmSync(`${from}.gguf`, { force: true });
	await convertFolder(from, `${from}.gguf`);
	return native.readGguf(`${from}.gguf`);
}

describe('splitting that is mapped', () => {
	test.each<[string, Change, string]>([
		['Llama 3’s', {}, 'llama-bpe'],
		['gpt-oss’s', sequence(split(splitPatterns['gpt-4o']), plain), 'gpt-4o'],
		['Qwen’s', { ...sequence(split(splitPatterns.qwen2), plain), normalizer: { type: 'NFC' } }, 'qwen2'],
		['a sequence of normalizers', { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }] } }, 'llama-bpe'],
		[
			'what lies between matches removed',
			sequence(split(llama3, { behavior: 'Removed', invert: true }), plain),
			'llama-bpe',
		],
		['sequences within', sequence({ type: 'Sequence', pretokenizers: [split(llama3)] }, plain), 'llama-bpe'],
		['GPT-2’s', { pre_tokenizer: byteLevel({ use_regex: true }) }, 'gpt-2'],
		['GPT-2’s, from before there was a choice', { pre_tokenizer: byteLevel() }, 'gpt-2'],
		['GPT-2’s, its pattern written out', sequence(split(gpt2), plain), 'gpt-2'],
		['SmolLM’s', sequence(digits(true), byteLevel()), 'smollm'],
		['offsets trimmed or not', sequence(split(llama3), { ...plain, trim_offsets: false }), 'llama-bpe'],
	])('%s', async (_, change, name) => {
		const header = await converted(change);
		expect(header.metadata.get('tokenizer.ggml.pre')).toBe(name);
		const tokens = strings(header.metadata.get('tokenizer.ggml.tokens') as never);
		expect(tokens).toEqual(strings(smallVocabulary.tokens));
	});

	test.each<[string, Change]>([
		[
			'everything off',
			model({ dropout: null, unk_token: null, continuing_subword_prefix: '', end_of_word_suffix: '' }),
		],
		['dropout of 0', model({ dropout: 0 })],
		['an unknown token where every byte has one', model({ unk_token: '<|endoftext|>', fuse_unk: true })],
		['whole pieces, which merging makes anyway', model({ ignore_merges: true })],
		['merges as pairs', model({ merges: base.model.merges.map((merge) => (merge as string).split(' ')) })],
		['a decoder and an idle post-processor', { decoder: byteLevel(), post_processor: byteLevel() }],
		['truncation and padding, which are for training', { truncation: { max_length: 8 }, padding: { length: 8 } }],
	])('%s makes no difference', async (_, change) => {
		const [usual, other] = [await converted({}), await converted(change)];
		for (const [key, value] of usual.metadata) {
			if (key.startsWith('tokenizer.')) expect(other.metadata.get(key), key).toEqual(value);
		}
	});
});

test('text is brought into the form that the tokenizer asks for, but for its own tokens', async () => {
	const plainOne = Tokenizer.fromGguf(await converted({}));
	const header = await converted({ normalizer: { type: 'NFC' } });
	expect(header.metadata.get('hearth.text_normalizer')).toBe('NFC');
	const normalizing = Tokenizer.fromGguf(header);
	// These were compared with tokenizers 0.23: letters with marks, marks in another order, Hangul, an ångström sign.
	for (const text of ['cafe\u0301', 'a\u0323\u0302b\u0302\u0323', '\u1112\u1161\u11ab', '\u212b', 'plain', '\ud800x']) {
		expect([...normalizing.encode(text)], text).toEqual([...plainOne.encode(text.normalize('NFC'))]);
	}
	expect([...plainOne.encode('e\u0301')]).not.toEqual([...plainOne.encode('\u00e9')]);
	// Long text is normalised in parts, and may be cut at any place. Other work may run between the parts.
	const units = ['e\u0301', 'a\u0323\u0302', '\u1112\u1161\u11ab', '\ud834\udd1e', '\ud834\udd57\ud834\udd65'];
	for (const [unit, before] of units.flatMap((each) => ['', 'x', 'xx', 'xxx'].map((x) => [each, x] as const))) {
		const long = before + `${unit} `.repeat(70_000 / unit.length);
		const steps = normalizing.encodeInSteps(long, 1_000_000);
		let yields = 0;
		let step = steps.next();
		for (; !step.done; yields++) step = steps.next();
		expect(yields).toBeGreaterThan(1);
		expect(step.value!.join() === plainOne.encode(long.normalize('NFC')).join(), `${before}${unit}`).toBe(true);
	}
	// This text would take minutes to normalise, so it stays as it is.
	const marks = `a${'\u0301\u0316'.repeat(200_000)}`;
	expect(normalizing.count(marks)).toBe(plainOne.count(marks));
});

describe('what is named', () => {
	const ignoring = (): Change => {
		// No merge makes this token.
		const vocab = { ...vocabulary };
		const [spare] = Object.keys(vocab).slice(-1);
		const id = vocab[spare!]!;
		delete vocab[spare!];
		vocab['zqzqzq'] = id;
		const merges = base.model.merges.filter((merge) => {
			const joined = (merge as string).replace(' ', '');
			return joined !== spare && !(merge as string).split(' ').includes(spare!);
		});
		return { ...base.model, vocab, merges };
	};
	test.each<[string, Change, RegExp]>([
		[
			'a Split and ByteLevel’s pattern',
			sequence(split(llama3), byteLevel({ use_regex: true })),
			/Split, ByteLevel with use_regex true/,
		],
		[
			'a Split and ByteLevel’s usual pattern',
			sequence(split(llama3), byteLevel()),
			/Split, ByteLevel with use_regex true/,
		],
		['ByteLevel without its pattern', { pre_tokenizer: plain }, /ByteLevel with use_regex false/],
		['a Split and Digits', sequence(split(llama3), digits(true), plain), /Split, Digits, ByteLevel/],
		['Digits and a Split', sequence(digits(true), split(llama3), plain), /Digits, Split, ByteLevel/],
		['ByteLevel, then Digits', sequence(byteLevel(), digits(true)), /ByteLevel with use_regex true, Digits/],
		['Digits and no pattern', sequence(digits(true), plain), /Digits, ByteLevel with use_regex false/],
		['Digits in groups', sequence(digits(false), byteLevel()), /Digits without individual_digits/],
		['Digits twice', sequence(digits(true), digits(true), byteLevel()), /Digits, Digits, ByteLevel/],
		['two Splits', sequence(split(llama3), split(splitPatterns.qwen2), plain), /Split, Split, ByteLevel/],
		['ByteLevel first', sequence(plain, split(llama3)), /ByteLevel with use_regex false, Split/],
		['ByteLevel twice', sequence(byteLevel(), plain), /ByteLevel with use_regex true, ByteLevel/],
		['a Split alone', sequence(split(llama3)), /no ByteLevel pre-tokenizer/],
		['nothing', { pre_tokenizer: null }, /no ByteLevel pre-tokenizer/],
		['an empty sequence', sequence(), /no ByteLevel pre-tokenizer/],
		['a split at a string', sequence(split(llama3, { pattern: { String: ' ' } }), plain), /split at a string/],
		['matches removed', sequence(split(llama3, { behavior: 'Removed' }), plain), /behavior "Removed" and invert false/],
		['the rest isolated', sequence(split(llama3, { invert: true }), plain), /behavior "Isolated" and invert true/],
		...['MergedWithPrevious', 'MergedWithNext', 'Contiguous'].map((behavior): [string, Change, RegExp] => [
			...([behavior, sequence(split(llama3, { behavior }), plain), new RegExp(`behavior "${behavior}"`)] as const),
		]),
		['a pattern that differs by a space', sequence(split(llama3.replace(' ?', '')), plain), /unknown pattern/],
		['a space before all text', { pre_tokenizer: byteLevel({ add_prefix_space: true }) }, /add_prefix_space/],
		['an option of another type', { pre_tokenizer: byteLevel({ use_regex: 1 }) }, /use_regex should be true or false/],
		[
			'an option of the future',
			{ pre_tokenizer: byteLevel({ lowercase: true }) },
			/lowercase is true, which is not supported/,
		],
		...['Whitespace', 'Metaspace', 'BertPreTokenizer', 'UnicodeScripts', 'Punctuation'].map(
			(type): [string, Change, RegExp] => [
				type,
				sequence({ type }, byteLevel()),
				new RegExp(`pre-tokenizer "${type}"`),
			],
		),
		...['NFKC', 'NFD', 'Lowercase', 'Strip', 'Prepend', 'Replace', 'StripAccents'].map(
			(type): [string, Change, RegExp] => [type, { normalizer: { type } }, new RegExp(`normalizer "${type}"`)],
		),
		[
			'one normalizer among others',
			{ normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] } },
			/"Lowercase"/,
		],
		...['WordPiece', 'BPEDecoder', 'Metaspace', 'ByteFallback', 'Strip', 'Replace'].map(
			(type): [string, Change, RegExp] => [
				`the decoder ${type}`,
				{ decoder: { type } },
				new RegExp(`decoder "${type}"`),
			],
		),
		...['BertProcessing', 'RobertaProcessing'].map((type): [string, Change, RegExp] => [
			type,
			{ post_processor: { type } },
			new RegExp(`post-processor "${type}"`),
		]),

		['dropout', model({ dropout: 0.1 }), /model\.dropout is 0\.1/],
		[
			'a prefix of what continues',
			model({ continuing_subword_prefix: '##' }),
			/model\.continuing_subword_prefix is "##"/,
		],
		['a suffix of words', model({ end_of_word_suffix: '</w>' }), /model\.end_of_word_suffix is "<\/w>"/],
		['bytes as tokens of their own', model({ byte_fallback: true }), /SentencePiece/],
		['an option of a later version', model({ cache_me: 7 }), /model\.cache_me is 7/],
		[
			'merges that are not taken whole',
			{ model: { ...ignoring(), ignore_merges: false } },
			/ignore_merges is false, .* "zqzqzq"/,
		],
		[
			'merges that are taken whole',
			{ model: { ...ignoring(), ignore_merges: true }, ...sequence(split(splitPatterns.qwen2), plain) },
			/ignore_merges is true, .*"qwen2".* "zqzqzq"/,
		],
		[
			'an unknown token for a byte',
			{ model: { ...base.model, unk_token: '<|endoftext|>', vocab: { ...vocabulary, Ġ: undefined } } },
			/unk_token is .* and byte 32/,
		],
		['merges of no tokens', model({ merges: ['zz yy'] }), /merge 0 .*names text that is no token/],
		['merges of one part', model({ merges: ['zz'] }), /merge 0 .* is not "left right"/],
		['a merge twice', model({ merges: [...base.model.merges, base.model.merges[0]] }), /is there twice/],
		[
			'a token that is no byte-level text',
			model({ vocab: { ...vocabulary, 'a b': 3 } }),
			/the id 3 is that of two tokens/,
		],
		['an id of no number', model({ vocab: { ...vocabulary, qqq: 'x' } }), /token "qqq" has the id x/],

		...['lstrip', 'rstrip', 'single_word'].map((flag): [string, Change, RegExp] => [
			flag,
			added({ [flag]: true }),
			new RegExp(`added token .* has ${flag}`),
		]),
		['text that is no NFC', added({ content: 'e\u0301', normalized: true, id: 3 }), /no NFC text/],
		['an added token that is empty', added({ content: '' }), /an added token is empty/],
		['an added token on an id of another', added({ id: 3 }), /the id 3 is that of two tokens/],
		[
			'an added token with another id',
			{ added_tokens: [{ content: 'a', id: vocabulary['b'], special: false }] },
			/the id \d+ is that of two tokens/,
		],
		['an added token that is none', { added_tokens: ['x'] }, /added_tokens\[0\] should be an object/],
	])('%s', async (_, change, message) => {
		await expect(converted(change)).rejects.toThrow(message);
		await expect(converted(change)).rejects.toThrow(/tokenizer\.json/);
		await expect(converted(change)).rejects.toThrow(/^[^\n]*$/);
	});
});

describe('tokens around a text', () => {
	const bos = '<|startoftext|>';
	const ids = Object.fromEntries(strings(smallVocabulary.tokens).map((text, id) => [text, id]));
	const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
	const text = { Sequence: { id: 'A', type_id: 0 } };
	const template = (single: unknown[], more: Change = {}) => ({
		post_processor: { type: 'TemplateProcessing', single, pair: [], special_tokens: {}, ...more },
	});
	const wants = ({ metadata }: GgufHeader) =>
		['add_bos_token', 'bos_token_id', 'add_eos_token', 'eos_token_id'].map((key) =>
			metadata.get(`tokenizer.ggml.${key}`),
		);

	test.each<[string, Change, Record<string, unknown>, unknown[]]>([
		['none, although the name of the pre-tokenizer implies one', {}, {}, [false, undefined, false, undefined]],
		['one before, as the template has it', template([special(bos), text]), {}, [true, ids[bos], false, undefined]],
		[
			'one before in a sequence',
			{
				post_processor: { type: 'Sequence', processors: [byteLevel(), template([special(bos), text]).post_processor] },
			},
			{},
			[true, ids[bos], false, undefined],
		],
		['one behind', template([text, special('<|return|>')]), {}, [false, undefined, true, ids['<|return|>']]],
		['none around', template([text]), {}, [false, undefined, false, undefined]],
		['as the config says', {}, { add_bos_token: true, bos_token: bos }, [true, ids[bos], false, undefined]],
		[
			'one, as the class has it',
			{},
			{ tokenizer_class: 'LlamaTokenizerFast', bos_token: bos },
			[true, ids[bos], false, undefined],
		],
		[
			'not, as the config says',
			template([special(bos), text]),
			{ add_bos_token: false },
			[false, undefined, false, undefined],
		],
	])('%s', async (_, change, own, wanted) => {
		expect(wants(await converted(change, { 'tokenizer_config.json': own }))).toEqual(wanted);
	});

	test.each<[string, Change, Record<string, unknown>, RegExp]>([
		['two before', template([special(bos), special(bos), text]), {}, /more than one token before/],
		['two behind', template([text, special(bos), special(bos)]), {}, /more than one token before/],
		['no text', template([special(bos)]), {}, /more than one token before/],
		['one that is no token', template([special('[CLS]'), text]), {}, /adds "\[CLS\]", which is no token/],
		[
			'one with another id',
			template([special(bos), text], { special_tokens: { [bos]: { ids: [3] } } }),
			{},
			/other ids/,
		],
		['one that nobody names', {}, { add_bos_token: true }, /add_bos_token is true, but no bos_token/],
		['one that is not in the vocabulary', {}, { bos_token: '[nobody]' }, /bos_token is "\[nobody\]", which is not in/],
		['a space before text', { pre_tokenizer: byteLevel() }, { add_prefix_space: true }, /add_prefix_space is true/],
		[
			'flags that only the config has',
			{},
			{ added_tokens_decoder: { [ids[bos]!]: { content: bos, rstrip: true } } },
			/has rstrip/,
		],
		[
			'another text of an id',
			{},
			{ added_tokens_decoder: { 3: { content: '<x>' } } },
			/the id 3 is that of two tokens/,
		],
	])('%s', async (_, change, own, message) => {
		await expect(converted(change, { 'tokenizer_config.json': own })).rejects.toThrow(message);
	});

	test.each([
		...Object.entries(FILL_NAMES).flatMap(([kind, names]) => names.map((name) => [name, kind])),
		['<repo_name>', 'rep'],
		['<file_sep>', 'sep'],
	])('%s is the token of fill-in-the-middle %s', async (name, kind) => {
		const header = await converted(added({ content: name }));
		expect(header.metadata.get(`tokenizer.ggml.fim_${kind}_token_id`)).toBe(base.added_tokens[0]!['id']);
	});

	test('older folders’ added tokens must agree', async () => {
		await converted({}, { 'added_tokens.json': { [bos]: ids[bos] } });
		await expect(converted({}, { 'added_tokens.json': { [bos]: 3 } })).rejects.toThrow(
			/is 3 here, but \d+ in tokenizer/,
		);
		await expect(converted({}, { 'added_tokens.json': { '<x>': 3 } })).rejects.toThrow(/not in tokenizer\.json/);
	});

	test('an added token of the config alone is taken, and whether it is special', async () => {
		const own = { added_tokens_decoder: { [ids['<|endoftext|>']!]: { content: '<|endoftext|>', special: true } } };
		const bare = { added_tokens: base.added_tokens.filter(({ content }) => content !== '<|endoftext|>') };
		const { metadata } = await converted(bare, { 'tokenizer_config.json': own });
		expect((metadata.get('tokenizer.ggml.token_type') as Int32Array)[ids['<|endoftext|>']!]).toBe(TokenType.control);
	});
});
