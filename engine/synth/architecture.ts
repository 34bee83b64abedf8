// The sizes, metadata and tensors of each architecture, as a GGUF holds them with llama.cpp's names.
import { type MatrixType, type TensorType, tensorTypes } from '../gguf/tensor-types';
import type { GgufTensor, GgufValue } from '../gguf/writer';
import type { VocabularyTables } from './vocabulary';

export const architectures = ['gpt-oss', 'llama', 'qwen2', 'qwen3', 'qwen3moe'] as const;
type ArchitectureName = (typeof architectures)[number];

export const ropeScalings = ['none', 'linear', 'yarn', 'llama3'] as const;

/**
 * Sizes of a model. Lengths are in elements. The rotary embedding and the norm's epsilon are not among them: they are
 * constants here.
 */
export interface ModelShape {
	architecture: ArchitectureName;
	layers: number;
	embedding: number;
	heads: number;
	headsKv: number;
	headLength: number;
	/** Only gpt-oss and qwen3moe have experts; the others have a dense feed-forward. */
	experts: number;
	expertsUsed: number;
	/** Width of one expert, or of the dense feed-forward. */
	feedForward: number;
	/** Only gpt-oss has a sliding window. */
	slidingWindow: number;
	contextLength: number;
	ropeScaling: (typeof ropeScalings)[number];
	/** The embedding matrix is the output matrix, too. gpt-oss cannot have this. */
	tied: boolean;
	/** Type of the attention's matrices, the embedding matrix and the output matrix. */
	attentionType: MatrixType;
	/** Type of the feed-forward's matrices, those of the experts or the dense ones. */
	feedForwardType: MatrixType;
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
	| 'feedForward'
	| 'feedForwardBias'
	| 'ropeDivisors';

export interface TensorPlan extends Pick<GgufTensor, 'name' | 'type' | 'shape'> {
	role: TensorRole;
}

/** RoPE of gpt-oss (model card, `gpt_oss/torch/model.py`). */
export const rope = { frequencyBase: 150_000, scalingFactor: 32, originalContextLength: 4096 };
/** RoPE of the other architectures. The original context is short, so that tests go beyond it. */
const usualRope = { frequencyBase: 10_000, scalingFactor: 4, originalContextLength: 128 };
export const rmsEpsilon = 1e-5;

const hasExperts = ({ architecture }: ModelShape) => architecture === 'gpt-oss' || architecture === 'qwen3moe';

/**
 * The divisor of each pair's frequency in Llama 3's scaling (transformers, `_compute_llama3_parameters`; factors 1 and
 * 4).
 */
export function llama3Divisors(headLength: number): Float32Array {
	const { frequencyBase, scalingFactor, originalContextLength } = usualRope;
	return Float32Array.from({ length: headLength / 2 }, (_, i) => {
		const turns = originalContextLength / (2 * Math.PI * frequencyBase ** ((2 * i) / headLength));
		const keep = Math.min(1, Math.max(0, (turns - 1) / (4 - 1)));
		return 1 / ((1 - keep) / scalingFactor + keep);
	});
}

/** llama.cpp's limits (`LLAMA_MAX_LAYERS`, `LLAMA_MAX_EXPERTS`). */
const MAX_LAYERS = 512;
const MAX_EXPERTS = 512;

/** @throws naming the flag at fault where the shape is impossible or llama.cpp could not load the model. */
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
	if (hasExperts(shape)) {
		whole('experts', shape.experts, MAX_EXPERTS);
		whole('experts-used', shape.expertsUsed, MAX_EXPERTS);
	}
	whole('ffn', shape.feedForward);
	whole('window', shape.slidingWindow);
	whole('context', shape.contextLength, 2 ** 24);
	for (const type of new Set([shape.feedForwardType, shape.attentionType])) {
		multiple('embedding', shape.embedding, tensorTypes[type].blockValues, type);
	}
	multiple('ffn', shape.feedForward, tensorTypes[shape.feedForwardType].blockValues, shape.feedForwardType);
	multiple('head-length', shape.headLength, 8, 'attention');
	multiple('heads', shape.heads, shape.headsKv, `sharing ${shape.headsKv} key/value heads`);
	const width = shape.heads * shape.headLength;
	const { blockValues } = tensorTypes[shape.attentionType];
	if (width % blockValues !== 0) {
		throw new Error(
			`--heads ${shape.heads} × --head-length ${shape.headLength} = ${width}: ${shape.attentionType} needs a multiple of ${blockValues}`,
		);
	}
	if (shape.tied && shape.architecture === 'gpt-oss') throw new Error('--tied is not for gpt-oss');
	if (hasExperts(shape) && shape.expertsUsed > shape.experts) {
		throw new Error(`--experts-used ${shape.expertsUsed} is more than --experts ${shape.experts}`);
	}
}

/**
 * All tensors of a model. Those of gpt-oss are in the order of the published file: 3, and 19 a layer (459 for
 * gpt-oss-20b).
 */
