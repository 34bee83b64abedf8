// Hugging Face's model classes as GGUF architectures: the metadata from config.json, and the place of each tensor by
// llama.cpp's names. A config may ask for what the architecture cannot do. That is an error; nothing is left out
// silently.
import type { GgufValue } from '../gguf/writer';
import type { JsonObject } from './json';
import { EVEN_ROWS, IN_ORDER, interleavedHeads, ODD_ROWS, type Plan } from './plan';
import { addRope, addRopeFrequencies } from './rope';
import { shown } from './safetensors';

/** Sizes that all these architectures have. Lengths are in elements. */
export interface Sizes {
	layers: number;
	embedding: number;
	heads: number;
	headsKv: number;
	headLength: number;
	feedForward: number;
	vocabulary: number;
}

interface Architecture {
	/** The GGUF's `general.architecture`. */
	name: string;
	/** The `model_type` of config.json. transformers chooses its class by it, so it must not name another class. */
	modelType: string;
	plan(plan: Plan, config: JsonObject, sizes: Sizes): void;
}

/** By `architectures[0]` of config.json. */
const ARCHITECTURES: Record<string, Architecture> = {
	GptOssForCausalLM: { name: 'gpt-oss', modelType: 'gpt_oss', plan: planGptOss },
	LlamaForCausalLM: { name: 'llama', modelType: 'llama', plan: planLlamaLike },
	Qwen2ForCausalLM: { name: 'qwen2', modelType: 'qwen2', plan: planLlamaLike },
	Qwen3ForCausalLM: { name: 'qwen3', modelType: 'qwen3', plan: planLlamaLike },
	Qwen3MoeForCausalLM: { name: 'qwen3moe', modelType: 'qwen3_moe', plan: planLlamaLike },
};

const MAX_LENGTH = 2 ** 24;

/** The first entry of `architectures` in config.json. */
export function modelClass(config: JsonObject): string {
	const [name] = config.array('architectures');
	if (typeof name !== 'string') throw config.fail('architectures', 'a list of names');
	return name;
}

/** The GGUF architecture of a folder. @throws naming the class where it cannot be converted. */
export function architectureOf(config: JsonObject): Architecture {
	const name = modelClass(config);
	if (Object.hasOwn(ARCHITECTURES, name)) {
		const architecture = ARCHITECTURES[name]!;
		expect(config, 'model_type', architecture.modelType);
		return architecture;
	}
	const known = [...Object.keys(ARCHITECTURES), 'EAGLE-3 draft heads'].join(', ');
	throw new Error(`${config.file}: the architecture ${shown(name)} cannot be converted; these can: ${known}`);
}

export function readSizes(config: JsonObject): Sizes {
	const embedding = config.integer('hidden_size', 1, 1 << 16);
	const heads = config.integer('num_attention_heads', 1, 1024);
	const headLength = config.integer('head_dim', 2, 256, Math.floor(embedding / heads));
	if (headLength % 2 !== 0) throw new Error(`${config.file}: head_dim is ${headLength}, which RoPE cannot halve`);
	return {
		layers: config.integer('num_hidden_layers', 1, 1024),
		embedding,
		heads,
		headsKv: config.integer('num_key_value_heads', 1, heads, heads),
		headLength,
		feedForward: config.integer('intermediate_size', 1, 1 << 18),
		vocabulary: config.integer('vocab_size', 1, MAX_LENGTH),
	};
}

/** The metadata that every architecture has. */
export function addSizes(
	metadata: Map<string, GgufValue>,
	architecture: string,
	config: JsonObject,
	sizes: Sizes,
): void {
	const u32 = (key: string, value: number) => metadata.set(`${architecture}.${key}`, { type: 'u32', value });
	const f32 = (key: string, value: number) => metadata.set(`${architecture}.${key}`, { type: 'f32', value });
	u32('block_count', sizes.layers);
	u32('context_length', config.integer('max_position_embeddings', 1, MAX_LENGTH));
	u32('embedding_length', sizes.embedding);
	u32('feed_forward_length', sizes.feedForward);
	u32('vocab_size', sizes.vocabulary);
	u32('attention.head_count', sizes.heads);
	u32('attention.head_count_kv', sizes.headsKv);
	u32('attention.key_length', sizes.headLength);
	u32('attention.value_length', sizes.headLength);
	u32('rope.dimension_count', sizes.headLength);
	const epsilon = config.number('rms_norm_eps');
	// The native core accepts this range, too.
	if (!(epsilon >= 0 && epsilon < 1))
		throw new Error(`${config.file}: rms_norm_eps is ${epsilon}, which is outside 0..1`);
	f32('attention.layer_norm_rms_epsilon', epsilon);
	addRope(metadata, architecture, config);
}

