// Measures completions without weights: a stand-in model that knows the file writes what is missing at many positions of foreign code,
// and what the pipeline makes of it is judged.
// usage: npm run bench:completions [-- --help]
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundled } from './bundled.mjs';
import { codeCorpus } from './code-corpus.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { benchCompletions } = await bundled('bench/completions/command.ts');
try {
	const sources = async () => [...(await codeCorpus()), { name: 'this repository', folder: root }];
	await benchCompletions(process.argv.slice(2), sources, console.log);
} catch (error) {
	console.error(`bench:completions: ${error.message}`);
	process.exitCode = 1;
}
