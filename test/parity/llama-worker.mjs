// Runs llama.cpp in a process of its own. Its memory, its threads and the way it exits thus stay out of the tests.
// usage: node llama-worker.mjs MODEL JOBS OUT THREADS   JOBS: JSON [{ tokens, positions }]; OUT: their logits as
// float32, in order.
import { openSync, readFileSync, writeSync } from 'node:fs';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const [modelPath, jobFile, outFile, threadCount] = process.argv.slice(2);
const threads = Number(threadCount);
const jobs = JSON.parse(readFileSync(jobFile, 'utf8'));
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const longest = Math.max(...jobs.map((job) => job.tokens.length));
const context = await model.createContext({ contextSize: longest + 64, threads, sequences: 1, batchSize: 512 });
const sequence = context.getSequence();
const out = openSync(outFile, 'w');
for (const { tokens, positions } of jobs) {
	const wanted = new Set(positions);
	await sequence.clearHistory();
	const results = await sequence.controlledEvaluate(
		tokens.map((token, i) => (wanted.has(i) ? [token, { generateNext: { logits: true } }] : token)),
	);
	for (const position of positions) {
		const { logits } = results[position].next;
		const row = new Float32Array(logits.size);
		for (const [token, logit] of logits) row[token] = logit;
		writeSync(out, new Uint8Array(row.buffer));
	}
}
process.exit(0);
