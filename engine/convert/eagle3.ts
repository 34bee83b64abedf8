// EAGLE-3 draft heads (arXiv 2503.01840) as GGUFs of llama.cpp's architecture `eagle3`. Two layouts are read: that of
// the original authors (`midlayer.*`) and that of vLLM's speculators (`layers.0.*`, with a nested config). A head
// belongs to one target model and shares its tokenizer and sizes.
import { stat } from 'node:fs/promises';
import { loadNative, type MetadataValue } from '../../native/index';
import { kindOf } from '../files/kind';
import { optionalNumber, requireString, requireStrings } from '../gguf/metadata';
import type { GgufValue } from '../gguf/writer';
import { addSizes, modelClass, readSizes } from './architectures';
import { JsonObject } from './json';
import { interleavedHeads, type Plan } from './plan';
import { addRopeFrequencies } from './rope';
import { readTensor } from './safetensors';
import type { Sources } from './source-folder';
import { addTokenizer } from './tokenizer';

const CLASSES = ['Eagle3Speculator', 'Eagle3DraftModel', 'LlamaForCausalLMEagle3', 'Eagle3LlamaForCausalLM'];
const ARCHITECTURE = 'eagle3';
const FEATURES = 3;

/** What the conversion of a head needs to know of the target model. */
interface Target {
	layers: number;
	embedding: number;
	vocabulary: number;
	addTokenizer(metadata: Map<string, GgufValue>): Promise<void>;
}

export function isEagle3(config: JsonObject): boolean {
	return CLASSES.includes(modelClass(config)) || config.has('draft_vocab_size');
}

/**
 * Plans the head's tensors and metadata.
 * @param targetPath the target model, a folder or a GGUF. Without it the GGUF has no tokenizer, and names the layers
 * that the head reads only if the config does. llama.cpp needs both; Hearth takes them from the target.
 */
export async function planEagle3(
	plan: Plan,
	config: JsonObject,
	sources: Sources,
	targetPath: string | undefined,
): Promise<void> {
	const target = targetPath === undefined ? undefined : await readTarget(targetPath, sources);
	// Speculators nest the layer's sizes in one object. NVIDIA's heads nest the draft's switches in another.
	const layer = config.optionalObject('transformer_layer_config');
	const head = config.optionalObject('eagle_config');
	const own = new JsonObject(config.file, { ...config.values, ...layer?.values, ...head?.values });
	for (const key of ['fc_norm', 'norm_output', 'attention_bias', 'mlp_bias']) {
		if (own.boolean(key, false)) throw new Error(`${config.file}: an EAGLE-3 head with ${key} is not supported`);
	}
	if ((own.get('hidden_act') ?? 'silu') !== 'silu') throw own.fail('hidden_act', 'silu');
	const sizes = readSizes(own);
	if (sizes.layers !== 1) throw new Error(`${config.file}: an EAGLE-3 head has 1 layer, this one ${sizes.layers}`);
	const targetEmbedding = own.integer('target_hidden_size', 1, 1 << 16, target?.embedding ?? sizes.embedding);
	const draftVocabulary = own.integer('draft_vocab_size', 1, sizes.vocabulary, sizes.vocabulary);
	if (target && (target.embedding !== targetEmbedding || target.vocabulary !== sizes.vocabulary)) {
		throw new Error(
			`${config.file} is a head for a model of width ${targetEmbedding} and ${sizes.vocabulary} tokens; ${targetPath} has ${target.embedding} and ${target.vocabulary}`,
		);
	}

	addSizes(plan.metadata, ARCHITECTURE, own, sizes);
	const layers = readLayers(own, target);
	if (layers) plan.metadata.set('eagle3.target_layers', { type: 'i32s', value: Int32Array.from(layers) });
	plan.metadata.set('eagle3.target_hidden_size', { type: 'u32', value: targetEmbedding });
	const normBeforeFc = own.boolean('norm_before_fc', false);
	const beforeResidual = own.boolean('norm_before_residual', false);
	plan.metadata.set('eagle3.norm_before_residual', { type: 'bool', value: beforeResidual });
	plan.metadata.set('eagle3.norm_before_fc', { type: 'bool', value: normBeforeFc });
	await target?.addTokenizer(plan.metadata);

	const { embedding, feedForward, headLength } = sizes;
	const from = plan.has('midlayer.input_layernorm.weight') ? 'midlayer' : 'layers.0';
	const order = interleavedHeads(headLength);
	const [q, kv] = [sizes.heads * headLength, sizes.headsKv * headLength];
	const features = FEATURES * targetEmbedding;
	plan.matrix('fc.weight', 'fc.weight', [embedding, features]);
	if (normBeforeFc) plan.vector('enc.output_norm.weight', 'input_norm.weight', features);
	plan.vector('output_norm.weight', 'norm.weight', embedding);
	if (plan.has('lm_head.weight')) plan.matrix('output.weight', 'lm_head.weight', [draftVocabulary, embedding]);
	if (plan.has('embed_tokens.weight')) {
		plan.matrix('token_embd.weight', 'embed_tokens.weight', [sizes.vocabulary, embedding]);
	}
	plan.vector('blk.0.attn_norm.weight', `${from}.input_layernorm.weight`, embedding);
	plan.vector('blk.0.attn_norm_2.weight', `${from}.hidden_norm.weight`, embedding);
	plan.matrix('blk.0.attn_q.weight', `${from}.self_attn.q_proj.weight`, [q, 2 * embedding], { order });
	plan.matrix('blk.0.attn_k.weight', `${from}.self_attn.k_proj.weight`, [kv, 2 * embedding], { order });
	plan.matrix('blk.0.attn_v.weight', `${from}.self_attn.v_proj.weight`, [kv, 2 * embedding]);
	plan.matrix('blk.0.attn_output.weight', `${from}.self_attn.o_proj.weight`, [embedding, q]);
	plan.vector('blk.0.ffn_norm.weight', `${from}.post_attention_layernorm.weight`, embedding);
	plan.matrix('blk.0.ffn_gate.weight', `${from}.mlp.gate_proj.weight`, [feedForward, embedding]);
	plan.matrix('blk.0.ffn_up.weight', `${from}.mlp.up_proj.weight`, [feedForward, embedding]);
	plan.matrix('blk.0.ffn_down.weight', `${from}.mlp.down_proj.weight`, [embedding, feedForward]);
	addRopeFrequencies(plan, ARCHITECTURE, own, 'rope_freqs.weight', headLength);
	if (plan.has('d2t')) {
		const ids = await readDraftTokens(plan, draftVocabulary, sizes.vocabulary);
		plan.constant('d2t', 'I64', [draftVocabulary], new Uint8Array(ids.buffer));
	} else if (draftVocabulary !== sizes.vocabulary) {
		throw new Error(
			`${plan.source.folder} lacks the tensor d2t, which says what its ${draftVocabulary} draft tokens are`,
		);
	}
	// t2d is the inverse of d2t. The verifier's weights are those of the target model.
	plan.ignore(/^(t2d|verifier_.*|rotary_emb\..*)$/);
}

