// config.json: every option that changes what a model computes is mapped, or is named in an error.
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { convertFolder } from '../../../engine/convert/convert';
import { loadNative, type MetadataValue } from '../../../native/index';
import { strings } from '../../support/hugging-face';
import { temporaryFolder } from '../../support/models';
import { smallConfig, smallFolder, smallTensors, smallVocabulary } from '../../support/small-folder';

const folder = temporaryFolder();
const native = loadNative();

type Change = Record<string, unknown>;
const classes = {
	llama: [{ architectures: ['LlamaForCausalLM'] }, {}],
	qwen2: [{ architectures: ['Qwen2ForCausalLM'] }, { biases: true }],
	qwen3: [{ architectures: ['Qwen3ForCausalLM'] }, { norms: true }],
} as const;

/** The metadata of the file that a folder is converted to. */
async function converted(
	change: Change,
	kind: keyof typeof classes = 'llama',
	files: Record<string, unknown> = {},
): Promise<Map<string, MetadataValue>> {
	const [own, tensors] = classes[kind];
	const config = { ...smallConfig, ...own, ...change };
	const from = smallFolder(folder, 'one', { 'config.json': config, ...files }, smallTensors(tensors));
	const file = `${from}.gguf`;
	rmSync(file, { force: true });
	await convertFolder(from, file);
	return (await native.readGguf(file)).metadata;
}

const rope = (metadata: Map<string, MetadataValue>, kind = 'llama') =>
	Object.fromEntries(
		[...metadata]
			.filter(([key]) => key.startsWith(`${kind}.rope.`) && !key.endsWith('dimension_count'))
			.map(([key, value]) => [
				key.slice(`${kind}.rope.`.length),
				typeof value === 'number' ? Math.round(value * 1e6) / 1e6 : value,
			]),
	);
const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16 };
const plainYarn = {
	...{ freq_base: 10000, 'scaling.type': 'yarn', 'scaling.factor': 4, 'scaling.original_context_length': 16 },
	...{ 'scaling.yarn_beta_fast': 32, 'scaling.yarn_beta_slow': 1 },
};
/** The factor that the core applies by itself, by YaRN's paper. */
const paper = 0.1 * Math.log(4) + 1;
const attention = (wanted: number) => Math.round((wanted / paper) * 1e6) / 1e6;

