// Continues texts greedily by llama.cpp in a process of its own.
// usage: node llama-generate.mjs JOBS   JOBS: JSON [{ model, text or tokens, count }]
// It prints JSON [{ prompt, generated, name }]. `prompt` has the prompt's ids (of a text: as llama.cpp tokenizes it),
// and `generated` the ids that follow, with an end-of-generation token if there is one.
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 2, logLevel: LlamaLogLevel.error });
const results = [];
for (const { model: modelPath, text, tokens, count } of JSON.parse(process.argv[2])) {
	const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
	const prompt = tokens ?? model.tokenize(text, false);
	const context = await model.createContext({ contextSize: 2048, threads: 2, sequences: 1, batchSize: 512 });
	const generated = [];
	for await (const token of context.getSequence().evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
		generated.push(token);
		if (generated.length >= count || model.isEogToken(token)) break;
	}
	results.push({ prompt, generated, name: model.fileInfo.metadata.general.name });
	await context.dispose();
	await model.dispose();
}
process.stdout.write(JSON.stringify(results), () => process.exit(0));
