// Measures speculation with a real model on real text, by kind of text: how many drafted tokens are right, how many
// tokens a step gives, and how much faster that is than without drafts. Runs with and without drafts take turns.
// usage: npm run bench:speculation [-- MODEL.gguf [further options of `hearth generate`]]
//   MODEL.gguf   default: SmolLM2-135M-Instruct
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { realModel } from './real-model.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const [given, ...more] = process.argv.slice(2);
const model = given ?? (await realModel());
if (!model) process.exit(1);

const read = (file) => readFileSync(path.join(root, file), 'utf8');
/** The first n lines of a file. */
const upTo = (file, lines) => read(file).split('\n').slice(0, lines).join('\n');
const edit = (file, wish) => `${wish} Write the whole file.\n\n\`\`\`\n${read(file)}\n\`\`\``;

const kinds = {
	completion: [
		['--prompt', upTo('engine/runtime/scheduler.ts', 120)],
		['--prompt', upTo('scripts/sample/inventory.ts', 22)],
		['--prompt', upTo('scripts/sample/statistics.py', 12)],
		['--prompt', upTo('engine/completion/window.ts', 48)],
	].map((args) => [...args, '--max-tokens', '64']),
	edit: [
		edit('scripts/sample/inventory.ts', 'Rename totalValue to stockValue.'),
		edit('scripts/sample/statistics.py', 'Add a docstring to each function.'),
		edit('scripts/sample/queue.cpp', 'Rename the class to WorkQueue.'),
	].map((prompt) => ['--chat', '--temperature', '0', '--prompt', prompt, '--max-tokens', '200']),
	chat: [
		'How does a hash table work?',
		'Write a short poem about the sea.',
		'Explain in Python how to read a file line by line.',
	].map((prompt) => ['--chat', '--temperature', '0', '--prompt', prompt, '--max-tokens', '128']),
};

function generate(args) {
	const command = [path.join(root, 'bin', 'hearth.js'), 'generate', model, '--json', ...args, ...more];
	const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', maxBuffer: 2 ** 28 });
	if (status !== 0) throw new Error(stderr);
	return JSON.parse(stdout);
}

console.log('| text | tokens | guessed | right | tokens a step | speed-up |\n|---|---:|---:|---:|---:|---:|');
for (const [kind, runs] of Object.entries(kinds)) {
	const sums = { tokens: 0, proposed: 0, accepted: 0, on: 0, off: 0 };
	for (const args of runs) {
		const [off, on] = [generate([...args, '--no-speculation']), generate(args)];
		if (off.tokens.join() !== on.tokens.join()) throw new Error(`${kind}: speculation changed a token`);
		const time = ({ timings, tokens }) => (tokens.length > 1 ? (tokens.length - 1) / timings.decodeTokensPerSecond : 0);
		sums.tokens += on.tokens.length;
		sums.proposed += on.drafts.proposed;
		sums.accepted += on.drafts.accepted;
		sums.on += time(on);
		sums.off += time(off);
	}
	const { tokens, proposed, accepted, on, off } = sums;
	const right = proposed === 0 ? '–' : `${Math.round((100 * accepted) / proposed)} %`;
	const cells = [kind, tokens, proposed, right, (tokens / (tokens - accepted)).toFixed(2), `${(off / on).toFixed(2)}×`];
	console.log(`| ${cells.join(' | ')} |`);
}
