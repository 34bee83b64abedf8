// What each test of the benchmark feeds to the engine, and the least that a token of it costs.
import type { OpenedModel } from '../loading/open-model';
import type { Engine } from '../runtime/engine';
import type { GenerateOptions, GenerateResult } from '../runtime/request';
import type { DraftRequest, DraftSource } from '../speculation/draft-source';
import { decodeWork, type ModelCost, prefillWork, stepWeightBytes, type Work } from './cost';
import { type BenchmarkOptions, VERIFY_ROWS, VERIFY_STEPS, WARM_SUFFIX } from './options';
import { EDIT_RECORDING } from './recording';
import type { BenchmarkTest } from './report';

export interface Sample {
	milliseconds: number;
	drafts?: { proposed: number; accepted: number };
}

export interface Test {
	name: string;
	tokens: number;
	/** The least that a token costs, where that is known beforehand. */
	work?: Work;
	/** Runs once before the first sample and is not timed. */
	prepare?: () => Promise<unknown>;
	sample: () => Promise<Sample>;
}

/** The parts of an opened model that the tests use. */
type TestedModel = Pick<OpenedModel, 'engine' | 'tokenizer' | 'weights'>;

/** The tests that were asked for, in the order in which they run. */
export function planTests(model: TestedModel, options: BenchmarkOptions, signal: AbortSignal): Test[] {
	const { engine } = model;
	const { generate, length } = options;
	const asked = (test: BenchmarkTest) => options.tests.includes(test);
	const cost: ModelCost = {
		info: engine.info,
		weights: model.weights,
		cacheBytesPerToken: engine.cacheBytes / engine.cacheUse.capacityTokens,
	};
	const tests: Test[] = [];
	if (asked('forward')) {
		const work = decodeWork(cost, 1, 1);
		tests.push({ name: 'forward', tokens: 1, work, sample: () => prefill(engine, 1, signal) });
	}
	if (asked('pp')) {
		options.prompt.forEach((prompt, index) => {
			// llama-bench warms up, too. Reading weights from the disk in a prompt's first pass belongs to the load.
			const warmUp = () => prefill(engine, Math.min(prompt, 512), signal);
			tests.push({
				...{ name: `pp${prompt}`, tokens: prompt, work: prefillWork(cost, prompt) },
				...(index === 0 && { prepare: warmUp }),
				sample: () => prefill(engine, prompt, signal),
			});
		});
	}
	if (asked('tg')) {
		const sample = () => decode(engine, 1, generate, signal);
		// After the weights were repacked, the first use of each expert costs half as much again, because the system maps
		// its new pages then.
		tests.push({
			name: `tg${generate}`,
			tokens: generate,
			work: decodeWork(cost, 1, generate),
			prepare: sample,
			sample,
		});
	}
	if (asked('batch')) {
		for (const streams of options.batch) {
			tests.push({
				...{ name: `b${streams}x${length}`, tokens: streams * length, work: decodeWork(cost, streams, length) },
				sample: () => decode(engine, streams, length, signal),
			});
		}
	}
	if (asked('depth')) for (const depth of options.depth) tests.push(depthTest(engine, cost, depth, generate, signal));
	if (asked('verify')) tests.push(...verifyTests(engine, cost, signal));
	if (asked('edit')) tests.push(...editTests(model, cost, signal));
	if (asked('first-token') && (options.prompt[0] ?? 0) > WARM_SUFFIX) {
		tests.push(...firstTokenTests(engine, cost, options.prompt[0]!, signal));
	}
	return tests.filter(({ tokens }) => tokens > 0);
}

/** Decoding behind `depth` tokens of context. The context is computed once, and every sample finds it in the cache. */
function depthTest(engine: Engine, cost: ModelCost, depth: number, generate: number, signal: AbortSignal): Test {
	const context = randomTokens(engine, depth + 1);
	return {
		...{ name: `tg${generate}@d${depth}`, tokens: generate, work: decodeWork(cost, 1, generate, depth) },
		prepare: () => generateOrAbort(engine, { tokens: context, maxTokens: 1, forced: randomTokens(engine, 1), signal }),
		sample: () => feed(engine, { tokens: context, forced: randomTokens(engine, generate), signal }),
	};
}