export function planTensors(shape: ModelShape, vocabularySize: number): TensorPlan[] {
	const { embedding, feedForward, experts, attentionType, feedForwardType, architecture } = shape;
	const gptOss = architecture === 'gpt-oss';
	const q = shape.heads * shape.headLength;
	const kv = shape.headsKv * shape.headLength;
	const stack = hasExperts(shape) ? [experts] : [];
	const ffn = hasExperts(shape) ? '_exps' : '';
	const plans: TensorPlan[] = [];
	const add = (name: string, role: TensorRole, type: TensorType, ...lengths: number[]) => {
		plans.push({ name, role, type, shape: lengths });
	};
	if (!shape.tied) add('output.weight', 'output', attentionType, embedding, vocabularySize);
	add('output_norm.weight', 'norm', 'F32', embedding);
	add('token_embd.weight', shape.tied ? 'output' : 'embedding', attentionType, embedding, vocabularySize);
	if (shape.ropeScaling === 'llama3') add('rope_freqs.weight', 'ropeDivisors', 'F32', shape.headLength / 2);
	for (let layer = 0; layer < shape.layers; layer++) {
		const blk = `blk.${layer}`;
		const qkvBias = gptOss || architecture === 'qwen2';
		const headNorms = architecture === 'qwen3' || architecture === 'qwen3moe';
		if (qkvBias) add(`${blk}.attn_k.bias`, 'attentionBias', 'F32', kv);
		if (headNorms) add(`${blk}.attn_k_norm.weight`, 'norm', 'F32', shape.headLength);
		add(`${blk}.attn_k.weight`, 'attention', attentionType, embedding, kv);
		add(`${blk}.attn_norm.weight`, 'norm', 'F32', embedding);
		if (gptOss) add(`${blk}.attn_output.bias`, 'attentionBias', 'F32', embedding);
		add(`${blk}.attn_output.weight`, 'attention', attentionType, q, embedding);
		if (qkvBias) add(`${blk}.attn_q.bias`, 'attentionBias', 'F32', q);
		if (headNorms) add(`${blk}.attn_q_norm.weight`, 'norm', 'F32', shape.headLength);
		add(`${blk}.attn_q.weight`, 'attention', attentionType, embedding, q);
		if (gptOss) add(`${blk}.attn_sinks.weight`, 'sinks', 'F32', shape.heads);
		if (qkvBias) add(`${blk}.attn_v.bias`, 'attentionBias', 'F32', kv);
		add(`${blk}.attn_v.weight`, 'attention', attentionType, embedding, kv);
		if (gptOss) add(`${blk}.ffn_down_exps.bias`, 'feedForwardBias', 'F32', embedding, experts);
		add(`${blk}.ffn_down${ffn}.weight`, 'feedForward', feedForwardType, feedForward, embedding, ...stack);
		if (gptOss) add(`${blk}.ffn_gate_exps.bias`, 'feedForwardBias', 'F32', feedForward, experts);
		add(`${blk}.ffn_gate${ffn}.weight`, 'feedForward', feedForwardType, embedding, feedForward, ...stack);
		if (gptOss) add(`${blk}.ffn_gate_inp.bias`, 'routerBias', 'F32', experts);
		if (hasExperts(shape)) add(`${blk}.ffn_gate_inp.weight`, 'router', 'F32', embedding, experts);
		if (gptOss) add(`${blk}.ffn_up_exps.bias`, 'feedForwardBias', 'F32', feedForward, experts);
		add(`${blk}.ffn_up${ffn}.weight`, 'feedForward', feedForwardType, embedding, feedForward, ...stack);
		add(`${blk}.${gptOss ? 'post_attention_norm' : 'ffn_norm'}.weight`, 'norm', 'F32', embedding);
	}
	return plans;
}

/**
 * The metadata of a model. gpt-oss's is that of the published file without the chat template, since Hearth and the
 * tests build Harmony themselves.
 */
export function metadataOf(shape: ModelShape, vocabulary: VocabularyTables, name: string): Map<string, GgufValue> {
	const metadata = new Map<string, GgufValue>();
	const string = (key: string, value: string) => metadata.set(key, { type: 'string', value });
	const u32 = (key: string, value: number) => metadata.set(key, { type: 'u32', value });
	const f32 = (key: string, value: number) => metadata.set(key, { type: 'f32', value });
	const { architecture } = shape;
	const gptOss = architecture === 'gpt-oss';
	string('general.architecture', architecture);
	string('general.type', 'model');
	string('general.name', name);
	if (gptOss) u32('general.file_type', 38); // llama.cpp's LLAMA_FTYPE_MOSTLY_MXFP4_MOE
	u32('general.quantization_version', 2);
	u32(`${architecture}.block_count`, shape.layers);
	u32(`${architecture}.context_length`, shape.contextLength);
	u32(`${architecture}.embedding_length`, shape.embedding);
	u32(`${architecture}.feed_forward_length`, shape.feedForward);
	if (hasExperts(shape)) {
		u32(`${architecture}.expert_feed_forward_length`, shape.feedForward);
		u32(`${architecture}.expert_count`, shape.experts);
		u32(`${architecture}.expert_used_count`, shape.expertsUsed);
	}
	u32(`${architecture}.attention.head_count`, shape.heads);
	u32(`${architecture}.attention.head_count_kv`, shape.headsKv);
	u32(`${architecture}.attention.key_length`, shape.headLength);
	u32(`${architecture}.attention.value_length`, shape.headLength);
	if (gptOss) u32(`${architecture}.attention.sliding_window`, shape.slidingWindow);
	f32(`${architecture}.attention.layer_norm_rms_epsilon`, rmsEpsilon);
	if (architecture === 'llama') u32(`${architecture}.rope.dimension_count`, shape.headLength);
	const { frequencyBase, scalingFactor, originalContextLength } = gptOss ? rope : usualRope;
	f32(`${architecture}.rope.freq_base`, frequencyBase);
	if (shape.ropeScaling === 'linear' || shape.ropeScaling === 'yarn') {
		string(`${architecture}.rope.scaling.type`, shape.ropeScaling);
		f32(`${architecture}.rope.scaling.factor`, scalingFactor);
		u32(`${architecture}.rope.scaling.original_context_length`, originalContextLength);
	}
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
