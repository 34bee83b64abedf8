// Compares a tree of drafts with a chain. Both look up drafts in the text itself, as prompt lookup does. The tree also
// drafts what the best match with a different next token says. Each kind of match gets the draft length that is best in
// hindsight, so that no policy favours either. The texts are real; a model that knows them is assumed to write them.
// The prices of steps come from a table.
// usage: node scripts/measure-draft-tree.mjs
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { encode } from 'gpt-tokenizer/encoding/o200k_base';
import { bundled } from './bundled.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const read = (file) => readFileSync(path.join(root, file), 'utf8');

const LEAST_MATCH = 3; // as engine/speculation/prompt-lookup.ts
const LONGEST_MATCH = 32;
const KINDS = [3, 4, 6, 10, 16, 32];
const LENGTHS = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const BRANCHES = [0, 1, 2, 4, 8];

/** Price of a step of n rows divided by the price of a step of one row. */
const PRICES = {
	'gpt-oss-20b, bytes alone': (rows) => 0.51 + 0.49 * 8 * (1 - 0.875 ** rows),
	'SmolLM2 on two AVX2 cores': (rows) => 1 + 0.16 * (rows - 1), // 94 tok/s alone, 580 in a prompt
	'rows free up to 33': () => 1,
};

const { EDIT_RECORDING } = await bundled('engine/benchmark/recording.ts');
const halves = (file) => {
	const text = read(file);
	const middle = text.indexOf('\n', text.length / 2) + 1;
	return [text.slice(0, middle), text.slice(middle)];
};
const renamed = (file, old, name) => [`${read(file)}\nRename ${old}.\n`, read(file).replaceAll(old, name)];
const TEXTS = {
	edit: [
		[EDIT_RECORDING.prompt, EDIT_RECORDING.answer],
		renamed('scripts/sample/inventory.ts', 'totalValue', 'stockValue'),
		renamed('engine/runtime/scheduler.ts', 'Scheduler', 'StepPlanner'),
	],
	code: ['engine/runtime/scheduler.ts', 'engine/completion/window.ts', 'native/core/sampler.cpp'].map(halves),
	prose: ['README.md', 'docs/architecture.md', 'docs/language-server.md'].map(halves),
};

/**
 * For each position of the answer: how many tokens of the best match's draft are right, and how many of the best other
 * draft.
 */
function guesses([prompt, answer]) {
	const before = encode(prompt);
	const tokens = [...before, ...encode(answer)];
	const right = (from, at) => {
		let n = 0;
		while (n < LENGTHS.at(-1) && at + n < tokens.length && tokens[from + n] === tokens[at + n]) n++;
		return n;
	};
	const places = [];
	for (let at = before.length; at < tokens.length; at++) {
		const matches = [];
		for (let end = at - 1; end >= LEAST_MATCH; end--) {
			let length = 0;
			while (length < LONGEST_MATCH && length < end && tokens[end - 1 - length] === tokens[at - 1 - length]) length++;
			if (length >= LEAST_MATCH) matches.push({ end, length });
		}
		matches.sort((a, b) => b.length - a.length || b.end - a.end);
		const [best] = matches;
		const other = best && matches.find(({ end }) => tokens[end] !== tokens[best.end]);
		places.push({
			kind: best ? KINDS.findLastIndex((least) => best.length >= least) : -1,
			main: best ? right(best.end, at) : 0,
			other: other ? right(other.end, at) : undefined,
		});
	}
	return places;
}

/**
 * The tokens that a step gains at a position, and its rows, with a chain of `length` tokens and a branch of `branch`
 * tokens.
 */
function step({ main, other }, { length, branch }) {
	const branched = other === undefined ? 0 : branch;
	return { tokens: 1 + Math.max(Math.min(main, length), Math.min(other ?? 0, branched)), rows: 1 + length + branched };
}

/**
 * Tokens per unit of price, with the best lengths for each kind of match. It finds them by alternating two steps: it
 * writes the texts with the current lengths, then chooses better lengths.
 */
function best(texts, price, branches) {
	const choices = KINDS.map(() => ({ length: 0, branch: 0 }));
	const none = { length: 0, branch: 0 };
	let rate = 0;
	for (let turn = 0; turn < 8; turn++) {
		const visited = KINDS.map(() => []);
		let tokens = 0;
		let paid = 0;
		for (const places of texts) {
			for (let at = 0; at < places.length; ) {
				const place = places[at];
				if (place.kind >= 0) visited[place.kind].push(place);
				const made = step(place, place.kind < 0 ? none : choices[place.kind]);
				tokens += made.tokens;
				paid += price(made.rows);
				at += made.tokens;
			}
		}
		rate = Math.max(rate, tokens / paid);
		for (const [kind, places] of visited.entries()) {
			let most = Number.NEGATIVE_INFINITY;
			for (const length of LENGTHS) {
				for (const branch of branches) {
					let gain = 0;
					for (const place of places) {
						const made = step(place, { length, branch });
						gain += made.tokens - (tokens / paid) * price(made.rows);
					}
					if (places.length > 0 && gain > most) {
						most = gain;
						choices[kind] = { length, branch };
					}
				}
			}
		}
	}
	return rate;
}

const times = (value) => `${value.toFixed(2)}×`;
const share = (part, whole) => (whole === 0 ? '–' : `${Math.round((100 * part) / whole)} %`);
console.log(
	'| text | first guess right | second, where the first is wrong | price of rows | chain | tree | tree ÷ chain |',
);
console.log('|---|---:|---:|---|---:|---:|---:|');
for (const [name, pairs] of Object.entries(TEXTS)) {
	const texts = pairs.map(guesses);
	const matched = texts.flat().filter(({ kind }) => kind >= 0);
	const wrong = matched.filter(({ main }) => main === 0);
	const rescued = wrong.filter(({ other }) => other > 0);
	for (const [label, price] of Object.entries(PRICES)) {
		const [chain, tree] = [best(texts, price, [0]), best(texts, price, BRANCHES)];
		const hits = [share(matched.length - wrong.length, matched.length), share(rescued.length, wrong.length)];
		console.log(`| ${[name, ...hits, label, times(chain), times(tree), (tree / chain).toFixed(3)].join(' | ')} |`);
	}
}
