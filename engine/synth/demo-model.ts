// The demo model: a gpt-oss of four megabytes that knows the demo text by heart. Its weights are computed, not trained.
//
// The attention of its one layer copies the preceding tokens. Queries and keys come from their biases alone. The biases
// are turned against each other, so that after RoPE, head h sees the token h + 1 places back and nothing else. Values
// and the attention's output are random projections. So the residual stream holds the last tokens: each has directions
// of its own, and the farther back a token is, the fainter it is. The experts are zero. What remains is linear, from
// the last tokens to the next one: the output matrix is fitted to the demo text.
import type { OutputTarget } from '../files/output-file';
import { type GgufTensor, tensorBytes, type WriteOptions, writeGguf } from '../gguf/writer';
import { Tokenizer } from '../tokenizer/tokenizer';
import { type ModelShape, metadataOf, planTensors, rmsEpsilon, rope, type TensorPlan } from './architecture';
import { demoCorpus } from './demo-text';
import { trainingWindows } from './demo-windows';
import { fromHalf, toHalf } from './floats';
import { fitLinear } from './linear-fit';
import { fillRandom } from './random';
import { trainedVocabulary, vocabularyHeader } from './vocabulary';

export const demoShape: ModelShape = {
	architecture: 'gpt-oss',
	layers: 1,
	embedding: 512,
	heads: 16,
	headsKv: 4,
	headLength: 64,
	experts: 4,
	expertsUsed: 1,
	feedForward: 32,
	slidingWindow: 128,
	contextLength: 131_072,
	ropeScaling: 'yarn',
	tied: false,
	attentionType: 'F16',
	feedForwardType: 'MXFP4',
};

/** The most merges of the demo model's vocabulary. About 500 pairs occur twice in the demo text. */
const MERGES = 1000;
/** How strong each token is in the residual stream, relative to the token after it. */
const FADE = 0.8;
/**
 * Length of each pair of a query or key that RoPE turns. A token that is one place off loses 0.9·SHARPNESS²·1.81/8 =
 * 14.7 in the exponent.
 */
const SHARPNESS = 8.5;
/**
 * The factor that turns fitted scores into logits. The right token leads by 1 in the scores; in the logits its lead is
 * enough at temperature 1.
 */
const LOGIT_SCALE = 16;

/** Writes the demo model to `file`, which takes some seconds. @throws as `writeGguf` does. */
export async function writeDemoModel(
	file: string | OutputTarget,
	name: string,
	seed: number,
	options: WriteOptions,
): Promise<{ fileBytes: number; plans: TensorPlan[]; vocabularySize: number }> {
	const vocabulary = trainedVocabulary(demoCorpus, MERGES);
	const tokenizer = Tokenizer.fromGguf(vocabularyHeader(vocabulary));
	const vocabularySize = tokenizer.vocabulary.size;
	const plans = planTensors(demoShape, vocabularySize);
	const values = await fitWeights(tokenizer, seed, options.signal);
	const tensors = plans.map((plan) => ({ ...plan, chunks: () => [encodeTensor(plan, values.get(plan.name))] }));
	const fileBytes = await writeGguf(file, metadataOf(demoShape, vocabulary, name), tensors, options);
	return { fileBytes, plans, vocabularySize };
}

/** The values of tensors by name, exact in F16. A tensor without values is zero. */
async function fitWeights(
	tokenizer: Tokenizer,
	seed: number,
	signal: AbortSignal | undefined,
): Promise<Map<string, Float32Array>> {
	const { embedding, heads, headsKv, headLength } = demoShape;
	const vocabularySize = tokenizer.vocabulary.size;
	const sign = randomSigns(seed);
	const signs = (count: number, scale: number) => {
		const exact = fromHalf(toHalf(scale));
		return Float32Array.from({ length: count }, () => sign() * exact);
	};
	const tokens = signs(vocabularySize * embedding, 1);
	const value = signs(headsKv * headLength * embedding, 1 / Math.sqrt(embedding));
	// [embedding][heads · headLength]. The columns of each head are fainter than those of the head before.
	const output = new Float32Array(embedding * heads * headLength);
	for (let head = 0; head < heads; head++) {
		const columns = signs(embedding * headLength, FADE ** head / Math.sqrt(headLength));
		for (let row = 0; row < embedding; row++) {
			const source = columns.subarray(row * headLength, (row + 1) * headLength);
			output.set(source, (row * heads + head) * headLength);
		}
	}

	const windows = trainingWindows(tokenizer, heads + 1, seed);
	const contributions = headContributions(tokens, value, output, vocabularySize);
	const features = new Float32Array(windows.length * embedding);
	for (const [n, window] of windows.entries()) {
		const x = features.subarray(n * embedding, (n + 1) * embedding);
		const last = window.tokens[0]! * embedding;
		x.set(tokens.subarray(last, last + embedding));
		for (let head = 0; head < heads; head++) {
			const from = (head * vocabularySize + window.tokens[head + 1]!) * embedding;
			for (let i = 0; i < embedding; i++) x[i]! += contributions[from + i]!;
		}
		normalize(x);
	}
	const classes = Int32Array.from(windows, (window) => window.next);
	const weights = await fitLinear({ features, width: embedding, classes, classCount: vocabularySize }, signal);
	const ones = new Float32Array(embedding).fill(1);
	const { query, key } = positionBiases();
	return new Map([
		['token_embd.weight', tokens],
		['output.weight', weights.map((weight) => LOGIT_SCALE * weight)],
		['output_norm.weight', ones],
		['blk.0.attn_norm.weight', ones],
		['blk.0.post_attention_norm.weight', ones],
		['blk.0.attn_q.bias', query],
		['blk.0.attn_k.bias', key],
		['blk.0.attn_v.weight', value],
		['blk.0.attn_output.weight', output],
		// Nothing of the attention shall go to the sink.
		['blk.0.attn_sinks.weight', new Float32Array(heads).fill(-1000)],
	]);
}

