// The gpt-oss architecture as a GGUF holds it: sizes, metadata and tensors, by the names of llama.cpp's `gpt-oss`.
import type { GgufTensor, GgufValue, TensorType } from '../gguf/writer';
import type { Vocabulary } from './vocabulary';

export type AttentionType = Extract<TensorType, 'Q8_0' | 'F16' | 'BF16' | 'F32'>;

/** Lengths in elements. Rotary embedding, YaRN scaling and the norm's epsilon are gpt-oss's own. */
export interface ModelShape {
	layers: number;
	embedding: number;
	heads: number;
	headsKv: number;
	headLength: number;
	experts: number;
	expertsUsed: number;
	/** Width of one expert. */
	feedForward: number;
	slidingWindow: number;
	contextLength: number;
	/** Type of the attention's and the two embedding matrices. */
	attentionType: AttentionType;
}

export type TensorRole =
	| 'embedding'
	| 'output'
	| 'attention'
	| 'attentionBias'
	| 'norm'
	| 'sinks'
	| 'router'
	| 'routerBias'
	| 'experts'
	| 'expertsBias';

export interface TensorPlan extends Pick<GgufTensor, 'name' | 'type' | 'shape'> {
	role: TensorRole;
}

/** RoPE of gpt-oss (model card, `gpt_oss/torch/model.py`). */
export const rope = { frequencyBase: 150_000, scalingFactor: 32, originalContextLength: 4096 };
export const rmsEpsilon = 1e-5;

/** llama.cpp's limits (`LLAMA_MAX_LAYERS`, `LLAMA_MAX_EXPERTS`). */
const MAX_LAYERS = 512;
const MAX_EXPERTS = 512;

/** Throws, naming the flag, where no such model can be written or llama.cpp could not load it. */
export function checkShape(shape: ModelShape): void {
	const whole = (flag: string, value: number, most = 2 ** 24) => {
		if (!Number.isInteger(value) || value < 1 || value > most) {
			throw new Error(`--${flag} must be an integer from 1 to ${most}, not ${value}`);
		}
	};
	const multiple = (flag: string, value: number, unit: number, why: string) => {
		if (value % unit !== 0) throw new Error(`--${flag} ${value}: ${why} needs a multiple of ${unit}`);
	};
	whole('layers', shape.layers, MAX_LAYERS);
	whole('embedding', shape.embedding);
	whole('heads', shape.heads, 2 ** 12);
	whole('kv-heads', shape.headsKv, 2 ** 12);
	whole('head-length', shape.headLength, 256);
	whole('experts', shape.experts, MAX_EXPERTS);
	whole('experts-used', shape.expertsUsed, MAX_EXPERTS);
	whole('ffn', shape.feedForward);
	whole('window', shape.slidingWindow);
	whole('context', shape.contextLength, 2 ** 24);
	multiple('embedding', shape.embedding, 32, 'MXFP4');
	multiple('ffn', shape.feedForward, 32, 'MXFP4');
	multiple('head-length', shape.headLength, 8, 'attention');
	multiple('heads', shape.heads, shape.headsKv, `sharing ${shape.headsKv} key/value heads`);
	if (shape.attentionType === 'Q8_0' && (shape.heads * shape.headLength) % 32 !== 0) {
		throw new Error(
			`--heads ${shape.heads} × --head-length ${shape.headLength} = ${shape.heads * shape.headLength}: Q8_0 needs a multiple of 32`,
		);
	}
	if (shape.expertsUsed > shape.experts) {
		throw new Error(`--experts-used ${shape.expertsUsed} is more than --experts ${shape.experts}`);
	}
}