/** Steps of one row, and steps of as many rows as drafts that are always right give. */
function verifyTests(engine: Engine, cost: ModelCost, signal: AbortSignal): Test[] {
	const rows = VERIFY_ROWS;
	const tokens = rows * VERIFY_STEPS;
	const step = stepWeightBytes(cost, rows) / rows;
	const { bytesPerToken, multiplyAddsPerToken } = decodeWork(cost, 1, VERIFY_STEPS);
	const attention = bytesPerToken - stepWeightBytes(cost, 1);
	return [
		{
			...{ name: 'step1', tokens: VERIFY_STEPS, work: { bytesPerToken, multiplyAddsPerToken } },
			sample: () => decode(engine, 1, VERIFY_STEPS, signal),
		},
		{
			...{ name: `verify${rows}`, tokens, work: { bytesPerToken: step + attention / rows, multiplyAddsPerToken } },
			sample: () => {
				const prompt = randomTokens(engine, 1);
				const forced = randomTokens(engine, tokens);
				const drafts = { source: new Foresight([...prompt, ...forced]), length: rows - 1 };
				return feed(engine, { tokens: prompt, forced, drafts, speculation: true, signal });
			},
		},
	];
}

/** A source of drafts that knows which tokens come. */
class Foresight implements DraftSource {
	readonly #all: readonly number[];

	constructor(all: readonly number[]) {
		this.#all = all;
	}

	propose(requests: readonly DraftRequest[]): number[][] {
		return requests.map(({ sequence, limit }) =>
			this.#all.slice(sequence.tokens.length, sequence.tokens.length + limit),
		);
	}
}

/**
 * A replay of the recorded edit, plain and with the drafts that the engine makes by itself. The recorded tokens replace
 * those that the model would write. The model computes, and drafts are verified, as in real use.
 */
function editTests({ engine, tokenizer }: TestedModel, cost: ModelCost, signal: AbortSignal): Test[] {
	const prompt = [...tokenizer.encode(EDIT_RECORDING.prompt)];
	const forced = [...tokenizer.encode(EDIT_RECORDING.answer)];
	const prepare = () => generateOrAbort(engine, { tokens: prompt, maxTokens: 0, signal });
	const common = { tokens: forced.length, prepare };
	const replay = (speculation: boolean) => () => feed(engine, { tokens: prompt, forced, speculation, signal });
	return [
		{
			...{ ...common, name: 'edit-plain', work: decodeWork(cost, 1, forced.length, prompt.length) },
			sample: replay(false),
		},
		{ ...common, name: 'edit', sample: replay(true) },
	];
}

/** The time to the first token behind a new prompt, and behind a prompt of which all but the end is cached. */
function firstTokenTests(engine: Engine, cost: ModelCost, length: number, signal: AbortSignal): Test[] {
	const prefix = randomTokens(engine, length - WARM_SUFFIX);
	const work = prefillWork(cost, length);
	return [
		{ name: 'first-token-cold', tokens: length, work, sample: () => prefill(engine, length, signal) },
		{
			name: 'first-token-warm',
			tokens: WARM_SUFFIX,
			prepare: () => generateOrAbort(engine, { tokens: prefix, maxTokens: 0, signal }),
			sample: () =>
				feed(engine, {
					...{ tokens: [...prefix, ...randomTokens(engine, WARM_SUFFIX)], forced: randomTokens(engine, 1), signal },
				}),
		},
	];
}

/** Prefills `length` random tokens and forces the next one. */
export function prefill(engine: Engine, length: number, signal: AbortSignal): Promise<Sample> {
	return feed(engine, { tokens: randomTokens(engine, length), forced: randomTokens(engine, 1), signal });
}

/** Decodes `streams` sequences at once, `length` steps each, from a prompt of one token. */
async function decode(engine: Engine, streams: number, length: number, signal: AbortSignal): Promise<Sample> {
	const started = performance.now();
	await Promise.all(
		Array.from({ length: streams }, () =>
			feed(engine, { tokens: randomTokens(engine, 1), forced: randomTokens(engine, length), signal }),
		),
	);
	return { milliseconds: performance.now() - started };
}

/** Runs a request whose continuation is given. */
async function feed(
	engine: Engine,
	options: Omit<GenerateOptions, 'priority' | 'maxTokens'> & { forced: number[]; signal: AbortSignal },
): Promise<Sample> {
	const result = await generateOrAbort(engine, { speculation: false, ...options, maxTokens: options.forced.length });
	return { milliseconds: result.timings.milliseconds, drafts: result.drafts };
}

async function generateOrAbort(
	engine: Engine,
	options: Omit<GenerateOptions, 'priority'> & { signal: AbortSignal },
): Promise<GenerateResult> {
	const result = await engine.generate({ ...options, priority: 'benchmark' });
	options.signal.throwIfAborted();
	return result;
}

function randomTokens(engine: Engine, count: number): number[] {
	return Array.from({ length: count }, () => Math.floor(Math.random() * engine.info.vocabularySize));
}