describe('RoPE that is mapped', () => {
	test.each<[string, Change, Record<string, unknown>]>([
		['nothing at all', {}, { freq_base: 10000 }],
		['a base', { rope_theta: 5e5 }, { freq_base: 5e5 }],
		['a base among the parameters', { rope_parameters: { rope_type: 'default', rope_theta: 5e5 } }, { freq_base: 5e5 }],
		['a base among the old ones', { rope_scaling: { rope_type: 'default', rope_theta: 5e5 } }, { freq_base: 5e5 }],
		['the same base twice', { rope_theta: 7, rope_parameters: { rope_theta: 7 } }, { freq_base: 7 }],
		['empty parameters', { rope_parameters: {}, rope_scaling: null }, { freq_base: 10000 }],
		[
			'linear, by its old name',
			{ rope_scaling: { type: 'linear', factor: 2 } },
			{ freq_base: 10000, 'scaling.type': 'linear', 'scaling.factor': 2 },
		],
		['YaRN', { rope_scaling: yarn }, plainYarn],
		['YaRN, the usual said', { rope_scaling: { ...yarn, type: 'yarn', truncate: true, finetuned: true } }, plainYarn],
		['YaRN in both places', { rope_scaling: yarn, rope_parameters: { ...yarn, mscale: null } }, plainYarn],
		['betas of 0, which mean none', { rope_scaling: { ...yarn, beta_fast: 0, beta_slow: null } }, plainYarn],
		[
			'its original context outside',
			{ rope_scaling: { rope_type: 'yarn', factor: 4 }, original_max_position_embeddings: 16 },
			plainYarn,
		],
		['no rounding', { rope_scaling: { ...yarn, truncate: false } }, { ...plainYarn, 'scaling.yarn_truncate': false }],
		['the usual factor of attention', { rope_scaling: { ...yarn, attention_factor: paper } }, plainYarn],
		[
			'another factor of attention',
			{ rope_scaling: { ...yarn, attention_factor: 1 } },
			{ ...plainYarn, 'scaling.attn_factor': attention(1) },
		],
		[
			'both scales of attention',
			{ rope_scaling: { ...yarn, mscale: 1, mscale_all_dim: 0.5 } },
			{ ...plainYarn, 'scaling.attn_factor': attention(paper / (0.05 * Math.log(4) + 1)) },
		],
		[
			'the same two scales, which make 1',
			{ rope_scaling: { ...yarn, mscale: 1, mscale_all_dim: 1 } },
			{ ...plainYarn, 'scaling.attn_factor': attention(1) },
		],
		['one scale alone, which means nothing', { rope_scaling: { ...yarn, mscale: 2 } }, plainYarn],
		['factors of 1', { rope_scaling: { ...yarn, extrapolation_factor: 1, attn_factor: 1 } }, plainYarn],
		[
			'parameters of the only type of layer',
			{ rope_parameters: { full_attention: { ...yarn, rope_theta: 9 } } },
			{ ...plainYarn, freq_base: 9 },
		],
		[
			'parameters of layers that there are not',
			{ rope_parameters: { full_attention: { rope_theta: 9 }, sliding_attention: { rope_theta: 8 } } },
			{ freq_base: 9 },
		],
		[
			'all dimensions',
			{ partial_rotary_factor: 1, rope_parameters: { partial_rotary_factor: 1 } },
			{ freq_base: 10000 },
		],
	])('%s', async (_, change, wanted) => {
		expect(rope(await converted(change))).toEqual(wanted);
	});

	test('Llama 3’s scaling becomes a tensor', async () => {
		await converted({
			rope_scaling: {
				rope_type: 'llama3',
				factor: 8,
				low_freq_factor: 1,
				high_freq_factor: 4,
				original_max_position_embeddings: 16,
			},
		});
		const { tensors } = await native.readGguf(path.join(folder, 'one.gguf'));
		const found = tensors.find(({ name }) => name === 'rope_freqs.weight')!;
		const bytes = readFileSync(path.join(folder, 'one.gguf')).subarray(found.offset, found.offset + found.bytes);
		expect(bytes.readFloatLE(0)).toBeGreaterThan(1);
		expect(bytes.readFloatLE(4 * 7)).toBe(8);
	});
});