/** Every tensor in the order of the published file: 3 + 19 a layer (459 for gpt-oss-20b). */
export function planTensors(shape: ModelShape, vocabularySize: number): TensorPlan[] {
	const { embedding, feedForward, experts, attentionType } = shape;
	const q = shape.heads * shape.headLength;
	const kv = shape.headsKv * shape.headLength;
	const plans: TensorPlan[] = [];
	const add = (name: string, role: TensorRole, type: TensorType, ...lengths: number[]) => {
		plans.push({ name, role, type, shape: lengths });
	};
	add('output.weight', 'output', attentionType, embedding, vocabularySize);
	add('output_norm.weight', 'norm', 'F32', embedding);
	add('token_embd.weight', 'embedding', attentionType, embedding, vocabularySize);
	for (let layer = 0; layer < shape.layers; layer++) {
		const blk = `blk.${layer}`;
		add(`${blk}.attn_k.bias`, 'attentionBias', 'F32', kv);
		add(`${blk}.attn_k.weight`, 'attention', attentionType, embedding, kv);
		add(`${blk}.attn_norm.weight`, 'norm', 'F32', embedding);
		add(`${blk}.attn_output.bias`, 'attentionBias', 'F32', embedding);
		add(`${blk}.attn_output.weight`, 'attention', attentionType, q, embedding);
		add(`${blk}.attn_q.bias`, 'attentionBias', 'F32', q);
		add(`${blk}.attn_q.weight`, 'attention', attentionType, embedding, q);
		add(`${blk}.attn_sinks.weight`, 'sinks', 'F32', shape.heads);
		add(`${blk}.attn_v.bias`, 'attentionBias', 'F32', kv);
		add(`${blk}.attn_v.weight`, 'attention', attentionType, embedding, kv);
		add(`${blk}.ffn_down_exps.bias`, 'expertsBias', 'F32', embedding, experts);
		add(`${blk}.ffn_down_exps.weight`, 'experts', 'MXFP4', feedForward, embedding, experts);
		add(`${blk}.ffn_gate_exps.bias`, 'expertsBias', 'F32', feedForward, experts);
		add(`${blk}.ffn_gate_exps.weight`, 'experts', 'MXFP4', embedding, feedForward, experts);
		add(`${blk}.ffn_gate_inp.bias`, 'routerBias', 'F32', experts);
		add(`${blk}.ffn_gate_inp.weight`, 'router', 'F32', embedding, experts);
		add(`${blk}.ffn_up_exps.bias`, 'expertsBias', 'F32', feedForward, experts);
		add(`${blk}.ffn_up_exps.weight`, 'experts', 'MXFP4', embedding, feedForward, experts);
		add(`${blk}.post_attention_norm.weight`, 'norm', 'F32', embedding);
	}
	return plans;
}

/** The metadata of the published file, but for its chat template (Hearth and the tests build Harmony themselves). */
export function metadataOf(shape: ModelShape, vocabulary: Vocabulary, name: string): Map<string, GgufValue> {
	const metadata = new Map<string, GgufValue>();
	const string = (key: string, value: string) => metadata.set(key, { type: 'string', value });
	const u32 = (key: string, value: number) => metadata.set(key, { type: 'u32', value });
	const f32 = (key: string, value: number) => metadata.set(key, { type: 'f32', value });
	string('general.architecture', 'gpt-oss');
	string('general.type', 'model');
	string('general.name', name);
	u32('general.file_type', 38); // llama.cpp's LLAMA_FTYPE_MOSTLY_MXFP4_MOE
	u32('general.quantization_version', 2);
	u32('gpt-oss.block_count', shape.layers);
	u32('gpt-oss.context_length', shape.contextLength);
	u32('gpt-oss.embedding_length', shape.embedding);
	u32('gpt-oss.feed_forward_length', shape.feedForward);
	u32('gpt-oss.expert_feed_forward_length', shape.feedForward);
	u32('gpt-oss.expert_count', shape.experts);
	u32('gpt-oss.expert_used_count', shape.expertsUsed);
	u32('gpt-oss.attention.head_count', shape.heads);
	u32('gpt-oss.attention.head_count_kv', shape.headsKv);
	u32('gpt-oss.attention.key_length', shape.headLength);
	u32('gpt-oss.attention.value_length', shape.headLength);
	u32('gpt-oss.attention.sliding_window', shape.slidingWindow);
	f32('gpt-oss.attention.layer_norm_rms_epsilon', rmsEpsilon);
	f32('gpt-oss.rope.freq_base', rope.frequencyBase);
	string('gpt-oss.rope.scaling.type', 'yarn');
	f32('gpt-oss.rope.scaling.factor', rope.scalingFactor);
	u32('gpt-oss.rope.scaling.original_context_length', rope.originalContextLength);
	string('tokenizer.ggml.model', 'gpt2');
	string('tokenizer.ggml.pre', 'gpt-4o');
	metadata.set('tokenizer.ggml.tokens', { type: 'strings', value: vocabulary.tokens });
	metadata.set('tokenizer.ggml.token_type', { type: 'i32s', value: vocabulary.tokenTypes });
	metadata.set('tokenizer.ggml.merges', { type: 'strings', value: vocabulary.merges });
	u32('tokenizer.ggml.bos_token_id', vocabulary.bosId);
	u32('tokenizer.ggml.eos_token_id', vocabulary.eosId);
	u32('tokenizer.ggml.padding_token_id', vocabulary.paddingId);
	return metadata;
}