/** @throws where the config has another value for the key than the one the architecture can do. */
function expect(config: JsonObject, key: string, wanted: unknown, absent: unknown = wanted): void {
	const value = config.get(key) ?? absent;
	if (value !== wanted) {
		throw new Error(`${config.file}: ${key} is ${shown(String(value))}, which is not supported; ${wanted} is`);
	}
}

/** @throws where the attention of some layer is not full. */
function expectFullAttention(config: JsonObject, architecture: string): void {
	expect(config, 'use_sliding_window', false);
	const types = config.has('layer_types') ? config.array('layer_types') : [];
	const other = types.find((type) => type !== 'full_attention');
	if (other !== undefined) {
		throw new Error(
			`${config.file}: layer_types has ${shown(String(other))}, which is not supported; full_attention is`,
		);
	}
	// Qwen's classes have a window and a switch for it. Llama's class has no switch, so a window alone asks for one.
	if (architecture !== 'llama' || !config.has('sliding_window')) return;
	const window = config.integer('sliding_window', 1, MAX_LENGTH);
	if (window < config.integer('max_position_embeddings', 1, MAX_LENGTH)) {
		throw new Error(`${config.file}: a sliding window of ${window} positions (sliding_window) is not supported`);
	}
}

function planEmbeddings(plan: Plan, config: JsonObject, { vocabulary, embedding }: Sizes): void {
	plan.matrix('token_embd.weight', 'model.embed_tokens.weight', [vocabulary, embedding]);
	plan.vector('output_norm.weight', 'model.norm.weight', embedding);
	// Tied embeddings serve as the output matrix. A copy of them in the folder is left out.
	if (config.boolean('tie_word_embeddings', false)) plan.ignore(/^lm_head\.weight$/);
	else plan.matrix('output.weight', 'lm_head.weight', [vocabulary, embedding]);
	plan.ignore(/\.rotary_emb\.inv_freq$/);
}

/**
 * Plans llama and architectures like it. They differ in biases, norms of the heads, and experts in place of the dense
 * feed-forward.
 */
function planLlamaLike(plan: Plan, config: JsonObject, sizes: Sizes): void {
	const { name } = architectureOf(config);
	const experts = name === 'qwen3moe' ? readExperts(plan, config) : undefined;
	const { embedding, feedForward, headLength } = sizes;
	const q = sizes.heads * headLength;
	const kv = sizes.headsKv * headLength;
	expectActivation(config);
	expectFullAttention(config, name);
	expect(config, 'mlp_bias', false);
	expect(config, 'rope_interleaved', false);
	expect(config, 'qkv_bias', name === 'qwen2');
	expect(config, 'use_qk_norm', name === 'qwen3' || name === 'qwen3moe');
	// Qwen 2 always has biases, the others have them where the config says so. transformers ignores biases that a config
	// does not name.
	const biased = name === 'qwen2' || config.boolean('attention_bias', false);
	if (config.has('quantization_config')) throw quantised(config);
	const order = name === 'llama' ? interleavedHeads(headLength) : undefined;
	planEmbeddings(plan, config, sizes);
	addRopeFrequencies(plan, name, config, 'rope_freqs.weight', headLength);
	for (let layer = 0; layer < sizes.layers; layer++) {
		const from = `model.layers.${layer}`;
		const to = `blk.${layer}`;
		plan.vector(`${to}.attn_norm.weight`, `${from}.input_layernorm.weight`, embedding);
		plan.matrix(`${to}.attn_q.weight`, `${from}.self_attn.q_proj.weight`, [q, embedding], order && { order });
		plan.matrix(`${to}.attn_k.weight`, `${from}.self_attn.k_proj.weight`, [kv, embedding], order && { order });
		plan.matrix(`${to}.attn_v.weight`, `${from}.self_attn.v_proj.weight`, [kv, embedding]);
		plan.matrix(`${to}.attn_output.weight`, `${from}.self_attn.o_proj.weight`, [embedding, q]);
		for (const [bias, length] of [
			['q', q],
			['k', kv],
			['v', kv],
		] as const) {
			if (!biased) continue;
			const source = `${from}.self_attn.${bias}_proj.bias`;
			plan.vector(`${to}.attn_${bias}.bias`, source, length, bias === 'v' ? undefined : order);
		}
		if (name === 'qwen3' || name === 'qwen3moe') {
			plan.vector(`${to}.attn_q_norm.weight`, `${from}.self_attn.q_norm.weight`, headLength);
			plan.vector(`${to}.attn_k_norm.weight`, `${from}.self_attn.k_norm.weight`, headLength);
		}
		plan.vector(`${to}.ffn_norm.weight`, `${from}.post_attention_layernorm.weight`, embedding);
		if (experts) {
			planExperts(plan, layer, embedding, experts);
			continue;
		}
		plan.matrix(`${to}.ffn_gate.weight`, `${from}.mlp.gate_proj.weight`, [feedForward, embedding]);
		plan.matrix(`${to}.ffn_up.weight`, `${from}.mlp.up_proj.weight`, [feedForward, embedding]);
		plan.matrix(`${to}.ffn_down.weight`, `${from}.mlp.down_proj.weight`, [embedding, feedForward]);
	}
}

