// Which keys a config.json may have. A key that the converter neither uses nor knows to be harmless could change what
// the model computes. So such a key is an error.
import type { JsonObject } from './json';
import { shown } from './safetensors';

/** Keys that the converter uses for every architecture, by itself or through the names and shapes of tensors. */
const MAPPED = `
	architectures model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads
	num_key_value_heads head_dim max_position_embeddings rms_norm_eps rope_theta rope_scaling rope_parameters
	partial_rotary_factor original_max_position_embeddings tie_word_embeddings hidden_act quantization_config attention_bias mlp_bias layer_types
	sliding_window use_sliding_window max_window_layers bos_token_id eos_token_id pad_token_id unk_token_id
	rope_interleaved qkv_bias use_qk_norm
`;

/** Keys that the converter uses for single architectures. */
const OWN: Readonly<Record<string, string>> = {
	'gpt-oss': 'num_local_experts num_experts num_experts_per_tok experts_per_token swiglu_limit swiglu_alpha',
	qwen3moe: `num_experts num_local_experts num_experts_per_tok moe_intermediate_size norm_topk_prob decoder_sparse_step
		mlp_only_layers shared_expert_intermediate_size`,
};

/**
 * Keys that do not change what these architectures compute: training, initialisation, defaults of generation
 * (generation_config.json has them, too), and notes of tools.
 */
const HARMLESS = `
	torch_dtype dtype transformers_version use_cache initializer_range initializer_factor attention_dropout hidden_dropout
	hidden_dropout_prob resid_pdrop embd_pdrop attn_pdrop dropout classifier_dropout pretraining_tp output_router_logits
	router_aux_loss_coef router_jitter_noise initial_context_length model_max_length
	is_llama_config attn_implementation tokenizer_class name_or_path max_sequence_length seq_length

	return_dict output_hidden_states output_attentions torchscript use_bfloat16 tf_legacy_loss pruned_heads
	chunk_size_feed_forward tie_encoder_decoder decoder_start_token_id sep_token_id cross_attention_hidden_size
	finetuning_task id2label label2id num_labels task_specific_params problem_type prefix gradient_checkpointing

	max_length max_new_tokens min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature
	top_k top_p min_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
	bad_words_ids num_return_sequences output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
	remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens

	transformers.js_config unsloth_version unsloth_fixed mergekit_version license language loss_type neftune_noise_alpha
	tokenizer_model_max_length tokenizer_padding_side
`;
/** Keys that begin or end like this are notes of the tool that wrote the file. */
const NOTES = /^_|version$|^wandb|^unsloth_/;

const words = (text: string) => text.trim().split(/\s+/);
const COMMON = new Set([...words(MAPPED), ...words(HARMLESS)]);

/** @throws naming the first key that is neither used nor harmless. A key whose value is off, empty or 0 passes. */
export function checkKeys(config: JsonObject, architecture: string): void {
	const own = Object.hasOwn(OWN, architecture) ? words(OWN[architecture]!) : [];
	for (const key of config.keys()) {
		if (COMMON.has(key) || own.includes(key) || NOTES.test(key) || config.isNeutral(key)) continue;
		if (key === 'auto_map') {
			throw new Error(`${config.file}: the model brings code of its own (auto_map), which is not run here`);
		}
		throw new Error(
			`${config.file}: ${shown(key)} is no option that Hearth knows; if it does not change what the model computes, remove it`,
		);
	}
}
