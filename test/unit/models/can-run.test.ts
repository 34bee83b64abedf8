// "Can it run?" has one answer. For every refusal there is a file, and what is said of the file beforehand is what
// loading says. The refusals are read from the sources, so a new one without a case here fails. A file that is said to
// run is loaded.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringTable } from '../../../engine/gguf/string-table';
import { type MatrixType, matrixTypes } from '../../../engine/gguf/tensor-types';
import { openModel } from '../../../engine/loading/open-model';
import { describeModel } from '../../../engine/models/describe';
import { ModelFinder } from '../../../engine/models/find';
import { readHeader } from '../../../engine/models/header';
import { SUPPORTED } from '../../../engine/models/supported';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { architectures, type ModelShape } from '../../../engine/synth/architecture';
import { PRE_TOKENIZER_NAMES } from '../../../engine/tokenizer/pre-tokenizer';
import { TokenType } from '../../../engine/tokenizer/token-type';
import { Tokenizer } from '../../../engine/tokenizer/tokenizer';
import { headerFields } from '../../support/gguf-fields';
import { temporaryFolder } from '../../support/models';
import { type Edit, type Parts, set, vocabulary, vocabularySize, writeSmall } from '../../support/small-gguf';

const folder = temporaryFolder();
const root = path.resolve(import.meta.dirname, '..', '..', '..');
const size = vocabularySize;

function write(name: string, edit?: Edit, change?: Partial<ModelShape>): Promise<string> {
	return writeSmall(folder, name, edit, change);
}

/** Replaces the bytes of a header's field, and makes the file long enough for whatever the field claims. */
function patch(file: string, owner: string, role: string, hex: string): void {
	const bytes = readFileSync(file);
	const field = headerFields(bytes).find((each) => each.owner === owner && each.role === role);
	if (!field) throw new Error(`${owner} has no ${role}`);
	bytes.write(hex, field.offset, 'hex');
	writeFileSync(file, bytes);
}

const u32 = (key: string, value: number) => set(key, { type: 'u32', value });
const i32 = (key: string, value: number) => set(key, { type: 'i32', value });
const f32 = (key: string, value: number) => set(key, { type: 'f32', value });
const string = (key: string, value: string) => set(key, { type: 'string', value });
const remove = (key: string): Edit => {
	return ({ metadata }) => {
		metadata.delete(key);
	};
};
const tensor = (name: string, change: Partial<Parts['tensors'][number]>): Edit => {
	return ({ tensors }) => {
		Object.assign(tensors.find((each) => each.name === name)!, change);
	};
};
const tokens = (change: (names: (string | Uint8Array)[]) => void): Edit => {
	const { bytes, offsets } = vocabulary.tokens;
	const names = Array.from(vocabulary.tokenTypes, (_, i) => bytes.slice(offsets[i], offsets[i + 1]));
	change(names);
	return set('tokenizer.ggml.tokens', { type: 'strings', value: stringTable(names) });
};
const merges = (...lines: string[]) => set('tokenizer.ggml.merges', { type: 'strings', value: stringTable(lines) });

const patched = (owner: string, role: string, hex: string, edit?: Edit) => async (name: string) => {
	const file = await write(name, edit);
	patch(file, owner, role, hex);
	return file;
};
const llama = { architecture: 'llama' } as const;
const gptOss = { architecture: 'gpt-oss' } as const;
const Q = 'blk.0.attn_q.weight';
const WITHDRAWN = {
	Q4_2: 4,
	Q4_3: 5,
	Q4_0_4_4: 31,
	Q4_0_4_8: 32,
	Q4_0_8_8: 33,
	IQ4_NL_4_4: 36,
	IQ4_NL_4_8: 37,
	IQ4_NL_8_8: 38,
};

/** How the file is made, and some words of what is said of it. */
const cases: Record<
	string,
	{ edit?: Edit; make?: (name: string) => Promise<string>; says: string; of?: Partial<ModelShape> }