/** Computes [heads][vocabulary][embedding]: what head h adds to the residual stream when it sees a token. */
function headContributions(
	tokens: Float32Array,
	value: Float32Array,
	output: Float32Array,
	vocabularySize: number,
): Float32Array {
	const { embedding, heads, headsKv, headLength } = demoShape;
	const result = new Float32Array(heads * vocabularySize * embedding);
	const h = new Float32Array(embedding);
	const v = new Float32Array(headsKv * headLength);
	for (let token = 0; token < vocabularySize; token++) {
		h.set(tokens.subarray(token * embedding, (token + 1) * embedding));
		normalize(h);
		for (let row = 0; row < v.length; row++) {
			let sum = 0;
			for (let i = 0; i < embedding; i++) sum += value[row * embedding + i]! * h[i]!;
			v[row] = sum;
		}
		for (let head = 0; head < heads; head++) {
			const seen = Math.floor(head / (heads / headsKv)) * headLength;
			const at = (head * vocabularySize + token) * embedding;
			for (let row = 0; row < embedding; row++) {
				const from = (row * heads + head) * headLength;
				let sum = 0;
				for (let i = 0; i < headLength; i++) sum += output[from + i]! * v[seen + i]!;
				result[at + row] = sum;
			}
		}
	}
	return result;
}

/**
 * Biases of queries and keys for which q·k depends on the distance alone, and is largest h + 1 places back for head h.
 * Keys point along the first axis of each rotated pair. Queries are turned back by h + 1 places.
 */
function positionBiases(): { query: Float32Array; key: Float32Array } {
	const { heads, headsKv, headLength } = demoShape;
	const half = headLength / 2;
	const query = new Float32Array(heads * headLength);
	const key = new Float32Array(headsKv * headLength);
	for (let pair = 0; pair < half; pair++) {
		const frequency = yarnFrequency(pair, headLength);
		for (let head = 0; head < headsKv; head++) key[head * headLength + pair] = SHARPNESS;
		for (let head = 0; head < heads; head++) {
			const angle = -(head + 1) * frequency;
			query[head * headLength + pair] = SHARPNESS * Math.cos(angle);
			query[head * headLength + pair + half] = SHARPNESS * Math.sin(angle);
		}
	}
	return { query, key };
}

/**
 * The angle by which YaRN turns a RoPE pair for each place (Peng et al. 2023, as in openai/gpt-oss
 * `gpt_oss/torch/model.py`).
 */
function yarnFrequency(pair: number, headLength: number): number {
	const { frequencyBase, scalingFactor, originalContextLength } = rope;
	const [betaSlow, betaFast] = [1, 32];
	const pairOf = (rotations: number) =>
		((headLength / 2) * Math.log(originalContextLength / (rotations * 2 * Math.PI))) / Math.log(frequencyBase);
	const [low, high] = [pairOf(betaFast), pairOf(betaSlow)];
	const interpolated = Math.min(1, Math.max(0, (pair - low) / (high - low)));
	const frequency = frequencyBase ** ((-2 * pair) / headLength);
	return frequency * (1 - interpolated + interpolated / scalingFactor);
}

/** RMSNorm without weights, in place. */
function normalize(x: Float32Array): void {
	let sum = 0;
	for (const value of x) sum += value * value;
	const scale = 1 / Math.sqrt(sum / x.length + rmsEpsilon);
	for (let i = 0; i < x.length; i++) x[i]! *= scale;
}

function encodeTensor(plan: Pick<GgufTensor, 'name' | 'type' | 'shape'>, values: Float32Array | undefined): Uint8Array {
	// All bytes 0 are the number 0 in every type. In MXFP4 a nibble of 0 is 0 whatever the exponent.
	if (!values) return new Uint8Array(tensorBytes(plan));
	if (plan.type === 'F16') return new Uint8Array(Uint16Array.from(values, toHalf).buffer);
	return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Makes a function that returns +1 or −1 at random. */
function randomSigns(seed: number): () => number {
	const words = new Uint32Array(1 << 14);
	let at = 32 * words.length;
	let refills = 0;
	return () => {
		if (at === 32 * words.length) {
			fillRandom(words, seed, `demo signs ${refills++}`);
			at = 0;
		}
		const bit = (words[at >>> 5]! >>> (at & 31)) & 1;
		at++;
		return bit === 1 ? 1 : -1;
	};
}
