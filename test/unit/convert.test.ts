// Conversion of Hugging Face folders. Round trips are compared with files made directly. Dense models are compared with
// the published computation, and llama.cpp judges the GGUF. Some folders must be refused.
import {
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	truncateSync,
	writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { ProgressType } from 'vscode-jsonrpc';
import { convertFolder, modelName } from '../../engine/convert/convert';
import { convertOnce } from '../../engine/convert/convert-once';
import { decodeFloats, encodeFloats } from '../../engine/convert/rows';
import { requireString, requireStrings } from '../../engine/gguf/metadata';
import { serveStreams } from '../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import { demoCorpus } from '../../engine/synth/demo-text';
import { trainedVocabulary } from '../../engine/synth/vocabulary';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { type GgufHeader, loadNative } from '../../native/index';
import { llamaLogits } from '../parity/llama';
import { forward, randomTokens } from '../support/forward';
import {
	bf16,
	exactNumbers,
	f32,
	type splitPatterns,
	type TensorData,
	type Tensors,
	tokenizerJson,
	writeFolder,
} from '../support/hugging-face';
import { makeModel, temporaryFolder } from '../support/models';
import { type PlainConfig, type PlainWeights, plainForward } from '../support/plain-transformer';
import { smallConfig, smallTensors, smallTokenizer } from '../support/small-folder';
import { streamPair } from './support/lsp-client';

const folder = temporaryFolder();
const native = loadNative();
const vocabulary = trainedVocabulary(demoCorpus, 100);
const vocabularySize = vocabulary.tokenTypes.length;

/** The bytes of a GGUF's tensors by name. */
async function tensorsOf(file: string): Promise<Map<string, { type: string; shape: number[]; bytes: Buffer }>> {
	const { tensors } = await native.readGguf(file);
	const bytes = readFileSync(file);
	return new Map(
		tensors.map(({ name, type, shape, offset, bytes: length }) => [
			name,
			{ type, shape, bytes: bytes.subarray(offset, offset + length) },
		]),
	);
}

/** The parts of a GGUF that its tokenizer is made from. */
const vocabularyOf = (header: GgufHeader) => ({
	tokens: requireStrings(header, 'tokenizer.ggml.tokens'),
	tokenTypes: header.metadata.get('tokenizer.ggml.token_type') as Int32Array,
	merges: requireStrings(header, 'tokenizer.ggml.merges'),
	...{ bosId: 0, eosId: 0, paddingId: 0 },
});

async function logitsOf(
	file: string,
	tokens: Int32Array,
	kernels: 'auto' | 'reference' = 'auto',
): Promise<Float32Array> {
	const model = await native.openModel(file, { threads: 1, kernels });
	try {
		return await forward(model, tokens);
	} finally {
		model.close();
	}
}

// The folder is made from a GGUF by undoing, element by element, what the converter should do.
describe('gpt-oss', () => {
	const shape = {
		layers: 2,
		embedding: 96,
		feedForward: 64,
		experts: 4,
		expertsUsed: 2,
		attentionType: 'BF16',
	} as const;
	const { layers, embedding, feedForward, experts } = shape;
	const [headCount, headsKv, headLength] = [6, 2, 32];
	const config = {
		architectures: ['GptOssForCausalLM'],
		model_type: 'gpt_oss',
		...{ num_hidden_layers: layers, hidden_size: embedding, intermediate_size: feedForward },
		...{ num_attention_heads: headCount, num_key_value_heads: headsKv, head_dim: headLength },
		...{ num_local_experts: experts, num_experts_per_tok: 2, sliding_window: 128, max_position_embeddings: 131072 },
		...{ rms_norm_eps: 1e-5, rope_theta: 150000, swiglu_limit: 7.0, hidden_act: 'silu', tie_word_embeddings: false },
		layer_types: ['sliding_attention', 'full_attention'],
		rope_scaling: {
			...{ rope_type: 'yarn', factor: 32.0, original_max_position_embeddings: 4096 },
			...{ beta_fast: 32.0, beta_slow: 1.0, truncate: false },
		},
		quantization_config: { quant_method: 'mxfp4', modules_to_not_convert: ['model.layers.*.self_attn'] },
	};
	const nibble = (bytes: Uint8Array, row: number, blocks: number, element: number) => {
		const at = (row * blocks + Math.floor(element / 32)) * 17 + 1 + (element % 16);
		return element % 32 < 16 ? bytes[at]! & 15 : bytes[at]! >>> 4;
	};
	const exponent = (bytes: Uint8Array, row: number, blocks: number, element: number) =>
		bytes[(row * blocks + Math.floor(element / 32)) * 17]!;
	const doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

	async function folderOf(gguf: string, name: string, mxfp4: boolean, shards: number): Promise<string> {
		const header = await native.readGguf(gguf);
		const size = requireStrings(header, 'tokenizer.ggml.tokens').offsets.length - 1;
		const from = await tensorsOf(gguf);
		const tensors: Tensors = {};
		const copy = (to: string, source: string, dims: number[]) => {
			const { type, bytes } = from.get(source)!;
			tensors[to] = { dtype: type, shape: dims, bytes };
		};
		const experted = (to: string, sources: string[], rows: number, columns: number) => {
			const blocks = columns / 32;
			// Row r of the folder's tensor is row floor(r / sources) of source r mod sources.
			const pick = (expert: number, row: number) => {
				const source = from.get(sources[row % sources.length]!)!.bytes;
				return { source, row: expert * (rows / sources.length) + Math.floor(row / sources.length) };
			};
			if (mxfp4) {
				const packed = new Uint8Array(experts * rows * blocks * 16);
				const scales = new Uint8Array(experts * rows * blocks);
				for (let e = 0; e < experts; e++) {
					for (let r = 0; r < rows; r++) {
						const { source, row } = pick(e, r);
						for (let k = 0; k < columns; k += 2) {
							packed[((e * rows + r) * columns + k) / 2] =
								nibble(source, row, blocks, k) | (nibble(source, row, blocks, k + 1) << 4);
							scales[Math.floor(((e * rows + r) * columns + k) / 32)] = exponent(source, row, blocks, k);
						}
					}
				}
				tensors[`${to}_blocks`] = { dtype: 'U8', shape: [experts, rows, blocks, 16], bytes: packed };
				tensors[`${to}_scales`] = { dtype: 'U8', shape: [experts, rows, blocks], bytes: scales };
			} else {
				const values = new Float32Array(experts * rows * columns);
				for (let e = 0; e < experts; e++) {
					for (let r = 0; r < rows; r++) {
						const { source, row } = pick(e, r);
						for (let k = 0; k < columns; k++) {
							values[(e * columns + k) * rows + r] =
								doubled[nibble(source, row, blocks, k)]! * 2 ** (exponent(source, row, blocks, k) - 128);
						}
					}
				}
				tensors[to] = bf16(values, [experts, columns, rows]);
			}
			const bias = new Float32Array(experts * rows);
			for (let e = 0; e < experts; e++) {
				for (let r = 0; r < rows; r++) {
					const biases = from.get(sources[r % sources.length]!.replace('weight', 'bias'))!.bytes;
					bias[e * rows + r] = biases.readFloatLE(4 * (e * (rows / sources.length) + Math.floor(r / sources.length)));
				}
			}
			tensors[`${to}_bias`] = f32(bias, [experts, rows]);
		};
		copy('lm_head.weight', 'output.weight', [size, embedding]);
		copy('model.norm.weight', 'output_norm.weight', [embedding]);
		copy('model.embed_tokens.weight', 'token_embd.weight', [size, embedding]);
		for (let n = 0; n < layers; n++) {
			const to = `model.layers.${n}`;
			copy(`${to}.input_layernorm.weight`, `blk.${n}.attn_norm.weight`, [embedding]);
			copy(`${to}.post_attention_layernorm.weight`, `blk.${n}.post_attention_norm.weight`, [embedding]);
			for (const [name, rows] of [
				['q', headCount * headLength],
				['k', headsKv * headLength],
				['v', headsKv * headLength],
			] as const) {
				copy(`${to}.self_attn.${name}_proj.weight`, `blk.${n}.attn_${name}.weight`, [rows, embedding]);
				copy(`${to}.self_attn.${name}_proj.bias`, `blk.${n}.attn_${name}.bias`, [rows]);
			}
			copy(`${to}.self_attn.o_proj.weight`, `blk.${n}.attn_output.weight`, [embedding, headCount * headLength]);
			copy(`${to}.self_attn.o_proj.bias`, `blk.${n}.attn_output.bias`, [embedding]);
			copy(`${to}.self_attn.sinks`, `blk.${n}.attn_sinks.weight`, [headCount]);
			copy(`${to}.mlp.router.weight`, `blk.${n}.ffn_gate_inp.weight`, [experts, embedding]);
			copy(`${to}.mlp.router.bias`, `blk.${n}.ffn_gate_inp.bias`, [experts]);
			const gateUp = [`blk.${n}.ffn_gate_exps.weight`, `blk.${n}.ffn_up_exps.weight`];
			experted(`${to}.mlp.experts.gate_up_proj`, gateUp, 2 * feedForward, embedding);
			experted(`${to}.mlp.experts.down_proj`, [`blk.${n}.ffn_down_exps.weight`], embedding, feedForward);
		}
		const small = vocabularyOf(header);
		return writeFolder(
			folder,
			name,
			tensors,
			{
				'config.json': { ...config, vocab_size: size, ...(mxfp4 ? {} : { quantization_config: null }) },
				'tokenizer.json': tokenizerJson(small, 'gpt-4o', mxfp4),
				'tokenizer_config.json': {
					...{ bos_token: '<|startoftext|>', eos_token: { content: '<|return|>' }, pad_token: '<|endoftext|>' },
					chat_template: 'unused',
				},
				'chat_template.jinja': '{{ messages }}',
			},
			shards,
		);
	}

	test('a sharded folder with MXFP4 experts becomes the GGUF it was made from, bit for bit', async () => {
		const direct = await makeModel(folder, 'direct', shape);
		const from = await folderOf(direct, 'gpt-oss-tiny', true, 3);
		const file = path.join(folder, 'converted.gguf');
		const result = await convertFolder(from, file, { weights: 'keep' });
		expect(result).toMatchObject({ architecture: 'gpt-oss', name: 'gpt-oss-tiny', tensorCount: 3 + 19 * layers });
		const wanted = await tensorsOf(direct);
		const made = await tensorsOf(file);
		expect([...made.keys()].sort()).toEqual([...wanted.keys()].sort());
		for (const [name, { type, shape: dims, bytes }] of wanted) {
			expect(made.get(name), name).toMatchObject({ type, shape: dims });
			expect(made.get(name)!.bytes.equals(bytes), name).toBe(true);
		}
		const [a, b] = [await native.readGguf(direct), await native.readGguf(file)];
		for (const [key, value] of a.metadata) {
			if (!/^general\.name$/.test(key)) expect(b.metadata.get(key), key).toEqual(value);
		}
		expect(requireString(b, 'tokenizer.chat_template')).toBe('{{ messages }}');
		const text = 'export function add(left, right) { return left + right; } // äöü 12345 <|start|>';
		expect(Tokenizer.fromGguf(b).encode(text)).toEqual(Tokenizer.fromGguf(a).encode(text));
		const tokens = randomTokens(40, result.tensorCount, 3);
		expect(await logitsOf(file, tokens)).toEqual(await logitsOf(direct, tokens));
	});

	test('by default attention becomes Q8_0, as in the published file, and llama.cpp loads it', async () => {
		const file = path.join(folder, 'default.gguf');
		await convertFolder(path.join(folder, 'gpt-oss-tiny'), file);
		const made = await tensorsOf(file);
		const types = [...made.values()].map(({ type }) => type);
		expect(types.filter((type) => type === 'MXFP4').length).toBe(3 * layers);
		expect(types.filter((type) => type === 'Q8_0').length).toBe(2 + 4 * layers);
		expect(made.get('blk.0.ffn_gate_inp.weight')!.type).toBe('F32');
		const tokens = randomTokens(12, 300, 5);
		const size = requireStrings(await native.readGguf(file), 'tokenizer.ggml.tokens').offsets.length - 1;
		const [theirs] = await llamaLogits(file, [{ tokens, positions: [11] }], size);
		const ours = (await logitsOf(file, tokens)).slice(11 * size);
		expect(correlation(theirs!, ours)).toBeGreaterThan(0.999);
	});

	describe('its RoPE', () => {
		const { rope_scaling: scaling, ...others } = config;
		const key = 'gpt-oss.rope.scaling.yarn_truncate';
		async function metadataWith(change: object): Promise<GgufHeader['metadata']> {
			const from = await folderOf(await makeModel(folder, 'for-rope', shape), 'gpt-oss-rope', true, 1);
			const written = JSON.parse(readFileSync(path.join(from, 'config.json'), 'utf8')) as object;
			const { rope_scaling: _given, ...rest } = written as { rope_scaling: object };
			writeFileSync(path.join(from, 'config.json'), JSON.stringify({ ...rest, ...change }));
			rmSync(`${from}.gguf`, { force: true });
			await convertFolder(from, `${from}.gguf`);
			return (await native.readGguf(`${from}.gguf`)).metadata;
		}
		const { truncate: _usual, ...unsaid } = scaling;

		test.each<[string, object, boolean | undefined]>([
			['is not rounded, as is usual', { rope_scaling: scaling }, undefined],
			['is not rounded where nothing is said', { rope_scaling: unsaid }, undefined],
			['is rounded where a fine-tune says so', { rope_scaling: { ...scaling, truncate: true } }, true],
			['is rounded, said in the new place', { rope_parameters: { ...scaling, truncate: true } }, true],
			['is the published one where there is none', {}, undefined],
			[
				'is the same for both types of layers',
				{ rope_parameters: { sliding_attention: scaling, full_attention: scaling } },
				undefined,
			],
		])('%s', async (_, change, truncate) => {
			const metadata = await metadataWith(change);
			expect(metadata.get(key)).toBe(truncate);
			expect(metadata.get('gpt-oss.rope.scaling.type')).toBe('yarn');
			expect(metadata.get('gpt-oss.rope.scaling.factor')).toBe(32);
			expect(metadata.get('gpt-oss.rope.scaling.original_context_length')).toBe(4096);
			expect(metadata.get('gpt-oss.rope.freq_base')).toBe(others.rope_theta);
		});

		test.each<[string, object, RegExp]>([
			['nothing at all', { rope_scaling: null }, /rope_scaling is empty, which means different things/],
			[
				'types of layers that differ',
				{ rope_parameters: { sliding_attention: scaling, full_attention: { ...scaling, factor: 2 } } },
				/rope_parameters differ between sliding_attention and full_attention layers/,
			],
			['one type of layer', { rope_parameters: { full_attention: scaling } }, /none of sliding_attention/],
			['another activation', { rope_scaling: scaling, swiglu_alpha: 1.5 }, /swiglu_alpha is "1.5"/],
			['no biases', { rope_scaling: scaling, attention_bias: false }, /attention_bias is "false"/],
			[
				'two numbers of experts',
				{ rope_scaling: scaling, num_experts: 7 },
				/num_experts is 7, but num_local_experts is 4/,
			],
			['two numbers of used ones', { rope_scaling: scaling, experts_per_token: 1 }, /num_experts_per_tok is 2, but/],
		])('is refused with %s', async (_, change, message) => {
			await expect(metadataWith(change)).rejects.toThrow(message);
		});

		test('has a base of 150,000 where none is given', async () => {
			const metadata = await metadataWith({ rope_scaling: scaling, rope_theta: undefined });
			expect(metadata.get('gpt-oss.rope.freq_base')).toBe(150_000);
		});
	});

	test('BF16 experts, which the folder has transposed, give the logits of the MXFP4 they came from', async () => {
		const direct = path.join(folder, 'direct.gguf');
		const from = await folderOf(direct, 'gpt-oss-bf16', false, 1);
		const file = path.join(folder, 'bf16.gguf');
		await convertFolder(from, file);
		expect((await tensorsOf(file)).get('blk.1.ffn_up_exps.weight')).toMatchObject({
			...{ type: 'BF16', shape: [embedding, feedForward, experts] },
		});
		const tokens = randomTokens(20, 300, 7);
		// The reference computes with dequantised weights. Both files give the same numbers here.
		expect(await logitsOf(file, tokens, 'reference')).toEqual(await logitsOf(direct, tokens, 'reference'));
	});
});

// The folder's tensors go through the published computation, and the converted file goes through llama.cpp.
describe('dense models', () => {
	const sizes = {
		layers: 2,
		embedding: 64,
		heads: 4,
		headsKv: 2,
		headLength: 16,
		feedForward: 96,
		vocabulary: vocabularySize,
	};
	const base = 10_000;
	const plain = Array.from({ length: 8 }, (_, i) => base ** (-i / 8));
	const common = {
		...{ num_hidden_layers: 2, hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 96 },
		...{
			vocab_size: vocabularySize,
			max_position_embeddings: 512,
			rms_norm_eps: 1e-5,
			rope_theta: base,
			hidden_act: 'silu',
		},
	};

	function weightsOf(options: {
		bias?: boolean;
		norms?: boolean;
		tied?: boolean;
		headLength?: number;
		experts?: number;
	}): PlainWeights {
		const { embedding, heads: h, headsKv, feedForward } = sizes;
		const headLength = options.headLength ?? sizes.headLength;
		const weights: PlainWeights = {};
		let seed = 1;
		const add = (name: string, count: number, size: number, mean = 0) => {
			weights[name] = exactNumbers(count, size, seed++).map((value) => value + mean);
		};
		add('model.embed_tokens.weight', vocabularySize * embedding, 1);
		add('model.norm.weight', embedding, 0.25, 1);
		if (!options.tied) add('lm_head.weight', vocabularySize * embedding, 0.25);
		for (let n = 0; n < sizes.layers; n++) {
			const at = `model.layers.${n}`;
			add(`${at}.input_layernorm.weight`, embedding, 0.25, 1);
			add(`${at}.post_attention_layernorm.weight`, embedding, 0.25, 1);
			for (const [name, count] of [
				['q', h],
				['k', headsKv],
				['v', headsKv],
			] as const) {
				add(`${at}.self_attn.${name}_proj.weight`, count * headLength * embedding, 0.25);
				if (options.bias) add(`${at}.self_attn.${name}_proj.bias`, count * headLength, 0.5);
			}
			if (options.norms) {
				add(`${at}.self_attn.q_norm.weight`, headLength, 0.25, 1);
				add(`${at}.self_attn.k_norm.weight`, headLength, 0.25, 1);
			}
			add(`${at}.self_attn.o_proj.weight`, embedding * h * headLength, 0.125);
			if (options.experts) add(`${at}.mlp.gate.weight`, options.experts * embedding, 0.25);
			const networks = options.experts
				? Array.from({ length: options.experts }, (_, expert) => `${at}.mlp.experts.${expert}`)
				: [`${at}.mlp`];
			for (const network of networks) {
				add(`${network}.gate_proj.weight`, feedForward * embedding, 0.25);
				add(`${network}.up_proj.weight`, feedForward * embedding, 0.25);
				add(`${network}.down_proj.weight`, embedding * feedForward, 0.125);
			}
		}
		return weights;
	}

	const rowsOf = (name: string, count: number): number[] =>
		/norm|bias/.test(name)
			? [count]
			: [
					count / (name.includes('down') ? 96 : name.includes('o_proj') ? count / 64 : 64),
					name.includes('down') ? 96 : name.includes('o_proj') ? count / 64 : 64,
				];

	function asTensors(weights: PlainWeights, store: (values: Float32Array, shape: number[]) => TensorData): Tensors {
		return Object.fromEntries(
			Object.entries(weights).map(([name, values]) => [name, store(values, rowsOf(name, values.length))]),
		);
	}

	const cases = {
		'llama, tied, F32, two shards': {
			...{ name: 'llama', pre: 'llama-bpe', options: { tied: true }, store: f32, shards: 2, frequencies: plain },
			config: { ...common, architectures: ['LlamaForCausalLM'], tie_word_embeddings: true },
		},
		'llama with its 3.1 scaling, BF16': {
			...{ name: 'llama', pre: 'llama-bpe', options: {}, store: bf16, shards: 1 },
			config: {
				...{ ...common, architectures: ['LlamaForCausalLM'] },
				rope_scaling: {
					...{ rope_type: 'llama3', factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0 },
					original_max_position_embeddings: 64,
				},
			},
			frequencies: plain.map((frequency) => {
				const wavelength = (2 * Math.PI) / frequency;
				if (wavelength < 64 / 4) return frequency;
				if (wavelength > 64) return frequency / 8;
				const smooth = (64 / wavelength - 1) / (4 - 1);
				return ((1 - smooth) * frequency) / 8 + smooth * frequency;
			}),
		},
		'qwen2 with biases, BF16, three shards': {
			...{ name: 'qwen2', pre: 'qwen2', options: { bias: true }, store: bf16, shards: 3, frequencies: plain },
			config: { ...common, architectures: ['Qwen2ForCausalLM'], use_sliding_window: false },
		},
		'qwen3 with norms and long heads, BF16': {
			...{ name: 'qwen3', pre: 'qwen2', options: { norms: true, tied: true, headLength: 32 }, store: bf16, shards: 1 },
			frequencies: Array.from({ length: 16 }, (_, i) => base ** (-i / 16)),
			config: { ...common, architectures: ['Qwen3ForCausalLM'], head_dim: 32, tie_word_embeddings: true },
		},
		'qwen3moe with an expert a tensor, BF16, four shards': {
			...{ name: 'qwen3moe', pre: 'qwen2', options: { norms: true, experts: 6 }, store: bf16, shards: 4 },
			frequencies: plain,
			config: {
				...{ ...common, architectures: ['Qwen3MoeForCausalLM'], intermediate_size: 160, mlp_only_layers: [] },
				...{ num_experts: 6, num_experts_per_tok: 2, moe_intermediate_size: 96, norm_topk_prob: true },
				decoder_sparse_step: 1,
			},
		},
	} as const;

	test.each(Object.entries(cases))('%s', async (title, { name, pre, options, store, shards, frequencies, config }) => {
		const weights = weightsOf(options);
		const from = writeFolder(
			folder,
			title.replace(/\W+/g, '-'),
			asTensors(weights, store),
			{
				'config.json': config,
				'tokenizer.json': tokenizerJson(vocabulary, pre as keyof typeof splitPatterns),
				'tokenizer_config.json': { eos_token: '<|return|>', add_bos_token: false },
			},
			shards,
		);
		const file = `${from}.gguf`;
		const result = await convertFolder(from, file);
		expect(result.architecture).toBe(name);
		const tokens = randomTokens(24, vocabularySize, 11);
		const plainConfig: PlainConfig = {
			...{ ...sizes, headLength: 'headLength' in options ? options.headLength : 16 },
			...{ epsilon: 1e-5, frequencies, expertsUsed: 2 },
		};
		const published = plainForward(plainConfig, weights, tokens).logits;
		const positions = [0, 5, 23];
		const [theirs] = await llamaLogits(file, [{ tokens, positions }], vocabularySize);
		const ours = await logitsOf(file, tokens, 'reference');
		for (const [i, position] of positions.entries()) {
			const row = (logits: Float32Array, at: number) => logits.subarray(at * vocabularySize, (at + 1) * vocabularySize);
			const wanted = published[position]!;
			expect(correlation(row(theirs!, i), wanted), `llama.cpp, position ${position}`).toBeGreaterThan(0.9995);
			expect(correlation(row(ours, position), wanted), `position ${position}`).toBeGreaterThan(0.9999);
		}
	});

	test('qwen3moe: stacked again, the experts are the GGUF they were taken from, bit for bit', async () => {
		const experts = 5;
		const shape = { experts, expertsUsed: 2, feedForward: 64, attentionType: 'BF16', feedForwardType: 'BF16' } as const;
		const direct = await makeModel(folder, 'qwen3moe', { architecture: 'qwen3moe', ...shape, tied: false });
		const header = await native.readGguf(direct);
		const wanted = await tensorsOf(direct);
		const number = (key: string) => Number(header.metadata.get(`qwen3moe.${key}`));
		const tensors: Tensors = {};
		const names: Record<string, string> = {
			...{ 'token_embd.weight': 'model.embed_tokens.weight', 'output.weight': 'lm_head.weight' },
			...{ 'output_norm.weight': 'model.norm.weight', attn_norm: 'input_layernorm' },
			...{ ffn_norm: 'post_attention_layernorm', attn_output: 'self_attn.o_proj', ffn_gate_inp: 'mlp.gate' },
			...{ attn_q: 'self_attn.q_proj', attn_k: 'self_attn.k_proj', attn_v: 'self_attn.v_proj' },
			...{ attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' },
		};
		for (const [name, { type, shape: dims, bytes }] of wanted) {
			const [, layer, part] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name) ?? [];
			const store = (to: string, data: Uint8Array, of: number[]) => {
				tensors[to] = { dtype: type, shape: [...of].reverse(), bytes: data };
			};
			const stacked = /^ffn_(gate|up|down)_exps$/.exec(part ?? '')?.[1];
			if (stacked !== undefined) {
				const each = bytes.length / experts;
				for (let e = 0; e < experts; e++) {
					const to = `model.layers.${layer}.mlp.experts.${e}.${stacked}_proj.weight`;
					store(to, bytes.subarray(e * each, (e + 1) * each), dims.slice(0, 2));
				}
			} else if (part !== undefined) store(`model.layers.${layer}.${names[part]}.weight`, bytes, dims);
			else store(names[name]!, bytes, dims);
		}
		const config = {
			...{ architectures: ['Qwen3MoeForCausalLM'], hidden_act: 'silu', tie_word_embeddings: false },
			...{ num_hidden_layers: number('block_count'), hidden_size: number('embedding_length') },
			...{ num_attention_heads: number('attention.head_count'), head_dim: number('attention.key_length') },
			...{ num_key_value_heads: number('attention.head_count_kv'), max_position_embeddings: number('context_length') },
			...{ intermediate_size: 64, moe_intermediate_size: 64, num_experts: experts, num_experts_per_tok: 2 },
			...{ norm_topk_prob: true, rms_norm_eps: 1e-5, rope_theta: number('rope.freq_base') },
			vocab_size: wanted.get('token_embd.weight')!.shape[1]!,
		};
		const files = { 'config.json': config, 'tokenizer.json': tokenizerJson(vocabularyOf(header), 'qwen2') };
		const from = writeFolder(folder, 'qwen3moe-folder', tensors, files, 3);
		const file = `${from}.gguf`;
		await convertFolder(from, file);
		const made = await tensorsOf(file);
		expect([...made.keys()].sort()).toEqual([...wanted.keys()].sort());
		for (const [name, { type, shape: dims, bytes }] of wanted) {
			expect(made.get(name), name).toMatchObject({ type, shape: dims });
			expect(made.get(name)!.bytes.equals(bytes), name).toBe(true);
		}
		const tokens = randomTokens(20, config.vocab_size, 3);
		expect(await logitsOf(file, tokens)).toEqual(await logitsOf(direct, tokens));

		// Folders that ask for what the architecture does not do are refused, and so is a folder that lacks an expert.
		for (const [change, message] of [
			[{ norm_topk_prob: false }, 'norm_topk_prob is "false", which is not supported'],
			[{ decoder_sparse_step: 2 }, 'decoder_sparse_step is "2", which is not supported'],
			[{ mlp_only_layers: [0] }, 'mlp_only_layers, layers without experts, are not supported'],
			[{ num_experts: experts + 1 }, 'has the shape'],
			[{ num_experts_per_tok: experts + 1 }, 'num_experts_per_tok is 6, which is outside'],
		] as const) {
			writeFileSync(path.join(from, 'config.json'), JSON.stringify({ ...config, ...change }));
			await expect(convertFolder(from, file), message).rejects.toThrow(message);
		}
		const { 'model.layers.0.mlp.experts.3.up_proj.weight': _missing, ...others } = tensors;
		const lacking = writeFolder(folder, 'qwen3moe-lacking', others, files);
		await expect(convertFolder(lacking, file)).rejects.toThrow('lacks the tensor model.layers.0.mlp.experts.3.up_proj');
	});
});

describe('the request', () => {
	test('converts a folder with progress, and says what is wrong with one', async () => {
		const { client, input, output } = streamPair();
		const controller = new AbortController();
		const served = serveStreams(input, output, { settings: DEFAULT_SETTINGS }, controller.signal);
		try {
			await client.initialize();
			const seen: { kind: string; percentage?: number }[] = [];
			const type = new ProgressType<{ kind: string; percentage?: number }>();
			client.connection.onProgress(type, 'convert', (value) => {
				seen.push(value);
			});
			const from = path.join(folder, 'gpt-oss-tiny');
			const params = { path: from, workDoneToken: 'convert' };
			expect(await client.connection.sendRequest('hearth/convertModel', params)).toEqual({
				...{ path: `${from}.gguf`, draftHead: false },
			});
			expect(seen.at(0)).toMatchObject({ kind: 'begin', percentage: 0 });
			expect(seen.at(-2)).toMatchObject({ kind: 'report', percentage: 100 });
			expect(seen.at(-1)).toMatchObject({ kind: 'end' });
			const wrong = client.connection.sendRequest('hearth/convertModel', { path: folder });
			await expect(wrong).rejects.toThrow('lacks config.json');
		} finally {
			controller.abort();
			await served;
			client.connection.dispose();
		}
	});
});

describe('numbers', () => {
	test('every 16-bit pattern survives a way through F32', () => {
		const bits = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
		const floats = new Float32Array(bits.length);
		const back = new Uint8Array(2 * bits.length);
		for (const type of ['F16', 'BF16'] as const) {
			decodeFloats(type, new Uint8Array(bits.buffer), 0, bits.length, floats);
			encodeFloats(type, floats, bits.length, back, 0);
			const made = new Uint16Array(back.buffer);
			const wrong = bits.filter((word, i) => word !== made[i] && !Number.isNaN(floats[i]!));
			expect([...wrong], type).toEqual([]);
		}
	});

	test('Q8_0 is within half a step of what it stands for, zeros included', () => {
		const values = Float32Array.from({ length: 96 }, (_, i) => (i < 32 ? 0 : Math.sin(i) * 10 ** (i % 5)));
		const bytes = new Uint8Array(3 * 34);
		encodeFloats('Q8_0', values, 96, bytes, 0);
		const view = new DataView(bytes.buffer);
		const scale = new Float32Array(1);
		for (let i = 0; i < 96; i++) {
			const block = Math.floor(i / 32);
			decodeFloats('F16', bytes, 34 * block, 1, scale);
			const value = scale[0]! * view.getInt8(34 * block + 2 + (i % 32));
			const largest = Math.max(...values.slice(32 * block, 32 * block + 32).map(Math.abs));
			// The error is at most half a step, and what rounding the scale to 11 bits adds.
			expect(Math.abs(value - values[i]!)).toBeLessThanOrEqual((largest / 127) * 0.5 + largest * 2 ** -11);
		}
	});
});

describe('what cannot be converted', () => {
	const [small, complete, tokenizer] = [smallConfig, smallTensors(), smallTokenizer()];
	const vector = complete['model.norm.weight']!;
	let count = 0;

	async function refusal(change: {
		config?: object;
		tokenizer?: object | string;
		tensors?: (all: Tensors) => Tensors;
		shards?: number;
		after?: (from: string) => void;
	}): Promise<string> {
		const from = writeFolder(
			folder,
			`bad-${count++}`,
			change.tensors?.({ ...complete }) ?? complete,
			{ 'config.json': { ...small, ...change.config }, 'tokenizer.json': change.tokenizer ?? tokenizer },
			change.shards ?? 1,
		);
		change.after?.(from);
		const file = `${from}.gguf`;
		const error = await convertFolder(from, file).then(
			() => new Error('it was converted'),
			(reason: Error) => reason,
		);
		expect(readdirSync(folder).filter((name) => name.includes('partial') || name === path.basename(file))).toEqual(
			error.message === 'it was converted' ? [path.basename(file)] : [],
		);
		expect(error.message).not.toContain('\n');
		return error.message;
	}
	const without = (name: string) => (all: Tensors) =>
		Object.fromEntries(Object.entries(all).filter(([key]) => key !== name));
	const header = (make: (entries: Record<string, object>) => unknown) => (from: string) => {
		const file = path.join(from, 'model.safetensors');
		const bytes = readFileSync(file);
		const length = Number(bytes.readBigUInt64LE(0));
		const entries = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, object>;
		const changed = Buffer.from(JSON.stringify(make(entries)));
		const prefix = Buffer.alloc(8);
		prefix.writeBigUInt64LE(BigInt(changed.length));
		writeFileSync(file, Buffer.concat([prefix, changed, bytes.subarray(8 + length)]));
	};
	const norm = 'model.norm.weight';

	test('the folder they are made from is fine', async () => {
		expect(await refusal({})).toBe('it was converted');
	});

	test.each<[string, Parameters<typeof refusal>[0], RegExp]>([
		[
			'an unknown architecture',
			{ config: { architectures: ['MambaForCausalLM'] } },
			/"MambaForCausalLM" cannot be converted/,
		],
		['no architecture', { config: { architectures: undefined } }, /architectures should be an array but is missing/],
		['a size of another type', { config: { hidden_size: '32' } }, /hidden_size should be an integer but is a string/],
		[
			'a size out of range',
			{ config: { num_hidden_layers: 1e9 } },
			/num_hidden_layers is 1000000000, which is outside/,
		],
		['another activation', { config: { hidden_act: 'gelu' } }, /hidden_act is "gelu", which is not supported/],
		['an unknown RoPE', { config: { rope_scaling: { type: 'longrope' } } }, /RoPE scaling "longrope" is not supported/],
		[
			'quantised weights',
			{ config: { quantization_config: { quant_method: 'awq' } } },
			/quantised with "awq" cannot be/,
		],
		['a missing tensor', { tensors: without(norm) }, /lacks the tensor model\.norm\.weight/],
		[
			'an unknown tensor',
			{ tensors: (all) => ({ ...all, 'model.extra': vector }) },
			/tensors that this architecture does not have: "model\.extra"/,
		],
		[
			'a wrong shape',
			{ config: { vocab_size: vocabularySize + 1 } },
			/has the shape \[\d+, 32\], but config\.json asks for/,
		],
		[
			'a wrong type',
			{ tensors: (all) => ({ ...all, [norm]: { dtype: 'F8_E4M3', shape: [32], bytes: new Uint8Array(32) } }) },
			/has the type "F8_E4M3"; F32, F16, BF16 can be/,
		],
		['no head where none is tied', { config: { tie_word_embeddings: false } }, /lacks the tensor lm_head\.weight/],
		[
			'a truncated file',
			{ after: (from) => truncateSync(path.join(from, 'model.safetensors'), 3000) },
			/is truncated: tensor .* download it again/,
		],
		[
			'a header longer than the file',
			{ after: (from) => truncateSync(path.join(from, 'model.safetensors'), 100) },
			/is truncated: its header needs/,
		],
		[
			'a file of a few bytes',
			{ after: (from) => truncateSync(path.join(from, 'model.safetensors'), 5) },
			/is no safetensors file: it has 5 bytes/,
		],
		[
			'an absurd header',
			{ after: (from) => writeFileSync(path.join(from, 'model.safetensors'), Buffer.alloc(64, 0x7f)) },
			/its header would be too long/,
		],
		[
			'a header that is no JSON',
			{
				after: (from) =>
					writeFileSync(
						path.join(from, 'model.safetensors'),
						Buffer.concat([Buffer.from([8, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{"a": 1,')]),
					),
			},
			/its header is no JSON/,
		],
		[
			'overlapping tensors',
			{ after: header((all) => ({ ...all, [norm]: { dtype: 'F32', shape: [32], data_offsets: [0, 128] } })) },
			/overlaps another/,
		],
		[
			'offsets out of the file',
			{ after: header((all) => ({ ...all, [norm]: { dtype: 'F32', shape: [32], data_offsets: [1e12, 1e12 + 128] } })) },
			/is truncated: tensor "model\.norm\.weight" ends at byte/,
		],
		[
			'offsets the wrong way round',
			{ after: header((all) => ({ ...all, [norm]: { dtype: 'F32', shape: [32], data_offsets: [128, 0] } })) },
			/impossible offsets/,
		],
		[
			'bytes that do not fit the shape',
			{ after: header((all) => ({ ...all, [norm]: { dtype: 'F32', shape: [31], data_offsets: [0, 128] } })) },
			/has 128 bytes, which its shape \[31\] of F32 does not take/,
		],
		[
			'a shape of nonsense',
			{ after: header((all) => ({ ...all, [norm]: { dtype: 'F32', shape: [-1], data_offsets: [0, 128] } })) },
			/impossible shape/,
		],
		[
			'a missing shard',
			{ shards: 2, after: (from) => rmSync(path.join(from, 'model-00002-of-00002.safetensors')) },
			/there is no file .*model-00002-of-00002\.safetensors/,
		],
		[
			'an index that leads out of the folder',
			{
				after: (from) =>
					writeFileSync(
						path.join(from, 'model.safetensors.index.json'),
						JSON.stringify({ weight_map: { a: '../x.safetensors' } }),
					),
			},
			/"\.\.\/x\.safetensors" is no name of a safetensors file/,
		],
		[
			'an index of other tensors',
			{
				after: (from) =>
					writeFileSync(
						path.join(from, 'model.safetensors.index.json'),
						JSON.stringify({ weight_map: { a: 'model.safetensors' } }),
					),
			},
			/has elsewhere/,
		],
		['no weights', { after: (from) => rmSync(path.join(from, 'model.safetensors')) }, /holds no safetensors file/],
		['no tokenizer', { after: (from) => rmSync(path.join(from, 'tokenizer.json')) }, /lacks tokenizer\.json/],
		['a tokenizer that is no JSON', { tokenizer: '{' }, /tokenizer\.json is no valid JSON/],
		[
			'a SentencePiece tokenizer',
			{ tokenizer: { ...tokenizer, model: { ...tokenizer.model, byte_fallback: true } } },
			/is a SentencePiece tokenizer/,
		],
		[
			'another kind of tokenizer',
			{ tokenizer: { ...tokenizer, model: { ...tokenizer.model, type: 'Unigram' } } },
			/type "Unigram" is not supported/,
		],
		[
			'an unknown pattern',
			{ tokenizer: { ...tokenizer, pre_tokenizer: { type: 'Split', pattern: { Regex: '\\w+' } } } },
			/split by an unknown pattern, "\\\\w\+"/,
		],
		[
			'a token outside the vocabulary',
			{ tokenizer: { ...tokenizer, added_tokens: [{ id: 1e6, content: '<x>' }] } },
			/token "<x>" has the id 1000000, which is not in the vocabulary/,
		],
		[
			'a merge that is none',
			{ tokenizer: { ...tokenizer, model: { ...tokenizer.model, merges: [['a']] } } },
			/merges\[0\] is neither/,
		],
	])('%s', async (_, change, message) => {
		expect(await refusal(change)).toMatch(message);
	});

	test('a folder that is none, and no folder', async () => {
		await expect(convertFolder(path.join(folder, 'nowhere'), path.join(folder, 'x.gguf'))).rejects.toThrow(
			'lacks config.json',
		);
		mkdirSync(path.join(folder, 'empty'));
		await expect(convertFolder(path.join(folder, 'empty'), path.join(folder, 'x.gguf'))).rejects.toThrow(
			'lacks config.json',
		);
	});

	test('being cancelled leaves nothing behind', async () => {
		const from = writeFolder(folder, 'cancelled', complete, { 'config.json': small, 'tokenizer.json': tokenizer });
		const controller = new AbortController();
		const converting = convertFolder(from, `${from}.gguf`, {
			signal: controller.signal,
			onProgress: () => controller.abort(new Error('stopped')),
		});
		await expect(converting).rejects.toThrow('stopped');
		expect(existsSync(`${from}.gguf`)).toBe(false);
		expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
	});

	test('a folder is converted once, and again when it has changed', async () => {
		const from = writeFolder(folder, 'once', complete, { 'config.json': small, 'tokenizer.json': tokenizer });
		const file = path.join(folder, 'once.gguf');
		expect(await convertOnce(from)).toEqual({ path: file, draftHead: false });
		const first = statSync(file).ino;
		expect((await convertOnce(from)).path).toBe(file);
		expect(statSync(file).ino).toBe(first);
		writeFileSync(path.join(from, 'config.json'), `${JSON.stringify({ ...small, rope_theta: 20000 })}`);
		expect((await convertOnce(from)).path).toBe(file);
		expect(statSync(file).ino).not.toBe(first);

		const snapshots = path.join(folder, 'models--me--Tiny', 'snapshots');
		mkdirSync(snapshots, { recursive: true });
		const cached = writeFolder(snapshots, 'abc', complete, { 'config.json': small, 'tokenizer.json': tokenizer });
		const cache = path.join(folder, 'cache');
		expect(path.relative(cache, (await convertOnce(cached, {}, cache)).path)).toMatch(/^Tiny-[0-9a-f]{8}\.gguf$/);
	});

	test('a model is named by its folder, in the cache of Hugging Face by its repository', () => {
		expect(modelName('/models/SmolLM2-135M')).toBe('SmolLM2-135M');
		expect(modelName('/cache/hub/models--openai--gpt-oss-20b/snapshots/0123')).toBe('gpt-oss-20b');
	});
});

function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
	const mean = (x: ArrayLike<number>) => Array.from(x).reduce((sum, value) => sum + value, 0) / x.length;
	const [meanA, meanB] = [mean(a), mean(b)];
	let [ab, aa, bb] = [0, 0, 0];
	for (let i = 0; i < a.length; i++) {
		const [x, y] = [a[i]! - meanA, b[i]! - meanB];
		ab += x * y;
		aa += x * x;
		bb += y * y;
	}
	return ab / Math.sqrt(aa * bb);
}