> = {
	'another architecture': { edit: string('general.architecture', 'mistral3'), says: 'the architecture "mistral3"' },
	'no architecture': { edit: remove('general.architecture'), says: 'names no architecture' },
	'an architecture that is no text': { edit: u32('general.architecture', 7), says: 'names no architecture' },
	'BigCode’s StarCoder 2': { edit: string('general.architecture', 'starcoder2'), says: '"starcoder2"' },
	'an embedding model of an architecture of its own': {
		edit: string('general.architecture', 'bert'),
		says: 'embeddings',
	},
	'an embedding model of a known architecture': { edit: u32('qwen3.pooling_type', 3), says: 'makes embeddings' },
	'a reranker': { edit: u32('qwen3.pooling_type', 4), says: 'makes embeddings' },
	'a pooling type that is no number': { edit: string('qwen3.pooling_type', 'last'), says: 'whole number' },
	'a LoRA': { edit: string('general.type', 'adapter'), says: 'adapter' },
	'a vision part': { edit: string('general.type', 'mmproj'), says: 'vision part' },
	'a draft head': { edit: string('general.architecture', 'eagle3'), says: 'draft head' },
	'nothing but a header': { edit: ({ tensors }) => void tensors.splice(0), says: 'no weights' },
	'a part of a split model': { edit: u32('split.count', 2), says: 'one part of a split model' },
	'RoPE of Phi 3': { edit: string('qwen3.rope.scaling.type', 'longrope'), says: 'RoPE scaling "longrope"' },
	'RoPE scaling that is no text': { edit: u32('qwen3.rope.scaling.type', 2), says: 'must be a string' },
	'RoPE base −1': { edit: f32('qwen3.rope.freq_base', -1), says: 'RoPE base -1' },
	'RoPE base a text': { edit: string('qwen3.rope.freq_base', 'x'), says: 'must be a number' },
	'an epsilon of 2': { edit: f32('qwen3.attention.layer_norm_rms_epsilon', 2), says: 'RMS epsilon 2' },
	'no epsilon': { edit: remove('qwen3.attention.layer_norm_rms_epsilon'), says: 'lacks the metadata key' },
	'no layers': { edit: u32('qwen3.block_count', 0), says: 'block_count is 0' },
	'more layers than there are': { edit: u32('qwen3.block_count', 2), says: 'lacks the tensor blk.1.' },
	'layers as text': { edit: string('qwen3.block_count', '1'), says: 'whole number' },
	'another width': { edit: u32('qwen3.embedding_length', 96), says: 'has the shape' },
	'heads a layer': {
		edit: set('qwen3.attention.head_count_kv', { type: 'i32s', value: Int32Array.of(2) }),
		says: 'whole number',
	},
	'heads that cannot be shared': { edit: u32('qwen3.attention.head_count_kv', 3), says: 'cannot share 3' },
	'values of another length': { edit: u32('qwen3.attention.value_length', 24), says: 'differ in length' },
	'heads of 12': {
		edit: (parts) => {
			u32('qwen3.attention.key_length', 12)(parts);
			u32('qwen3.attention.value_length', 12)(parts);
		},
		says: 'no multiple of 8',
	},
	'5 dimensions rotated': { edit: u32('llama.rope.dimension_count', 5), says: 'rotated in pairs', of: llama },
	'more experts used than there are': { edit: u32('gpt-oss.expert_used_count', 5), says: '5 of 4 experts', of: gptOss },
	'a divisor of 0': { edit: () => {}, says: 'rope_freqs.weight is 0', of: { ...llama, ropeScaling: 'llama3' } },
	'a tensor missing': {
		edit: ({ tensors }) =>
			void tensors.splice(
				tensors.findIndex(({ name }) => name === Q),
				1,
			),
		says: `lacks the tensor ${Q}`,
	},
	'no embedding': {
		edit: ({ tensors }) =>
			void tensors.splice(
				tensors.findIndex(({ name }) => name === 'token_embd.weight'),
				1,
			),
		says: 'lacks the tensor token_embd.weight',
	},
	'an embedding of three dimensions': {
		edit: tensor('token_embd.weight', { shape: [64, 4, 4] }),
		says: 'no embedding',
	},
	'a tensor of another shape': { edit: tensor(Q, { shape: [64, 32] }), says: `tensor ${Q} has the shape [64, 32]` },
	'a matrix of integers': { edit: tensor(Q, { type: 'I64' }), says: 'I64' },
	'a norm of a quantised type': { edit: tensor('blk.0.attn_norm.weight', { type: 'Q8_0' }), says: 'norms, biases' },
	'a tensor type of IQ2': { make: patched(Q, 'type', '10000000', tensor(Q, { shape: [256, 64] })), says: 'IQ2_XXS' },
	'rows that no block divides': { make: patched(Q, 'type', '0c000000'), says: 'no multiple of 256' },
	'a tensor type of the future': { make: patched(Q, 'type', '63000000'), says: 'may need a newer Hearth' },
	...Object.fromEntries(
		Object.entries(WITHDRAWN).map(([type, id]) => [
			`${type} weights`,
			{
				make: patched(Q, 'type', Buffer.of(id, 0, 0, 0).toString('hex')),
				says: `has the type ${type}, which ggml has withdrawn`,
			},
		]),
	),
	'a SentencePiece vocabulary': {
		edit: string('tokenizer.ggml.model', 'llama'),
		says: 'model "llama" is not supported',
	},
	'a WordPiece vocabulary': { edit: string('tokenizer.ggml.model', 'bert'), says: 'model "bert" is not supported' },
	'no vocabulary': {
		edit: remove('tokenizer.ggml.model'),
		says: 'tokenizer.ggml.model should be a string but is missing',
	},
	'a vocabulary of a numbered kind': {
		edit: u32('tokenizer.ggml.model', 2),
		says: 'should be a string but is a number',
	},
	'Mistral’s pre-tokenizer': { edit: string('tokenizer.ggml.pre', 'tekken'), says: 'pre "tekken" is not supported' },
	'DeepSeek-Coder’s pre-tokenizer': { edit: string('tokenizer.ggml.pre', 'deepseek-coder'), says: '"deepseek-coder"' },
	'no pre-tokenizer': { edit: remove('tokenizer.ggml.pre'), says: 'pre "(none)"' },
	'a pre-tokenizer that is a flag': {
		edit: set('tokenizer.ggml.pre', { type: 'bool', value: true }),
		says: 'is a boolean',
	},
	'no tokens': { edit: remove('tokenizer.ggml.tokens'), says: 'should be an array of strings but is missing' },
	'tokens that are numbers': {
		edit: set('tokenizer.ggml.tokens', { type: 'i32s', value: Int32Array.of(1) }),
		says: 'should be an array of strings but is an array',
	},
	'no merges': { edit: remove('tokenizer.ggml.merges'), says: 'tokenizer.ggml.merges should be an array of strings' },
	'types that are texts': {
		edit: set('tokenizer.ggml.token_type', { type: 'strings', value: stringTable(['a']) }),
		says: 'should be an array of integers but is an array of strings',
	},
	'types too few': {
		edit: set('tokenizer.ggml.token_type', { type: 'i32s', value: Int32Array.of(1, 1) }),
		says: `has 2 entries for ${size} tokens`,
	},
	'a BOS flag that is a number': {
		edit: u32('tokenizer.ggml.add_bos_token', 1),
		says: 'should be a boolean but is a number',
	},
	'an empty token': {
		edit: tokens((names) => names.splice(256, 1, '')),
		says: 'token 256 in tokenizer.ggml.tokens is empty',
	},
	'a token outside the alphabet': { edit: tokens((names) => names.splice(256, 1, '中')), says: 'not byte-level text' },
	'a byte without a token': {
		edit: set('tokenizer.ggml.token_type', {
			type: 'i32s',
			value: vocabulary.tokenTypes.with(65, TokenType.control),
		}),
		says: 'lacks the token of byte 65 ("A")',
	},
	'no token of the line break': {
		edit: set('tokenizer.ggml.token_type', { type: 'i32s', value: vocabulary.tokenTypes.with(10, TokenType.unused) }),
		says: 'lacks the token of byte 10 ("\\n")',
	},
	'a merge of one part': { edit: merges('a b', 'ab'), says: 'merge 0' },
	'a merge that is none': { edit: merges('ab'), says: 'merge 0 in tokenizer.ggml.merges is not "left right"' },
	'a merge outside the alphabet': { edit: merges('中 a'), says: 'names text that is no token' },
	'a merge of no token': { edit: merges('q x'), says: 'merge 0 in tokenizer.ggml.merges names text that is no token' },
	'more tokens than rows': {
		edit: (parts) => {
			for (const name of ['output.weight', 'token_embd.weight']) tensor(name, { shape: [64, size - 1] })(parts);
		},
		says: `the tokenizer has ${size} tokens, the output layer only ${size - 1}`,
	},
	'millions of tokens': {
		edit: set('tokenizer.ggml.tokens', { type: 'strings', value: stringTable(new Array(2 ** 21 + 1).fill('')) }),
		says: 'has 2097153 entries; at most 2097152 are read',
	},
	'millions of merges': {
		edit: set('tokenizer.ggml.merges', { type: 'strings', value: stringTable(new Array(2 ** 21 + 1).fill('a b')) }),
		says: 'tokenizer.ggml.merges has 2097153 entries; at most 2097152 are read',
	},
	'tokens of 33 MB': { edit: tokens((names) => names.splice(256, 1, 'a'.repeat(33 << 20))), says: 'takes 33 MB' },
	'texts of 9 MB': { edit: string('tokenizer.chat_template', 'a'.repeat(9 << 20)), says: 'take more than 8 MB' },
	'a name of 9 MB': { edit: string('general.name', 'a'.repeat(9 << 20)), says: 'take more than 8 MB' },
	'a header of holes': {
		make: async (name) => {
			const file = await write(name, set('qwen3.z', { type: 'i32s', value: Int32Array.of(1) }));
			patch(file, 'qwen3.z', 'element count', '0000000800000000');
			truncateSync(file, 2 ** 30);
			return file;
		},
		says: 'takes more than 128 MB',
	},
	'an array of more than the file': {
		make: patched('tokenizer.ggml.tokens', 'element count', 'ffffffff00000000'),
		says: 'elements',
	},
	'a text longer than the file': {
		make: patched('general.name', 'string length', 'ffffffffff000000'),
		says: 'bytes long',
	},
	'an array of arrays': { make: patched('tokenizer.ggml.tokens', 'element type', '09000000'), says: 'element type 9' },
	'a value of no type': { make: patched('general.name', 'value type', '0d000000'), says: 'unknown type 13' },
	'a file that is none': {
		make: async (name) => {
			const file = await write(name);
			writeFileSync(file, 'version https://git-lfs.github.com/spec/v1\n');
			return file;
		},
		says: 'not a GGUF file',
	},
	'a big-endian file': { make: patched('header', 'version', '00000003'), says: 'big-endian' },
	'GGUF version 1': { make: patched('header', 'version', '01000000'), says: 'GGUF version 1' },
	'billions of tensors': { make: patched('header', 'tensor count', 'ffffffff00000000'), says: 'tensors, more than' },
	'billions of entries': { make: patched('header', 'metadata count', 'ffffffff00000000'), says: 'entries, more than' },
	'a key without a name': { edit: set('', { type: 'u32', value: 1 }), says: 'has 0 bytes' },
	'a key that occurs twice': {
		make: patched('general.type', 'key', Buffer.from('general.name').toString('hex')),
		says: 'occurs twice',
	},
	'an alignment of 7': { edit: u32('general.alignment', 7), says: 'general.alignment is 7' },
	'a tensor without a name': { edit: tensor(Q, { name: '' }), says: 'has no name' },
	'a tensor of 5 dimensions': { make: patched(Q, 'dimension count', '05000000'), says: 'has 5 dimensions' },
	'a tensor of no size': { make: patched(Q, 'dimension 0', '0000000000000000'), says: 'impossible shape' },
	'a tensor that occurs twice': { edit: tensor(Q, { name: 'output_norm.weight' }), says: 'occurs twice' },
	'a tensor out of line': { make: patched(Q, 'offset', '0100000000000000'), says: 'not aligned' },
	'a file that is cut off': {
		make: async (name) => {
			const file = await write(name);
			truncateSync(file, readFileSync(file).length - 64);
			return file;
		},
		says: 'is truncated: tensor',
	},
	'a header that is cut off': {
		make: async (name) => {
			const file = await write(name);
			truncateSync(file, 3000);
			return file;
		},
		says: 'truncated or damaged',
	},
	'a context that is negative': { edit: i32('qwen3.context_length', -1), says: 'whole number' },
	'a qwen2 without its biases': {
		edit: ({ tensors }) =>
			void tensors.splice(
				tensors.findIndex(({ name }) => name === 'blk.0.attn_q.bias'),
				1,
			),
		says: 'lacks the tensor blk.0.attn_q.bias',
		of: { architecture: 'qwen2' },
	},
};

