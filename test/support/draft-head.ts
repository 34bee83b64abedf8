// Small EAGLE-3 draft heads and the plain computation that they are compared with. It computes one layer in loops and
// doubles, as the paper's code and vLLM's `llama_eagle3.py` do.
import { convertFolder } from '../../engine/convert/convert';
import { exactNumbers, f32, type TensorData, writeFolder } from './hugging-face';
import { attend, feedForward, heads, multiply, type PlainWeights, rmsNorm, rotate } from './plain-transformer';

export interface HeadShape {
	embedding: number;
	heads: number;
	headsKv: number;
	headLength: number;
	feedForward: number;
	targetEmbedding: number;
	vocabulary: number;
	/** When smaller than `vocabulary`, the head has a map from draft ids to the target's ids. */
	draftVocabulary: number;
	ownEmbedding: boolean;
	ownOutput: boolean;
	normBeforeResidual: boolean;
	normBeforeFc: boolean;
	/** `midlayer` is the original layout; `layers.0` is the layout of the library speculators. */
	layerName: 'midlayer' | 'layers.0';
	layers: readonly [number, number, number];
}

const EPSILON = 1e-5;
const BASE = 10_000;

export interface Head {
	shape: HeadShape;
	weights: PlainWeights;
	/** The target's token id of each draft token. */
	ids: number[];
}

/** A head with seeded random weights. */
export function randomHead(shape: HeadShape, seed: number): Head {
	const { embedding: e, headLength, layerName: at } = shape;
	const weights: PlainWeights = {};
	const add = (name: string, count: number, size: number, mean = 0) => {
		weights[name] = exactNumbers(count, size, seed * 100 + Object.keys(weights).length).map((value) => value + mean);
	};
	add('fc.weight', e * 3 * shape.targetEmbedding, 0.125);
	if (shape.normBeforeFc) add('input_norm.weight', 3 * shape.targetEmbedding, 0.25, 1);
	add('norm.weight', e, 0.25, 1);
	add(`${at}.input_layernorm.weight`, e, 0.25, 1);
	add(`${at}.hidden_norm.weight`, e, 0.25, 1);
	add(`${at}.post_attention_layernorm.weight`, e, 0.25, 1);
	add(`${at}.self_attn.q_proj.weight`, shape.heads * headLength * 2 * e, 0.25);
	add(`${at}.self_attn.k_proj.weight`, shape.headsKv * headLength * 2 * e, 0.25);
	add(`${at}.self_attn.v_proj.weight`, shape.headsKv * headLength * 2 * e, 0.25);
	add(`${at}.self_attn.o_proj.weight`, e * shape.heads * headLength, 0.25);
	add(`${at}.mlp.gate_proj.weight`, shape.feedForward * e, 0.25);
	add(`${at}.mlp.up_proj.weight`, shape.feedForward * e, 0.25);
	add(`${at}.mlp.down_proj.weight`, e * shape.feedForward, 0.25);
	if (shape.ownEmbedding) add('embed_tokens.weight', shape.vocabulary * e, 1);
	if (shape.ownOutput) add('lm_head.weight', shape.draftVocabulary * e, 0.25);
	// Every third token: the order is ascending but not the identity.
	const ids = Array.from({ length: shape.draftVocabulary }, (_, i) =>
		shape.draftVocabulary === shape.vocabulary ? i : (i * 3 + 1) % shape.vocabulary,
	);
	return { shape, weights, ids };
}

/** The files of the head's folder: tensors, and config.json as the library speculators writes it. */
export function headFolder({ shape, weights, ids }: Head): { tensors: Record<string, TensorData>; config: object } {
	const { embedding: e, vocabulary, draftVocabulary } = shape;
	const columns = (name: string): number =>
		name === 'fc.weight'
			? 3 * shape.targetEmbedding
			: /[qkv]_proj/.test(name)
				? 2 * e
				: name.includes('o_proj')
					? shape.heads * shape.headLength
					: name.includes('down_proj')
						? shape.feedForward
						: e;
	const tensors = Object.fromEntries(
		Object.entries(weights).map(([name, values]) => [
			name,
			f32(values, name.includes('norm') ? [values.length] : [values.length / columns(name), columns(name)]),
		]),
	);
	if (draftVocabulary !== vocabulary) {
		const differences = BigInt64Array.from(ids, (id, i) => BigInt(id - i));
		tensors['d2t'] = { dtype: 'I64', shape: [draftVocabulary], bytes: new Uint8Array(differences.buffer) };
		tensors['t2d'] = { dtype: 'BOOL', shape: [vocabulary], bytes: new Uint8Array(vocabulary) };
	}
	const config = {
		architectures: ['Eagle3Speculator'],
		speculators_model_type: 'eagle3',
		draft_vocab_size: draftVocabulary,
		target_hidden_size: shape.targetEmbedding,
		norm_before_residual: shape.normBeforeResidual,
		norm_before_fc: shape.normBeforeFc,
		eagle_aux_hidden_state_layer_ids: shape.layers,
		transformer_layer_config: {
			...{ model_type: 'llama', num_hidden_layers: 1, hidden_size: e, intermediate_size: shape.feedForward },
			...{ num_attention_heads: shape.heads, num_key_value_heads: shape.headsKv, head_dim: shape.headLength },
			...{ vocab_size: vocabulary, max_position_embeddings: 4096, rms_norm_eps: EPSILON, rope_theta: BASE },
			...{ hidden_act: 'silu', attention_bias: false, mlp_bias: false },
		},
	};
	return { tensors, config };
}