/**
 * The target's layers whose inputs the head reads; undefined where neither the config nor a target says them. EAGLE-3's
 * authors choose the default layers by the target's number of layers.
 */
function readLayers(config: JsonObject, target: Target | undefined): number[] | undefined {
	if (config.has('eagle_aux_hidden_state_layer_ids')) {
		const layers = config.array('eagle_aux_hidden_state_layer_ids');
		const most = target?.layers ?? 1024;
		if (
			layers.length !== FEATURES ||
			!layers.every((layer) => Number.isInteger(layer) && (layer as number) >= 0 && (layer as number) < most)
		) {
			throw new Error(
				`${config.file}: eagle_aux_hidden_state_layer_ids should be ${FEATURES} layers of the target model`,
			);
		}
		return layers as number[];
	}
	if (!target) return undefined;
	if (target.layers < 6) throw new Error(`a target of ${target.layers} layers is too small for an EAGLE-3 head`);
	return [2, Math.floor(target.layers / 2), target.layers - 3];
}

/** The target's token id for each draft token. The folder has the difference of the two ids. */
async function readDraftTokens(plan: Plan, draftVocabulary: number, vocabulary: number): Promise<BigInt64Array> {
	const tensor = plan.take('d2t', [draftVocabulary], ['I64', 'I32']);
	const bytes = new Uint8Array(tensor.bytes);
	await readTensor(tensor, 0, bytes.length, bytes);
	const view = new DataView(bytes.buffer);
	return BigInt64Array.from({ length: draftVocabulary }, (_, i) => {
		const difference = tensor.dtype === 'I64' ? view.getBigInt64(8 * i, true) : BigInt(view.getInt32(4 * i, true));
		const id = BigInt(i) + difference;
		if (id < 0n || id >= BigInt(vocabulary)) {
			throw new Error(
				`${tensor.shard.file}: d2t maps draft token ${i} to ${id}, which is not in the vocabulary of ${vocabulary}`,
			);
		}
		return id;
	});
}

async function readTarget(path: string, sources: Sources): Promise<Target> {
	const stats = await stat(path).catch(() => {
		throw new Error(`there is no target model ${path}`);
	});
	if (!stats.isDirectory()) {
		if (!stats.isFile()) throw new Error(`cannot read ${path}: it is ${kindOf(stats)}, not a model`);
		await sources.noteTargetFile();
		return readTargetGguf(path);
	}
	const folder = sources.target!;
	const config = await folder.config();
	const { layers, embedding, vocabulary } = readSizes(config);
	return {
		...{ layers, embedding, vocabulary },
		addTokenizer: (metadata) => addTokenizer(metadata, folder, config, vocabulary),
	};
}

async function readTargetGguf(file: string): Promise<Target> {
	const header = await loadNative().readGguf(file);
	const architecture = requireString(header, 'general.architecture');
	const number = (key: string) => {
		const value = optionalNumber(header, `${architecture}.${key}`);
		if (value === undefined) throw new Error(`${file} lacks the metadata key ${architecture}.${key}`);
		return value;
	};
	return {
		layers: number('block_count'),
		embedding: number('embedding_length'),
		vocabulary: requireStrings(header, 'tokenizer.ggml.tokens').offsets.length - 1,
		addTokenizer: async (metadata) => {
			for (const [key, value] of header.metadata) {
				const copy = key.startsWith('tokenizer.') ? asWritten(value) : undefined;
				if (copy) metadata.set(key, copy);
			}
		},
	};
}

/** A metadata value in the form that the writer takes; undefined for types that tokenizers do not have. */
function asWritten(value: MetadataValue): GgufValue | undefined {
	if (typeof value === 'string') return { type: 'string', value };
	if (typeof value === 'boolean') return { type: 'bool', value };
	if (typeof value === 'number') return { type: Number.isInteger(value) && value >= 0 ? 'u32' : 'f32', value };
	if (value instanceof Int32Array) return { type: 'i32s', value };
	if (typeof value === 'object' && 'offsets' in value) return { type: 'strings', value };
	return undefined;
}
