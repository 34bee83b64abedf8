// Measures what drafts from the text itself gain under the engine's own policy: which drafts it makes, how long they
// are, and what it learns on the way. A model that knows the texts is assumed to write them, and the prices of steps
// come from a table. No model computes, so the result is exact and the same everywhere.
// usage: node scripts/measure-drafts.mjs   (in a clone with history: the edits are commits)
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { encode } from 'gpt-tokenizer/encoding/o200k_base';
import { bundled } from './bundled.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { EDIT_RECORDING } = await bundled('engine/benchmark/recording.ts');
const { PromptLookup } = await bundled('engine/speculation/prompt-lookup.ts');
const { DraftRecord, StepCost } = await bundled('engine/speculation/draft-length.ts');

/**
 * Price of a step of n rows divided by the price of a step of one row. It interpolates between known values [n, price].
 */
const between =
	(...known) =>
	(rows) => {
		const next = Math.max(
			1,
			known.findIndex(([n]) => n >= rows),
		);
		const [[n, price], [m, other]] = known.slice(next - 1, next + 1);
		return price + ((other - price) * (rows - n)) / (m - n);
	};
const PRICES = {
	'gpt-oss-20b, bytes alone': (rows) => 0.51 + 0.49 * 8 * (1 - 0.875 ** rows),
	'gpt-oss-20b on AMX': between(
		...[
			[1, 1],
			[2, 1.5],
			[3, 1.94],
			[4, 2.12],
			[5, 2.57],
			[6, 2.75],
			[7, 3],
			[8, 3.13],
			[9, 3.39],
			[12, 3.99],
		],
		...[
			[17, 4.56],
			[20, 4.68],
			[24, 5.14],
			[28, 5.23],
			[33, 5.71],
			[48, 6.45],
			[65, 7.5],
		],
	),
	'gpt-oss-20b on AVX2': between([1, 1], [2, 1.6], [4, 2.4], [8, 3.9], [16, 6.5], [33, 12], [65, 23]),
	'SmolLM2 on two AVX2 cores': (rows) => 1 + 0.16 * (rows - 1),
};

const git = (...args) => {
	const { status, stdout, stderr } = spawnSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });
	if (status !== 0) throw new Error(stderr);
	return stdout;
};
const lines = (text) => text.split('\n').filter(Boolean);
const halves = (file) => {
	const text = git('show', `HEAD:${file}`);
	const middle = text.indexOf('\n', text.length / 2) + 1;
	return [text.slice(0, middle), text.slice(middle)];
};

/**
 * The latest commits that change a file of moderate size a little, with one file of each. Yields a prompt (the file
 * before and the commit's title) and an answer (the file after).
 */
function* commits() {
	for (const commit of lines(git('log', '--no-merges', '--format=%h'))) {
		for (const line of lines(git('diff-tree', '--no-commit-id', '--numstat', '--diff-filter=M', '-r', commit))) {
			const [added, removed, file] = line.split('\t');
			const changed = Number(added) + Number(removed);
			if (!/\.(ts|cpp|h|mjs|metal)$/.test(file) || changed < 4 || changed > 60 || Number(removed) < 2) continue;
			const after = git('show', `${commit}:${file}`);
			if (after.length < 1500 || after.length > 9000) continue;
			yield [`${git('show', `${commit}^:${file}`)}\n${git('log', '-1', '--format=%s', commit)}`, after];
			break;
		}
	}
}

function take(count, values) {
	const taken = [];
	for (const value of values) {
		if (taken.push(value) === count) break;
	}
	return taken;
}

const TEXTS = {
	'recorded edit': [[EDIT_RECORDING.prompt, EDIT_RECORDING.answer]],
	'40 commits': take(40, commits()),
	'code, second half of a file': [
		'engine/runtime/scheduler.ts',
		'engine/completion/window.ts',
		'native/core/gguf.cpp',
	].map(halves),
	'prose, second half of a file': ['README.md', 'docs/architecture.md', 'docs/language-server.md'].map(halves),
};

/** Writes the answers with drafts. Returns sums; `paid` counts in steps of one row. */
function write(pairs, price) {
	const cost = new StepCost();
	cost.observe(1, 100);
	const sums = { tokens: 0, paid: 0, guessed: 0, right: 0 };
	for (const [prompt, answer] of pairs) {
		const sequence = { tokens: encode(prompt) };
		const wanted = encode(answer);
		const [source, record] = [new PromptLookup(), new DraftRecord()];
		for (let at = 0; at < wanted.length; ) {
			const limit = wanted.length - at - 1;
			const ground = source.ground(sequence);
			const { length } = ground && limit > 0 ? record.best(cost, 0, limit, undefined, ground) : { length: 0 };
			const [draft] = length > 0 ? source.propose([{ sequence, limit: length, blocks: [] }]) : [[]];
			const wrong = draft.findIndex((token, i) => token !== wanted[at + i]);
			const right = wrong < 0 ? draft.length : wrong;
			cost.observe(1 + draft.length, 100 * price(1 + draft.length));
			if (draft.length > 0) record.observe(draft.length, right, ground);
			sequence.tokens.push(...wanted.slice(at, at + right + 1));
			at += right + 1;
			sums.paid += price(1 + draft.length);
			sums.guessed += draft.length;
			sums.right += right;
		}
		sums.tokens += wanted.length;
	}
	return sums;
}

console.log(
	`| text | tokens | ${Object.keys(PRICES).join(' | ')} |\n|---|---:|${'---:|'.repeat(Object.keys(PRICES).length)}`,
);
for (const [name, pairs] of Object.entries(TEXTS)) {
	const runs = Object.values(PRICES).map((price) => write(pairs, price));
	const cells = runs.map(({ tokens, paid, guessed, right }) => {
		return `${(tokens / paid).toFixed(2)}× (${guessed === 0 ? '–' : Math.round((100 * right) / guessed)} % right)`;
	});
	console.log(`| ${[name, runs[0].tokens, ...cells].join(' | ')} |`);
}
