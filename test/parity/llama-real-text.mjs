// Runs llama.cpp over real text in a process of its own.
// usage: node llama-real-text.mjs MODEL JOBS OUT   both files are JSON
// JOBS: { chunks: [[ids]], prompts: [[ids]], length }; OUT: { losses: [sum of −ln p by chunk], continuations: [[ids]]
// }.
import { readFileSync, writeFileSync } from 'node:fs';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const [modelPath, jobFile, outFile] = process.argv.slice(2);
const { chunks, prompts, length } = JSON.parse(readFileSync(jobFile, 'utf8'));
// llama.cpp gets one thread. On a busy machine its threads wait for each other longer than they compute.
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const contextSize = Math.max(...chunks.map((ids) => ids.length), ...prompts.map((ids) => ids.length + length)) + 64;
const context = await model.createContext({ contextSize, threads: 1, sequences: 1, batchSize: 512 });
const sequence = context.getSequence();

const losses = [];
for (const ids of chunks) {
	await sequence.clearHistory();
	const results = await sequence.controlledEvaluate(
		ids.map((id, i) =>
			i === ids.length - 1
				? id
				: [
						id,
						{
							generateNext: {
								logits: { filter: { tokens: [ids[i + 1]], includeTop: 1 } },
								totalLogitWeight: true,
							},
						},
					],
		),
	);
	let loss = 0;
	for (let i = 0; i < ids.length - 1; i++) {
		const { logits, totalLogitWeight } = results[i].next;
		loss += Math.log(totalLogitWeight) + Math.max(...logits.values()) - logits.get(ids[i + 1]);
	}
	losses.push(loss);
}

const continuations = [];
for (const ids of prompts) {
	await sequence.clearHistory();
	const tokens = [];
	for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
		tokens.push(token);
		if (tokens.length === length) break;
	}
	continuations.push(tokens);
}
writeFileSync(outFile, JSON.stringify({ losses, continuations }));
process.exit(0);
