// A Hugging Face folder of a few kilobytes that converts. Tests change one thing of it.
import { rmSync } from 'node:fs';
import { demoCorpus } from '../../engine/synth/demo-text';
import { trainedVocabulary } from '../../engine/synth/vocabulary';
import { exactNumbers, f32, type Tensors, tokenizerJson, writeFolder } from './hugging-face';

export const smallVocabulary = trainedVocabulary(demoCorpus, 100);
export const smallVocabularySize = smallVocabulary.tokenTypes.length;

const [embedding, feedForward] = [32, 32];
/** The config.json of a llama with one layer. */
export const smallConfig = {
	...{ num_hidden_layers: 1, hidden_size: embedding, num_attention_heads: 2, num_key_value_heads: 2 },
	...{
		intermediate_size: feedForward,
		vocab_size: smallVocabularySize,
		max_position_embeddings: 64,
		rms_norm_eps: 1e-5,
	},
	...{ architectures: ['LlamaForCausalLM'], tie_word_embeddings: true, hidden_act: 'silu' },
};

const square = (rows: number) => f32(exactNumbers(rows * embedding, 1, rows), [rows, embedding]);
const vector = (length = embedding) => f32(exactNumbers(length, 1, 2), [length]);
const at = 'model.layers.0';
const projections = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `self_attn.${name}`);
const feedForwards = ['gate_proj', 'up_proj', 'down_proj'].map((name) => `mlp.${name}`);

/** The weights of the model. `norms` adds those that only Qwen 3 has, and `biases` adds those that only Qwen 2 has. */
export function smallTensors({ norms = false, biases = false } = {}): Tensors {
	return {
		...{ 'model.embed_tokens.weight': square(smallVocabularySize), 'model.norm.weight': vector() },
		...{ [`${at}.input_layernorm.weight`]: vector(), [`${at}.post_attention_layernorm.weight`]: vector() },
		...Object.fromEntries([...projections, ...feedForwards].map((name) => [`${at}.${name}.weight`, square(32)])),
		...(norms && Object.fromEntries(['q', 'k'].map((n) => [`${at}.self_attn.${n}_norm.weight`, vector(16)]))),
		...(biases && Object.fromEntries(['q', 'k', 'v'].map((n) => [`${at}.self_attn.${n}_proj.bias`, vector()]))),
	};
}

export type TokenizerJson = ReturnType<typeof smallTokenizer>;
/** A tokenizer.json that splits text as Llama 3 does. */
export function smallTokenizer() {
	return tokenizerJson(smallVocabulary, 'llama-bpe') as {
		added_tokens: Record<string, unknown>[];
		normalizer: unknown;
		pre_tokenizer: unknown;
		model: { vocab: Record<string, number>; merges: unknown[] } & Record<string, unknown>;
	} & Record<string, unknown>;
}

/** Writes the folder anew and returns its path. `files` are added, or replace the folder's own files. */
export function smallFolder(
	parent: string,
	name: string,
	files: Record<string, unknown> = {},
	tensors: Tensors = smallTensors(),
): string {
	rmSync(`${parent}/${name}`, { recursive: true, force: true });
	return writeFolder(parent, name, tensors, {
		...{ 'config.json': smallConfig, 'tokenizer.json': smallTokenizer() },
		...files,
	});
}
