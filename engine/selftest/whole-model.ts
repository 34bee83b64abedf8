// Whole models in the self-test. A device's logits are compared with the reference's. They must also stay the same, bit
// for bit, when the same tokens are cut into other steps.
import path from 'node:path';
import type { Device, DeviceId, Native, NativeCache, NativeModel } from '../../native/index';
import { displayName } from '../models/display-name';
import { messageOf } from '../quote';
import type { WholeModelCheck } from './report';

/** Tokens of a run. They reach beyond the sliding window, so that a fault in the window shows. */
const TOKENS = 150;
/**
 * Mean divergence from the F32 reference at most, in nats. The CPU's int8 activations stay below 0.05 on such models
 * (docs/performance-log.md).
 */
const SMALL_MODEL_LIMIT = { cpu: 0.1, gpu: 0.01 };
/** Mean divergence of a GPU from the CPU on a user's model at most, in nats. Most of it is the CPU's own rounding. */
const USER_MODEL_LIMIT = 0.1;
const USER_MODEL_TOKENS = 48;

/** Checks a small model on one device: against the reference kernels, and against itself in other cuts. */
export async function checkModel(
	native: Native,
	file: string,
	name: string,
	{ id: backend, kind }: Device,
	signal: AbortSignal | undefined,
): Promise<WholeModelCheck[]> {
	const reference = await native.openModel(file, { kernels: 'reference', backend: 'cpu' });
	let model: NativeModel | undefined;
	try {
		model = await native.openModel(file, { backend });
		if (model.info.backend !== backend) return [unusable(backend, model.info.backendNote)];
		const vocabulary = model.info.vocabularySize;
		const tokens = Array.from({ length: TOKENS }, (_, i) => (i * 7919 + 13) % vocabulary);
		const wanted = await run(reference, tokens, TOKENS, signal);
		const got = await run(model, tokens, TOKENS, signal);
		const pieces = await run(model, tokens, 1, signal, 40);
		const batch = await run(model, tokens, 11, signal);
		const first = (logits: Float32Array, rows: number) => logits.subarray(0, rows * vocabulary);
		return [
			closeness(backend, name, meanDivergence(wanted, got, vocabulary), SMALL_MODEL_LIMIT[kind]),
			sameness(backend, `${name}, the same in steps of one token`, first(got, 40), first(pieces, 40)),
			sameness(backend, `${name}, the same in steps of 11 tokens`, got, batch),
		];
	} catch (error) {
		signal?.throwIfAborted();
		return [failed(backend, name, error)];
	} finally {
		reference.close();
		model?.close();
	}
}

/** Checks a user's model on a GPU against the CPU. */
export async function checkUserModel(
	native: Native,
	file: string,
	backend: DeviceId,
	signal: AbortSignal | undefined,
): Promise<WholeModelCheck> {
	let model: NativeModel | undefined;
	try {
		model = await native.openModel(file, { backend });
		const { info } = model;
		if (info.backend !== backend) return unusable(backend, info.backendNote);
		const cpu = await native.openModel(file, { backend: 'cpu' });
		try {
			const vocabulary = info.vocabularySize;
			const tokens = Array.from({ length: USER_MODEL_TOKENS }, (_, i) => (i * 7919 + 13) % vocabulary);
			const wanted = await run(cpu, tokens, 16, signal);
			const got = await run(model, tokens, 16, signal);
			const divergence = meanDivergence(wanted, got, vocabulary);
			return closeness(backend, displayName(file, info.name), divergence, USER_MODEL_LIMIT);
		} finally {
			cpu.close();
		}
	} catch (error) {
		signal?.throwIfAborted();
		return failed(backend, path.basename(file), error);
	} finally {
		model?.close();
	}
}

/** The logits of the first `count` positions, computed with `rows` tokens in each step: [count, vocabulary]. */
async function run(
	model: NativeModel,
	tokens: readonly number[],
	rows: number,
	signal: AbortSignal | undefined,
	count = tokens.length,
): Promise<Float32Array> {
	const vocabulary = model.info.vocabularySize;
	const logits = new Float32Array(count * vocabulary);
	let cache: NativeCache | undefined;
	try {
		cache = model.createCache({ blocks: Math.ceil(tokens.length / 32) });
		const blockTable = Int32Array.from({ length: cache.blockCount }, (_, block) => block);
		for (let start = 0; start < count; start += rows) {
			signal?.throwIfAborted();
			const length = Math.min(rows, count - start);
			const result = await model.step(cache, {
				tokens: Int32Array.from(tokens.slice(start, start + length)),
				positions: Int32Array.from({ length }, (_, row) => start + row),
				sequences: new Int32Array(length),
				blockTables: [blockTable],
				outputs: Int32Array.from({ length }, (_, row) => row),
				logits: true,
			});
			logits.set(result.logits!, start * vocabulary);
		}
	} finally {
		cache?.close();
	}
	return logits;
}

/**
 * Mean Kullback–Leibler divergence of `other` from `reference` over all positions, in nats. Infinity where a logit is
 * no number.
 */
function meanDivergence(reference: Float32Array, other: Float32Array, vocabulary: number): number {
	const rows = reference.length / vocabulary;
	let total = 0;
	for (let row = 0; row < rows; row++) {
		const p = logProbabilities(reference.subarray(row * vocabulary, (row + 1) * vocabulary));
		const q = logProbabilities(other.subarray(row * vocabulary, (row + 1) * vocabulary));
		for (let i = 0; i < vocabulary; i++) total += Math.exp(p[i]!) * (p[i]! - q[i]!);
	}
	return Number.isFinite(total) ? Math.max(0, total / rows) : Number.POSITIVE_INFINITY;
}

function logProbabilities(logits: Float32Array): Float64Array {
	const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
	let sum = 0;
	for (const logit of logits) sum += Math.exp(logit - largest);
	const shift = largest + Math.log(sum);
	return Float64Array.from(logits, (logit) => logit - shift);
}

function closeness(backend: DeviceId, what: string, divergence: number, limit: number): WholeModelCheck {
	const ok = divergence <= limit;
	const problem = `its logits diverge by ${divergence.toPrecision(2)} nats on average, more than ${limit}`;
	return { backend, what, divergence, ok, ...(!ok && { problem }) };
}

function sameness(backend: DeviceId, what: string, one: Float32Array, other: Float32Array): WholeModelCheck {
	let different = 0;
	for (let i = 0; i < one.length; i++) if (!Object.is(one[i], other[i])) different++;
	const problem = `${different} of ${one.length} logits are others`;
	return { backend, what, ok: different === 0, ...(different > 0 && { problem }) };
}

/** A failed check. A device that fails is as wrong as one that miscalculates. */
function failed(backend: DeviceId, what: string, error: unknown): WholeModelCheck {
	return { backend, what, ok: false, problem: messageOf(error) };
}

function unusable(backend: DeviceId, note: string | undefined): WholeModelCheck {
	return { backend, what: 'opening a model', ok: false, problem: note ?? 'another backend was used' };
}