describe('what is named', () => {
	const scaled = (more: Change, type = 'yarn') => ({ rope_scaling: { rope_type: type, factor: 4, ...more } });
	test.each<[string, Change, RegExp, (keyof typeof classes)?]>([
		['a base below 0', { rope_theta: -1 }, /rope_theta\) of -1 is out of range/],
		['a base of 1', { rope_theta: 1 }, /rope_theta\) of 1 is out of range/],
		['a base beyond all', { rope_theta: 1e13 }, /rope_theta\) of .* is out of range/],
		['two bases', { rope_theta: 5, rope_parameters: { rope_theta: 6 } }, /rope_theta is 5, but 6/],
		['a base of another type', { rope_theta: '5' }, /rope_theta should be a number/],
		['epsilon 2', { rms_norm_eps: 2 }, /rms_norm_eps is 2/],
		['epsilon below 0', { rms_norm_eps: -1e-5 }, /rms_norm_eps is -0.00001/],
		['dynamic scaling', scaled({}, 'dynamic'), /RoPE scaling "dynamic" is not supported/],
		['longrope', scaled({ short_factor: [1], long_factor: [1] }, 'longrope'), /RoPE scaling "longrope"/],
		['su', { rope_scaling: { type: 'su' } }, /RoPE scaling "su"/],
		['mrope', { rope_scaling: { type: 'mrope', mrope_section: [2, 3, 3] } }, /RoPE scaling "mrope"/],
		[
			'sections',
			{ rope_scaling: { type: 'default', mrope_section: [2, 3, 3] } },
			/"default" with "mrope_section" is not/,
		],
		['a type that is none', { rope_scaling: { rope_type: 7 } }, /rope_type should be a string/],
		[
			'two types',
			{ rope_scaling: { rope_type: 'yarn', type: 'linear', factor: 2 } },
			/"yarn" by rope_type and "linear" by type/,
		],
		['an unknown option', scaled({ attn_factor: 2 }), /"yarn" with "attn_factor" is not supported/],
		['an option of another type', scaled({ beta_fast: 32 }, 'linear'), /"linear" with "beta_fast" is not supported/],
		['a scaling that is left over', { rope_scaling: { rope_type: 'default', factor: 4 } }, /"default" with "factor"/],
		['no factor', { rope_scaling: { type: 'yarn' } }, /factor should be a number but is missing/],
		['a factor below 1', scaled({ factor: 0.5 }), /RoPE factor of 0.5/],
		['betas the wrong way round', scaled({ beta_fast: 1, beta_slow: 32 }), /beta_fast 1 must be above beta_slow 32/],
		['attention turned off', scaled({ attention_factor: 0 }), /attention_factor is out of range/],
		['rounding of another type', scaled({ truncate: 'no' }), /truncate should be true or false/],
		[
			'equal frequencies',
			{ rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 } },
			/high_freq_factor 4 must be/,
		],
		[
			'two scalings',
			{ rope_scaling: yarn, rope_parameters: { ...yarn, factor: 8 } },
			/rope_parameters and rope_scaling differ/,
		],
		[
			'two original contexts',
			{ rope_scaling: yarn, original_max_position_embeddings: 32 },
			/original_max_position_embeddings is 32, but 16/,
		],
		[
			'parameters of other layers only',
			{ rope_parameters: { sliding_attention: { rope_theta: 9 } } },
			/"sliding_attention", but none of full_attention/,
		],
		[
			'parameters beside those of layers',
			{ rope_parameters: { full_attention: {}, factor: 2 } },
			/"factor" beside parameters of layer types/,
		],
		['half the dimensions', { partial_rotary_factor: 0.5 }, /partial_rotary_factor is 0.5/],
		[
			'half of them, among the parameters',
			{ rope_parameters: { partial_rotary_factor: 0.5 } },
			/partial_rotary_factor is 0.5/,
		],
		['interleaved pairs', { rope_interleaved: true }, /rope_interleaved is "true"/],

		['another model_type', { model_type: 'mistral' }, /model_type is "mistral", which is not supported; llama is/],
		['code of its own', { auto_map: { AutoModelForCausalLM: 'x.Y' } }, /code of its own \(auto_map\)/],
		['another activation', { hidden_act: 'gelu' }, /hidden_act is "gelu"/],
		['a sliding window', { use_sliding_window: true, sliding_window: 32 }, /use_sliding_window is "true"/, 'qwen2'],
		['a sliding window that llama has no switch for', { sliding_window: 32 }, /a sliding window of 32 positions/],
		['layers that slide', { layer_types: ['sliding_attention'] }, /layer_types has "sliding_attention"/, 'qwen3'],
		['biases of the network', { mlp_bias: true }, /mlp_bias is "true"/],
		['biases that are missing', { attention_bias: true }, /lacks the tensor .*q_proj\.bias/],
		['biases where Qwen 3 has none', { qkv_bias: true }, /qkv_bias is "true"/, 'qwen3'],
		['no biases where Qwen 2 has them', { qkv_bias: false }, /qkv_bias is "false"/, 'qwen2'],
		['no norms where Qwen 3 has them', { use_qk_norm: false }, /use_qk_norm is "false"/, 'qwen3'],
		['untied without a head', { tie_word_embeddings: false }, /lacks the tensor lm_head\.weight/],
		['heads that do not share evenly', { num_key_value_heads: 3 }, /num_key_value_heads is 3, which is outside/],
		['heads of odd length', { num_attention_heads: 32, num_key_value_heads: 32 }, /head_dim is 1|head_dim/],
		['another head length', { head_dim: 32 }, /has the shape/],
		['a logit scale', { logits_scaling: 8 }, /"logits_scaling" is no option that Hearth knows.* remove it/],
		['a multiplier', { residual_multiplier: 0.22 }, /"residual_multiplier"/],
		['a cap', { attn_logit_softcapping: 50 }, /"attn_logit_softcapping"/],
		['another kind of position', { position_embedding_type: 'alibi' }, /"position_embedding_type"/],
		['norms of another kind', { qk_layernorm: true }, /"qk_layernorm"/],
		['a list', { no_rope_layers: [1, 0] }, /"no_rope_layers"/],
	])('%s', async (_, change, message, kind = 'llama') => {
		await expect(converted(change, kind)).rejects.toThrow(message);
		await expect(converted(change, kind)).rejects.toThrow(/^[^\n]*$/);
	});

	test('biases that the config does not announce, which transformers passes over', async () => {
		const from = smallFolder(folder, 'biased', {}, smallTensors({ biases: true }));
		await expect(convertFolder(from, `${from}.gguf`)).rejects.toThrow(/does not have: .*q_proj\.bias/);
	});
});