/** @throws where the activation is not SiLU, which has two names. */
function expectActivation(config: JsonObject): void {
	if (config.get('hidden_act') !== 'swish') expect(config, 'hidden_act', 'silu');
}

function expertCount(config: JsonObject): number {
	return same(config, 'num_experts', 'num_local_experts', 1024);
}

/** A count that the config may give under two names. @throws where the two differ. */
function same(config: JsonObject, name: string, other: string, most: number, absent?: number): number {
	const given = [name, other].filter((key) => config.has(key));
	const [value, second = value] = given.map((key) => config.integer(key, 1, most));
	if (value !== second) throw new Error(`${config.file}: ${name} is ${value}, but ${other} is ${second}`);
	return value ?? config.integer(name, 1, most, absent);
}

interface Experts {
	count: number;
	/** Width of one expert. */
	feedForward: number;
}

/** Qwen3-MoE's experts. @throws where some layer has none. */
function readExperts(plan: Plan, config: JsonObject): Experts {
	const experts = {
		count: expertCount(config),
		feedForward: config.integer('moe_intermediate_size', 1, 1 << 18),
	};
	const u32 = (key: string, value: number) => plan.metadata.set(`qwen3moe.${key}`, { type: 'u32', value });
	u32('expert_count', experts.count);
	u32('expert_used_count', config.integer('num_experts_per_tok', 1, Math.min(64, experts.count)));
	u32('expert_feed_forward_length', experts.feedForward);
	expect(config, 'norm_topk_prob', true, false);
	expect(config, 'decoder_sparse_step', 1);
	expect(config, 'shared_expert_intermediate_size', 0);
	if (config.has('mlp_only_layers') && config.array('mlp_only_layers').length > 0) {
		throw new Error(`${config.file}: mlp_only_layers, layers without experts, are not supported`);
	}
	return experts;
}

function planExperts(plan: Plan, layer: number, embedding: number, { count, feedForward }: Experts): void {
	const from = `model.layers.${layer}.mlp`;
	const to = `blk.${layer}`;
	plan.matrix(`${to}.ffn_gate_inp.weight`, `${from}.gate.weight`, [count, embedding], { type: 'F32' });
	for (const [name, rows, columns] of [
		['gate', feedForward, embedding],
		['up', feedForward, embedding],
		['down', embedding, feedForward],
	] as const) {
		const sources = Array.from({ length: count }, (_, expert) => `${from}.experts.${expert}.${name}_proj.weight`);
		plan.stack(`${to}.ffn_${name}_exps.weight`, sources, [rows, columns]);
	}
}

