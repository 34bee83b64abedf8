// A process of its own that measures llama.cpp (node-llama-cpp, where it is installed) with our benchmark's tests. It
// runs one round: load to the first token, a warm-up, then each test once.
// usage: node llama-peer.js JSON
// JSON is a PeerJob; without it, the process only says whether llama.cpp is there. stdout: a PeerAnswer as JSON.
import type { Llama, LlamaContextSequence, Token } from 'node-llama-cpp';
import { MemorySampler } from './memory-sampler';
import type { PeerAnswer, PeerJob } from './peer';
import type { BenchmarkTest } from './report';

type Model = Awaited<ReturnType<Llama['loadModel']>>;

async function main(): Promise<PeerAnswer> {
	const { getLlama, LlamaLogLevel } = await import('node-llama-cpp');
	const [argument] = process.argv.slice(2);
	const job = argument === undefined ? undefined : (JSON.parse(argument) as PeerJob);
	const llama = await getLlama({
		...{ gpu: false, build: 'never', logLevel: LlamaLogLevel.error },
		...(job && { maxThreads: job.threads }),
	});
	const version = llama.llamaCppRelease.release;
	if (!job) return { version, rows: [], memory: { peakBytes: 0, averageBytes: 0 } };
	const memory = new MemorySampler();
	const rows = await measure(llama, job);
	memory.stop();
	const peakBytes = Math.max(memory.peakBytes, process.resourceUsage().maxRSS * 1024);
	return { version, rows, memory: { peakBytes, averageBytes: memory.averageBytes } };
}

/** Loads the model and runs each test once, in our benchmark's order. */
async function measure(llama: Llama, job: PeerJob): Promise<PeerAnswer['rows']> {
	const watch = new Stopwatch();
	const model = await watch.timed('load', () => llama.loadModel({ modelPath: job.model, gpuLayers: 0 }));
	const feeder = new Feeder(model);
	await measureOneStream(model, job, feeder, watch);
	await measureBatches(model, job, feeder, watch);
	return watch.rows;
}

async function measureOneStream(
	model: Model,
	{ options, threads }: PeerJob,
	feeder: Feeder,
	watch: Stopwatch,
): Promise<void> {
	const asked = (test: BenchmarkTest) => options.tests.includes(test);
	const prompts = asked('pp') ? options.prompt.filter((prompt) => prompt > 0) : [];
	const generate = asked('tg') ? options.generate : 0;
	const contextSize = Math.max(...prompts, generate, 1) + 8;
	const context = await model.createContext({ contextSize, threads, sequences: 1, batchSize: 512 });
	const sequence = context.getSequence();
	await feeder.prefill(sequence, 1);
	watch.add('load+forward', watch.started);
	if (asked('forward')) await watch.timed('forward', () => feeder.prefill(sequence, 1));
	if (prompts.length > 0) await feeder.prefill(sequence, Math.min(prompts[0]!, 512));
	for (const prompt of prompts) await watch.timed(`pp${prompt}`, () => feeder.prefill(sequence, prompt));
	if (generate > 0) {
		await sequence.clearHistory();
		// Our benchmark decodes once without measuring, too.
		await feeder.decode(sequence, generate);
		await sequence.clearHistory();
		await watch.timed(`tg${generate}`, () => feeder.decode(sequence, generate));
	}
	await context.dispose();
}

async function measureBatches(
	model: Model,
	{ options, threads }: PeerJob,
	feeder: Feeder,
	watch: Stopwatch,
): Promise<void> {
	if (!options.tests.includes('batch')) return;
	for (const streams of options.batch.filter((count) => count > 0)) {
		const context = await model.createContext({
			...{ contextSize: options.length + 8, threads, sequences: streams },
			batchSize: Math.max(32, streams),
		});
		const sequences = Array.from({ length: streams }, () => context.getSequence());
		await watch.timed(`b${streams}x${options.length}`, () =>
			Promise.all(sequences.map((sequence) => feeder.decode(sequence, options.length))),
		);
		await context.dispose();
	}
}

/** Keeps how long each test took. */
class Stopwatch {
	readonly rows: PeerAnswer['rows'] = [];
	readonly started = performance.now();

	async timed<T>(test: string, work: () => Promise<T>): Promise<T> {
		const started = performance.now();
		const result = await work();
		this.add(test, started);
		return result;
	}

	add(test: string, started: number): void {
		this.rows.push({ test, milliseconds: performance.now() - started });
	}
}

/** Feeds random tokens to sequences of a model. */
class Feeder {
	readonly #vocabulary: number;

	constructor(model: Model) {
		this.#vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
	}

	async prefill(sequence: LlamaContextSequence, length: number): Promise<void> {
		await sequence.clearHistory();
		await this.#feed(
			sequence,
			Array.from({ length }, () => this.#random()),
		);
	}

	async decode(sequence: LlamaContextSequence, length: number): Promise<void> {
		for (let i = 0; i < length; i++) await this.#feed(sequence, [this.#random()]);
	}

	/** Feeds tokens and samples the token after the last one, greedily. */
	#feed(sequence: LlamaContextSequence, tokens: Token[]): Promise<unknown> {
		return sequence.controlledEvaluate(
			tokens.map((token, i) =>
				i < tokens.length - 1 ? token : [token, { generateNext: { token: true, options: { temperature: 0 } } }],
			),
		);
	}

	#random(): Token {
		return Math.floor(Math.random() * this.#vocabulary) as Token;
	}
}

void main().then(
	(answer) => process.stdout.write(JSON.stringify(answer), () => process.exit(0)),
	(error: unknown) => {
		const { code, message } = error as NodeJS.ErrnoException;
		const missing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
		const text = missing
			? 'llama.cpp is not installed here; run "npm install --no-save node-llama-cpp" in the folder of Hearth'
			: `llama.cpp: ${message}`;
		process.stderr.write(text, () => process.exit(1));
	},
);