describe('what means nothing', () => {
	test('is left out', async () => {
		await converted({
			...{ model_type: 'llama', torch_dtype: 'bfloat16', transformers_version: '4.57.1', use_cache: true },
			...{ _name_or_path: 'x', initializer_range: 0.02, attention_dropout: 0.5, pretraining_tp: 1, bos_token_id: 1 },
			...{ is_llama_config: true, rope_interleaved: false, unsloth_version: '2025.1', mlp_bias: false, head_dim: 16 },
			...{
				'transformers.js_config': { dtype: 'q4' },
				logits_scaling: 0,
				some_switch: false,
				some_list: [],
				nothing: null,
			},
			...{ sliding_window: null, auto_map: {}, attention_bias: false, pad_token_id: -1, hidden_act: 'swish' },
		});
		await converted({ sliding_window: 64 });
		const qwen = {
			use_sliding_window: false,
			sliding_window: 32,
			max_window_layers: 28,
			layer_types: ['full_attention'],
		};
		await converted({ ...qwen, qkv_bias: true, attention_bias: false }, 'qwen2');
		await converted({ ...qwen, qkv_bias: false, use_qk_norm: true, model_type: 'qwen3' }, 'qwen3');
	});
});

describe('tokens that end a text', () => {
	const ends = (metadata: Map<string, MetadataValue>) =>
		['eos', 'eot', 'eom'].map((key) => metadata.get(`tokenizer.ggml.${key}_token_id`));
	const named = (name: string) => strings(smallVocabulary.tokens).indexOf(name);

	test.each<[string, unknown, unknown, (number | undefined)[]]>([
		['one', 2, undefined, [2, undefined, undefined]],
		['a list of one', [2], undefined, [2, undefined, undefined]],
		['two', [2, 5], undefined, [2, 5, undefined]],
		['three', [2, 5, 7], undefined, [2, 5, 7]],
		['one twice', [2, 2, 5], undefined, [2, 5, undefined]],
		['of generation alone', undefined, [5, 2], [5, 2, undefined]],
		['of both', 2, [5, 2, 7], [2, 5, 7]],
		['none, as −1', -1, [2, -1], [2, undefined, undefined]],
	])('%s', async (_, own, generation, wanted) => {
		const files = generation === undefined ? {} : { 'generation_config.json': { eos_token_id: generation } };
		expect(ends(await converted(own === undefined ? {} : { eos_token_id: own }, 'llama', files))).toEqual(wanted);
	});

	test('the text that the tokenizer names comes first', async () => {
		const metadata = await converted({ eos_token_id: [2, 5] }, 'llama', {
			'tokenizer_config.json': { eos_token: '<|return|>' },
		});
		const [eos, ...others] = ends(metadata);
		expect(others).toEqual([2, 5]);
		expect(eos).toBeGreaterThan(smallConfig.vocab_size - 20);
		const older = await converted({}, 'llama', { 'special_tokens_map.json': { eos_token: { content: '<|return|>' } } });
		expect(ends(older)[0]).toBe(eos);
	});

	test('more than there is room for are named, unless they end a text by their name', async () => {
		await expect(converted({ eos_token_id: [2, 5, 7, 9] })).rejects.toThrow(/eos_token_id has 5 .*7 .*9 .*beside 2/);
		const [text, turn] = [named('<|endoftext|>'), named('<|end|>')];
		const metadata = await converted({ eos_token_id: [2, text, turn, 5, 7] });
		expect(ends(metadata)).toEqual([2, 5, 7]);
		expect(ends(await converted({ eos_token_id: [2, text] }))).toEqual([2, text, undefined]);
	});

	test.each<[string, Change, RegExp]>([
		[
			'outside the vocabulary',
			{ eos_token_id: smallConfig.vocab_size },
			/eos token is \d+, which is not in the vocabulary/,
		],
		['outside, among several', { eos_token_id: [2, 99999] }, /eot token is 99999/],
		['of another type', { eos_token_id: '2' }, /eos_token_id should be a token id or a list/],
		['a fraction', { eos_token_id: [2.5] }, /eos_token_id should be a token id or a list/],
		['several beginnings', { bos_token_id: [1, 2] }, /bos_token_id should be one token id/],
	])('%s', async (_, change, message) => {
		await expect(converted(change)).rejects.toThrow(message);
	});
});