function planGptOss(plan: Plan, config: JsonObject, sizes: Sizes): void {
	const { embedding, feedForward, headLength, layers } = sizes;
	const experts = expertCount(config);
	const used = same(config, 'num_experts_per_tok', 'experts_per_token', 64, 4);
	const q = sizes.heads * headLength;
	const kv = sizes.headsKv * headLength;
	const u32 = (key: string, value: number) => plan.metadata.set(`gpt-oss.${key}`, { type: 'u32', value });
	u32('expert_feed_forward_length', feedForward);
	u32('expert_count', experts);
	u32('expert_used_count', used);
	u32('attention.sliding_window', config.integer('sliding_window', 1, MAX_LENGTH));
	expectActivation(config);
	expect(config, 'attention_bias', true);
	expect(config, 'mlp_bias', false);
	expect(config, 'use_sliding_window', true);
	expect(config, 'swiglu_limit', 7);
	expect(config, 'swiglu_alpha', 1.702);
	const method = config.optionalObject('quantization_config')?.get('quant_method');
	if (method !== undefined && method !== 'mxfp4') throw quantised(config);
	if (config.has('layer_types')) {
		const types = config.array('layer_types');
		const alternates = types.every((type, i) => type === (i % 2 === 0 ? 'sliding_attention' : 'full_attention'));
		if (!alternates || types.length !== layers) {
			throw new Error(`${config.file}: layer_types other than sliding and full in turn are not supported`);
		}
	}
	planEmbeddings(plan, config, sizes);
	for (let layer = 0; layer < layers; layer++) {
		const from = `model.layers.${layer}`;
		const to = `blk.${layer}`;
		const attention = `${from}.self_attn`;
		plan.vector(`${to}.attn_norm.weight`, `${from}.input_layernorm.weight`, embedding);
		for (const [name, rows] of [
			['q', q],
			['k', kv],
			['v', kv],
		] as const) {
			plan.matrix(`${to}.attn_${name}.weight`, `${attention}.${name}_proj.weight`, [rows, embedding]);
			plan.vector(`${to}.attn_${name}.bias`, `${attention}.${name}_proj.bias`, rows);
		}
		plan.matrix(`${to}.attn_output.weight`, `${attention}.o_proj.weight`, [embedding, q]);
		plan.vector(`${to}.attn_output.bias`, `${attention}.o_proj.bias`, embedding);
		plan.vector(`${to}.attn_sinks.weight`, `${attention}.sinks`, sizes.heads);
		plan.vector(`${to}.post_attention_norm.weight`, `${from}.post_attention_layernorm.weight`, embedding);
		plan.matrix(`${to}.ffn_gate_inp.weight`, `${from}.mlp.router.weight`, [experts, embedding], { type: 'F32' });
		plan.vector(`${to}.ffn_gate_inp.bias`, `${from}.mlp.router.bias`, experts);
		const gateAndUp = (suffix: string) => [
			{ name: `${to}.ffn_gate_exps.${suffix}`, order: EVEN_ROWS },
			{ name: `${to}.ffn_up_exps.${suffix}`, order: ODD_ROWS },
		];
		const down = (suffix: string) => [{ name: `${to}.ffn_down_exps.${suffix}`, order: IN_ORDER }];
		const gateUpProj = `${from}.mlp.experts.gate_up_proj`;
		const downProj = `${from}.mlp.experts.down_proj`;
		if (plan.has(`${gateUpProj}_blocks`)) {
			for (const width of [embedding, feedForward]) {
				if (width % 32 !== 0)
					throw new Error(`${config.file}: a width of ${width} cannot be MXFP4, which needs a multiple of 32`);
			}
			plan.mxfp4(gateUpProj, [experts, 2 * feedForward, embedding], gateAndUp('weight'));
			plan.mxfp4(downProj, [experts, embedding, feedForward], down('weight'));
		} else {
			plan.transposedStack(gateUpProj, [experts, embedding, 2 * feedForward], gateAndUp('weight'));
			plan.transposedStack(downProj, [experts, feedForward, embedding], down('weight'));
		}
		plan.stackedBias(`${gateUpProj}_bias`, [experts, 2 * feedForward], gateAndUp('bias'));
		plan.stackedBias(`${downProj}_bias`, [experts, embedding], down('bias'));
	}
}

function quantised(config: JsonObject): Error {
	const method = config.optionalObject('quantization_config')?.get('quant_method');
	return new Error(
		`${config.file}: weights quantised with ${shown(String(method))} cannot be converted; use the model's unquantised folder or a GGUF`,
	);
}