/**
 * What is said of a file beforehand, and what loading says. Undefined: nothing. For a file whose header cannot be read,
 * the reader's error counts.
 */
async function answers(file: string) {
	const header = await readHeader(file).catch((error: Error) => error);
	const problem = header instanceof Error ? header.message : describeModel(header).problem;
	const loaded = await openModel(file, { kernels: 'portable', threads: 1 }).catch((error: Error) => error);
	const refusal = loaded instanceof Error ? loaded.message : undefined;
	if (!(loaded instanceof Error)) await loaded.engine.close();
	return { header, problem, refusal };
}

const said: string[] = [];

describe('what cannot run', () => {
	it.each(Object.entries(cases))('%s', async (name, { make, edit, says, of }) => {
		const file = await (make ? make(name) : write(name, edit, of));
		const { header, problem, refusal } = await answers(file);
		expect(problem).toContain(says);
		expect(refusal).toContain(file);
		expect(refusal).not.toContain('\n');
		said.push(refusal!);
		if (header instanceof Error) return;
		if (header.refusal) {
			expect(refusal).toBe(header.refusal);
			said.push(header.refusal);
		}
		// The list of models says the same, without the file's name.
		const alone = path.join(folder, name.replaceAll(/\W+/g, '_'));
		mkdirSync(alone);
		copyFileSync(file, path.join(alone, 'a.gguf'));
		const places = [{ source: 'folder' as const, folder: alone }];
		const memory = { totalBytes: 64e9, availableBytes: 32e9 };
		const [found] = await new ModelFinder().find({ places, settings: DEFAULT_SETTINGS, memory });
		expect(found?.problem).toBe(problem);
		// The tokenizer says the same of the vocabulary as the native core.
		if (!header.refusal || !/tokenizer/.test(says + header.refusal)) return;
		const own = (() => {
			try {
				return Tokenizer.fromGguf(header);
			} catch (error) {
				return (error as Error).message;
			}
		})();
		if (typeof own === 'string' && !/MB/.test(header.refusal)) expect(own).toBe(header.refusal);
		else expect(header.refusal).toMatch(/the output layer only|MB/);
	});

	it('has a case for every refusal in the sources', () => {
		const of = (file: string) => readFileSync(path.join(root, file), 'utf8');
		// The refusals of draft heads do not count. A draft head is opened beside its model, which works without it.
		const model = of('native/core/model.cpp').replace(
			/\nModel::Model\(const std::string& path, const Model& target\)[\s\S]*?\n}\n/,
			'',
		);
		const native = [model, of('native/core/gguf.cpp'), of('native/core/vocabulary.cpp')].join('\n');
		const literals = [...native.matchAll(/\bfail\(((?:\s*"(?:[^"\\]|\\.)*")+)/g)].map(([, text]) =>
			[...text!.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, part]) => part!.replaceAll('\\"', '"')).join(''),
		);
		expect(literals.length).toBeGreaterThan(50);
		const files = readdirSync(path.join(root, 'engine/tokenizer'), { recursive: true, encoding: 'utf8' });
		const engine = files.map((name) => of(`engine/tokenizer/${name}`)).join('\n');
		const thrown = [...engine.matchAll(/new Error\(\s*`((?:[^`\\]|\\.)*)`/g)].map(([, text]) => text!);
		const formats = [
			...literals.map((text) => text.replaceAll(/%(?:ll|z)?[sdug]/g, '\0')),
			...thrown.map((text) => text.replaceAll(/\$\{[^}]*\}/g, '\0')),
		];
		const notAboutFiles = [
			/^token id/, // about a caller's mistake
			/has no special token/,
			/has \0 numbers; at most 4096/, // only draft heads have such arrays
			/must be an array of whole numbers/,
			/must be true or false/,
			/draft head for another model/, // the header's answer uses other words
		];
		const missing = formats.filter((format) => {
			const pattern = format
				.split('\0')
				.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
				.join('.*');
			return (
				!notAboutFiles.some((each) => each.test(format)) && !said.some((message) => new RegExp(pattern).test(message))
			);
		});
		expect(missing).toEqual([]);
	});
});

describe('what runs', () => {
	const loads = async (file: string) => {
		const { problem, refusal } = await answers(file);
		expect([problem, refusal]).toEqual([undefined, undefined]);
	};

	it.each(architectures.flatMap((architecture) => matrixTypes.map((type) => [architecture, type] as const)))(
		'%s with %s weights',
		async (architecture, type: MatrixType) => {
			const wide = { embedding: 256, feedForward: 256, headLength: 64, architecture };
			await loads(
				await write(`${architecture} ${type}`, undefined, { ...wide, attentionType: type, feedForwardType: type }),
			);
		},
	);

	it('is what the table of architectures and types says', () => {
		expect(Object.keys(SUPPORTED).sort()).toEqual([...architectures].sort());
		for (const types of Object.values(SUPPORTED)) expect([...types].sort()).toEqual([...matrixTypes].sort());
	});

	it.each(PRE_TOKENIZER_NAMES)('a vocabulary with the pre-tokenizer %s', async (pre) => {
		await loads(await write(`pre ${pre}`, string('tokenizer.ggml.pre', pre)));
	});

	it.each<[string, Edit]>([
		['tied matrices', ({ tensors }) => void tensors.splice(0, 1)],
		['a pooling type of none', u32('qwen3.pooling_type', 0)],
		['a pooling type that is not specified', i32('qwen3.pooling_type', -1)],
		[
			'a padded vocabulary',
			({ tensors }) => {
				for (const { shape: lengths } of tensors) if (lengths[1] === size) lengths[1] = size + 64;
			},
		],
		[
			'a tensor that nothing reads, of a type without kernels',
			({ tensors }) => {
				tensors.push({ name: 'extra.weight', type: 'I64', shape: [4, 4] });
			},
		],
		['a template that is no text', u32('tokenizer.chat_template', 7)],
		['sampling that is none', string('general.sampling.temp', 'hot')],
		[
			'merges of a user-defined token',
			set('tokenizer.ggml.token_type', {
				type: 'i32s',
				value: vocabulary.tokenTypes.with(256, TokenType.userDefined),
			}),
		],
		[
			'a user-defined byte',
			set('tokenizer.ggml.token_type', {
				type: 'i32s',
				value: vocabulary.tokenTypes.with(65, TokenType.userDefined),
			}),
		],
		[
			'a user-defined byte that ends texts',
			(parts) => {
				u32('tokenizer.ggml.eot_token_id', 65)(parts);
				const value = vocabulary.tokenTypes.with(65, TokenType.userDefined);
				set('tokenizer.ggml.token_type', { type: 'i32s', value })(parts);
			},
		],
		[
			'merges of a user-defined mark',
			(parts) => {
				u32('tokenizer.ggml.eot_token_id', 256)(parts);
				const value = vocabulary.tokenTypes.with(256, TokenType.userDefined);
				set('tokenizer.ggml.token_type', { type: 'i32s', value })(parts);
			},
		],
		[
			'bytes of the type for them',
			set('tokenizer.ggml.token_type', {
				type: 'i32s',
				value: vocabulary.tokenTypes.with(65, TokenType.byte),
			}),
		],
		[
			'an empty user-defined token',
			(parts) => {
				tokens((names) => names.splice(size - 1, 1, ''))(parts);
				set('tokenizer.ggml.token_type', {
					type: 'i32s',
					value: vocabulary.tokenTypes.with(size - 1, TokenType.userDefined),
				})(parts);
			},
		],
		[
			'a mark of the type of text',
			(parts) => {
				tokens((names) => names.splice(size - 1, 1, '<｜fim▁begin｜>'))(parts);
				set('tokenizer.ggml.token_type', {
					type: 'i32s',
					value: vocabulary.tokenTypes.with(size - 1, TokenType.normal),
				})(parts);
			},
		],
	])('one with %s', async (name, edit) => {
		await loads(await write(`runs ${name}`, edit));
	});
});
