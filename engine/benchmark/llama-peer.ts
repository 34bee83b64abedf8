// A process of its own that measures llama.cpp (node-llama-cpp, where it is installed) with our benchmark's tests. One round:
// load to the first token, a warm-up, then each test once.
// usage: node llama-peer.js JSON   JSON: a PeerJob; none: only says whether llama.cpp is there. stdout: a PeerAnswer as JSON.
import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import { MemorySampler } from './memory-sampler';
import type { PeerAnswer, PeerJob } from './peer';
import type { BenchmarkTest } from './report';

async function main(): Promise<PeerAnswer> {
	const { getLlama, LlamaLogLevel } = await import('node-llama-cpp');
	const [argument] = process.argv.slice(2);
	const job = argument === undefined ? undefined : (JSON.parse(argument) as PeerJob);
	const llama = await getLlama({
		...{ gpu: false, build: 'never', logLevel: LlamaLogLevel.error },
		...(job && { maxThreads: job.threads }),
	});
	const answer: PeerAnswer = {
		version: llama.llamaCppRelease.release,
		rows: [],
		memory: { peakBytes: 0, averageBytes: 0 },
	};
	if (!job) return answer;

	const { options, threads } = job;
	const memory = new MemorySampler();
	const timed = async (test: string, work: () => Promise<unknown>) => {
		const started = performance.now();
		await work();
		answer.rows.push({ test, milliseconds: performance.now() - started });
	};
	const loadingStarted = performance.now();
	const opened: { model?: Awaited<ReturnType<typeof llama.loadModel>> } = {};
	await timed('load', async () => {
		opened.model = await llama.loadModel({ modelPath: job.model, gpuLayers: 0 });
	});
	const model = opened.model!;
	const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
	const random = () => Math.floor(Math.random() * vocabulary) as Token;

	/** Feeds tokens and samples one token after the last, greedily. */
	const feed = (sequence: LlamaContextSequence, tokens: Token[]) =>
		sequence.controlledEvaluate(
			tokens.map((token, i) =>
				i < tokens.length - 1 ? token : [token, { generateNext: { token: true, options: { temperature: 0 } } }],
			),
		);
	const prefill = async (sequence: LlamaContextSequence, length: number) => {
		await sequence.clearHistory();
		await feed(sequence, Array.from({ length }, random));
	};
	const decode = async (sequence: LlamaContextSequence, length: number) => {
		for (let i = 0; i < length; i++) await feed(sequence, [random()]);
	};

	const asked = (test: BenchmarkTest) => options.tests.includes(test);
	const prompts = asked('pp') ? options.prompt.filter((prompt) => prompt > 0) : [];
	const generate = asked('tg') ? options.generate : 0;
	const batches = asked('batch') ? options.batch.filter((streams) => streams > 0) : [];

	const contextSize = Math.max(...prompts, generate, 1) + 8;
	const context = await model.createContext({ contextSize, threads, sequences: 1, batchSize: 512 });
	const sequence = context.getSequence();
	await prefill(sequence, 1);
	answer.rows.push({ test: 'load+forward', milliseconds: performance.now() - loadingStarted });
	if (asked('forward')) await timed('forward', () => prefill(sequence, 1));
	if (prompts.length > 0) await prefill(sequence, Math.min(prompts[0]!, 512));
	for (const prompt of prompts) await timed(`pp${prompt}`, () => prefill(sequence, prompt));
	if (generate > 0) {
		await sequence.clearHistory();
		// Once unmeasured, as ours does.
		await decode(sequence, generate);
		await sequence.clearHistory();
		await timed(`tg${generate}`, () => decode(sequence, generate));
	}
	await context.dispose();
	for (const streams of batches) {
		const wide = await model.createContext({
			...{ contextSize: options.length + 8, threads, sequences: streams },
			batchSize: Math.max(32, streams),
		});
		const sequences = Array.from({ length: streams }, () => wide.getSequence());
		await timed(`b${streams}x${options.length}`, () =>
			Promise.all(sequences.map((stream) => decode(stream, options.length))),
		);
		await wide.dispose();
	}
	memory.stop();
	answer.memory = {
		peakBytes: Math.max(memory.peakBytes, process.resourceUsage().maxRSS * 1024),
		averageBytes: memory.averageBytes,
	};
	return answer;
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
