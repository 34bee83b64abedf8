// Runs llama.cpp's tokenizer in a process of its own. Special tokens in the texts count as text.
// usage: node llama-tokenizer.mjs MODEL TEXTS OUT   both files are JSON: the texts, and their ids
import { readFileSync, writeFileSync } from 'node:fs';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const [modelPath, textFile, outFile] = process.argv.slice(2);
const texts = JSON.parse(readFileSync(textFile, 'utf8'));
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath, vocabOnly: true });
writeFileSync(outFile, JSON.stringify(texts.map((text) => [...model.tokenize(text, false)])));
process.exit(0);