/**
 * Writes a random head as a GGUF into `folder`. It fits the width of the model in the file `target` and shares that
 * model's embedding.
 */
export async function makeDraftHead(
	folder: string,
	target: string,
	{ embedding, vocabulary }: Pick<HeadShape, 'embedding' | 'vocabulary'>,
): Promise<string> {
	const head = randomHead(
		{
			...{ embedding, heads: 2, headsKv: 1, headLength: 16, feedForward: embedding, targetEmbedding: embedding },
			...{ vocabulary, draftVocabulary: 100, ownEmbedding: false, ownOutput: true },
			...{ normBeforeResidual: true, normBeforeFc: true, layerName: 'midlayer', layers: [0, 1, 2] },
		},
		1,
	);
	const { tensors, config } = headFolder(head);
	const from = writeFolder(folder, 'draft-head', tensors, { 'config.json': config });
	await convertFolder(from, `${from}.gguf`, { target });
	return `${from}.gguf`;
}

export interface PlainDraft {
	/** Drafted tokens, as ids of the target. */
	tokens: number[];
	/** The normed state that each token was chosen from. */
	states: number[][];
}

/**
 * Computes a greedy chain of `limit` drafts behind `tokens`.
 * @param features - [tokens − 1][3 × targetEmbedding], the target's hidden states of all positions but the last
 * @param shared - the target's embedding and output, for heads without their own
 * @param forced - tokens to go on with in place of the head's own, for fitting
 */
export function plainDraft(
	{ shape, weights, ids }: Head,
	features: readonly (readonly number[])[],
	tokens: readonly number[],
	limit: number,
	shared: { embedding: Float32Array; output: Float32Array },
	forced: readonly number[] = [],
): PlainDraft {
	const { embedding: e, headLength, layerName: at } = shape;
	const w = (name: string) => weights[`${at}.${name}.weight`]!;
	const frequencies = Array.from({ length: headLength / 2 }, (_, i) => BASE ** ((-2 * i) / headLength));
	const embedding = weights['embed_tokens.weight'] ?? shared.embedding;
	const output = weights['lm_head.weight'] ?? shared.output;
	const keys: number[][][] = [];
	const values: number[][][] = [];
	const row = (position: number, token: number, g: readonly number[]): number[] => {
		const embedded = Array.from(embedding.subarray(token * e, (token + 1) * e));
		const n = rmsNorm(g, w('hidden_norm'), EPSILON);
		const input = [...rmsNorm(embedded, w('input_layernorm'), EPSILON), ...n];
		const project = (name: string) => heads(multiply(w(`self_attn.${name}_proj`), input), headLength);
		keys.push(project('k').map((head) => rotate(head, position, { frequencies })));
		values.push(project('v'));
		const group = shape.heads / shape.headsKv;
		const attended = project('q').flatMap((head, h) => {
			const kv = Math.floor(h / group);
			return attend(
				rotate(head, position, { frequencies }),
				keys.map((all) => all[kv]!),
				values.map((all) => all[kv]!),
			);
		});
		const residual = shape.normBeforeResidual ? n : g;
		const x = multiply(w('self_attn.o_proj'), attended).map((value, i) => value + residual[i]!);
		const normed = rmsNorm(x, w('post_attention_layernorm'), EPSILON);
		return feedForward(normed, w('mlp.gate_proj'), w('mlp.up_proj'), w('mlp.down_proj')).map((v, i) => v + x[i]!);
	};
	let x: number[] = [];
	features.forEach((wide, position) => {
		const norm = weights['input_norm.weight'];
		const fused = multiply(weights['fc.weight']!, norm ? rmsNorm(wide, norm, EPSILON) : wide);
		x = row(position, tokens[position + 1]!, fused);
	});
	const draft: PlainDraft = { tokens: [], states: [] };
	for (let i = 0; i < limit; i++) {
		const state = rmsNorm(x, weights['norm.weight']!, EPSILON);
		const logits = multiply(output, state);
		const token = ids[logits.indexOf(Math.max(...logits))]!;
		draft.tokens.push(token);
		draft.states.push(state);
		if (i + 1 < limit) x = row(features.length + i, forced[i] ?? token, x);
	}
	return draft;
}
