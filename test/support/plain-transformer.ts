// llama, qwen2, qwen3 and qwen3moe as Hugging Face's transformers computes them (`modeling_llama.py` and its like), in
// plain loops and doubles. It takes the tensors by their names there. Converted files are compared with it.

export interface PlainConfig {
	layers: number;
	embedding: number;
	heads: number;
	headsKv: number;
	headLength: number;
	feedForward: number;
	vocabulary: number;
	epsilon: number;
	/** Angle a position in radians, for each i below D/2. */
	frequencies: readonly number[];
	/** Experts that a token uses, in models with experts. */
	expertsUsed?: number;
	/** YaRN's factor of cos and sin. */
	concentration?: number;
}

export type PlainWeights = Record<string, Float32Array>;

export function rmsNorm(x: readonly number[], weight: ArrayLike<number>, epsilon: number): number[] {
	const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length;
	return x.map((value, i) => (value / Math.sqrt(mean + epsilon)) * weight[i]!);
}

/** W [rows][x.length] · x + bias. */
export function multiply(weight: Float32Array, x: readonly number[], bias?: Float32Array): number[] {
	return Array.from({ length: weight.length / x.length }, (_, row) => {
		let sum = bias?.[row] ?? 0;
		for (let i = 0; i < x.length; i++) sum += weight[row * x.length + i]! * x[i]!;
		return sum;
	});
}

/** Rotates the pairs (i, i + D/2) of a head by the angles of a position. */
export function rotate(
	head: readonly number[],
	position: number,
	config: Pick<PlainConfig, 'frequencies' | 'concentration'>,
): number[] {
	const half = head.length / 2;
	return head.map((value, i) => {
		const angle = position * config.frequencies[i % half]!;
		const other = i < half ? -head[i + half]! : head[i - half]!;
		return (value * Math.cos(angle) + other * Math.sin(angle)) * (config.concentration ?? 1);
	});
}

/** Softmax attention of one query over all keys and their values. */
export function attend(query: readonly number[], keys: readonly number[][], values: readonly number[][]): number[] {
	const scores = keys.map((key) => key.reduce((sum, k, i) => sum + k * query[i]!, 0) / Math.sqrt(query.length));
	const largest = Math.max(...scores);
	const weights = scores.map((score) => Math.exp(score - largest));
	const total = weights.reduce((sum, weight) => sum + weight, 0);
	return query.map((_, d) => values.reduce((sum, value, j) => sum + (weights[j]! / total) * value[d]!, 0));
}

export const heads = (x: readonly number[], length: number): number[][] =>
	Array.from({ length: x.length / length }, (_, head) => x.slice(head * length, (head + 1) * length));

/** SwiGLU. */
export function feedForward(x: readonly number[], gate: Float32Array, up: Float32Array, down: Float32Array): number[] {
	const u = multiply(up, x);
	return multiply(
		down,
		multiply(gate, x).map((g, i) => (g / (1 + Math.exp(-g))) * u[i]!),
	);
}

/**
 * The `used` experts with the largest share of the softmax over all experts. Their weights are scaled to a sum of 1
 * (`norm_topk_prob`).
 */
function chosenExperts(scores: readonly number[], used: number): { expert: number; weight: number }[] {
	const largest = Math.max(...scores);
	const all = scores.map((score, expert) => ({ expert, weight: Math.exp(score - largest) }));
	const best = all.sort((a, b) => b.weight - a.weight).slice(0, used);
	const total = best.reduce((sum, { weight }) => sum + weight, 0);
	return best.map(({ expert, weight }) => ({ expert, weight: weight / total }));
}

/**
 * Computes `logits` of every position, [tokens][vocabulary], and `inputs` of every layer, [layers][tokens][embedding].
 */
export function plainForward(
	config: PlainConfig,
	weights: PlainWeights,
	tokens: ArrayLike<number>,
): { logits: number[][]; inputs: number[][][] } {
	const { embedding, headLength } = config;
	const add = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value + b[i]!);
	let x = Array.from(tokens, (token) =>
		Array.from(weights['model.embed_tokens.weight']!.subarray(token * embedding, (token + 1) * embedding)),
	);
	const inputs: number[][][] = [];
	for (let layer = 0; layer < config.layers; layer++) {
		inputs.push(x);
		const w = (name: string) => weights[`model.layers.${layer}.${name}`]!;
		const keys: number[][][] = [];
		const values: number[][][] = [];
		x = x.map((row, position) => {
			const h = rmsNorm(row, w('input_layernorm.weight'), config.epsilon);
			const project = (name: string, norm?: string) =>
				heads(multiply(w(`self_attn.${name}.weight`), h, w(`self_attn.${name}.bias`)), headLength).map((head) =>
					norm && w(`self_attn.${norm}.weight`) ? rmsNorm(head, w(`self_attn.${norm}.weight`), config.epsilon) : head,
				);
			keys.push(project('k_proj', 'k_norm').map((head) => rotate(head, position, config)));
			values.push(project('v_proj'));
			const group = config.heads / config.headsKv;
			const attended = project('q_proj', 'q_norm').flatMap((head, n) => {
				const kv = Math.floor(n / group);
				return attend(
					rotate(head, position, config),
					keys.map((all) => all[kv]!),
					values.map((all) => all[kv]!),
				);
			});
			const after = add(row, multiply(w('self_attn.o_proj.weight'), attended));
			const normed = rmsNorm(after, w('post_attention_layernorm.weight'), config.epsilon);
			const network = (at: string) =>
				feedForward(normed, w(`${at}.gate_proj.weight`), w(`${at}.up_proj.weight`), w(`${at}.down_proj.weight`));
			if (!w('mlp.gate.weight')) return add(after, network('mlp'));
			return chosenExperts(multiply(w('mlp.gate.weight'), normed), config.expertsUsed!).reduce(
				(sum, { expert, weight }) =>
					add(
						sum,
						network(`mlp.experts.${expert}`).map((value) => weight * value),
					),
				after,
			);
		});
	}
	const head = weights['lm_head.weight'] ?? weights['model.embed_tokens.weight']!;
	const logits = x.map((row) => multiply(head, rmsNorm(row, weights['model.norm.weight']!, config.epsilon)));
	return { logits, inputs };
}
