// `npm run bench:completions` as a developer runs it, on a folder of this repository and without a network.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { benchCompletions } from '../../../bench/completions/command';
import type { Report, Saved } from '../../../bench/completions/report';
import { isRight, VERDICTS } from '../../../bench/completions/verdict';

const root = path.resolve(import.meta.dirname, '../../..');
let folder: string;
beforeAll(() => {
	folder = mkdtempSync(path.join(tmpdir(), 'hearth-bench-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(...args: string[]) {
	const script = path.join(root, 'scripts', 'bench-completions.mjs');
	const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
		...{ encoding: 'utf8', env: { ...process.env, HEARTH_CACHE: folder } },
	});
	return { status, stdout, stderr };
}

describe('npm run bench:completions', () => {
	const sources = ['--sources', path.join(root, 'engine', 'completion'), '--positions', '40'];

	test('tries positions, reports and saves them, and finds nothing changed in a second run', () => {
		const saved = path.join(folder, 'run.json');
		const first = run(...sources, '--json', '--save', saved);
		expect(first.stderr).toBe('');
		const report = JSON.parse(first.stdout) as Report;
		const trials = VERDICTS.reduce((sum, verdict) => sum + report.all[verdict], 0);
		expect(trials).toBe(3 * 40);
		expect(report.all.exact).toBeGreaterThan(0.75 * trials);
		expect(Object.keys(report.byKind)).toEqual(expect.arrayContaining(['rest of a line', 'end of file', 'CRLF']));
		expect(Object.keys(report.byLanguage)).toEqual(['typescript']);
		expect(report.byVariant).toHaveProperty('goes on');

		// All of an earlier run are said to have been right, but for one that is right by now.
		const { trials: verdicts } = JSON.parse(readFileSync(saved, 'utf8')) as Saved;
		const wrong = Object.values(verdicts).filter((verdict) => !isRight(verdict)).length;
		const changed = Object.keys(verdicts).find((name) => verdicts[name] === 'exact')!;
		const earlier = Object.keys(verdicts).map((name) => [name, name === changed ? 'torn' : 'exact']);
		writeFileSync(saved, JSON.stringify({ report, trials: Object.fromEntries(earlier) }));
		const second = run(...sources, '--compare', saved);
		expect(second.stdout).toContain('| all | ');
		expect(second.stdout).toContain(
			`${earlier.length} trials in common, 1 right by now that were wrong, ${wrong} wrong that were right`,
		);
	});

	test('takes positions of one kind and language only', () => {
		const { stdout } = run(...sources, '--kind', 'after a dot', '--language', 'typescript', '--json');
		expect(Object.keys((JSON.parse(stdout) as Report).byKind)).toEqual(['after a dot']);
	});

	test.each([
		[['--sources', 'nowhere'], 'nowhere'],
		[['--layer', 'other'], '--layer "other" is unknown'],
		[['--positions', 'many'], '--positions takes a whole number, not "many"'],
		[['--language', 'cobol'], '--language "cobol" is unknown here; there are: typescript'],
	])('%j is refused in one line', async (args, message) => {
		const none = () => Promise.reject(new Error('not to be fetched'));
		await expect(benchCompletions([...sources, ...args], none, () => {})).rejects.toThrow(message);
	});

	test('says what is wrong and fails', () => {
		const { status, stderr } = run(...sources, '--kind', 'anything');
		expect(status).toBe(1);
		expect(stderr.trim()).toMatch(/^bench:completions: --kind "anything" .*$/);
	});
});
