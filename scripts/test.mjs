// `npm test`: builds, lints, and runs the unit, parity and end-to-end tests. A part runs even when another part fails.
// Before the last line, which is "N passed, N failed", it says how many tests were skipped and why. A process left
// behind counts as a failure. With CI=true, so does a test that was skipped for want of something that can be
// installed.
// usage: npm test [-- PART…]   PART: lint, format, types, unit, e2e (default: all of them)
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { endProcesses, newMarker } from './processes.mjs';
import { realModel } from './real-model.mjs';
import { skippedTests } from './skipped.mjs';
import { ensureSystem } from './system.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const output = path.join(root, 'test', 'output');
const marker = newMarker('HEARTH_TEST_RUN');
const node = process.execPath;
const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
const bin = (name, file) => path.join(root, 'node_modules', name, 'bin', file);

const allParts = [
	{ name: 'lint', command: [node, bin('@biomejs/biome', 'biome'), 'check', '.'] },
	{ name: 'format', command: [node, path.join(root, 'scripts', 'format-native.mjs'), '--check'] },
	{ name: 'types', command: [node, bin('typescript', 'tsc'), '-p', '.', '--noEmit'] },
	{ name: 'unit', command: [node, vitest, 'run'], vitest: true },
	{ name: 'e2e', command: [node, vitest, 'run', '--config', 'test/e2e/vitest.config.mts'], vitest: true },
];

const asked = process.argv.slice(2);
const unknown = asked.find((name) => !allParts.some((part) => part.name === name));
if (unknown !== undefined) {
	console.error(`test: there is no part ${unknown}; choose from ${allParts.map(({ name }) => name).join(', ')}`);
	process.exit(1);
}
const parts = asked.length > 0 ? allParts.filter(({ name }) => asked.includes(name)) : allParts;

/** Runs a command whose output is shown, and resolves to whether it succeeded. */
async function run(command) {
	const child = spawn(command[0], command.slice(1), {
		cwd: root,
		env: { ...process.env, ...marker },
		stdio: 'inherit',
	});
	return (await new Promise((resolve) => child.once('error', () => resolve(-1)).once('close', resolve))) === 0;
}

let passed = 0;
let failed = 0;
const lines = [];
const reports = [];
const count = (name, good, bad, startedAt) => {
	passed += good;
	failed += bad;
	lines.push(
		`${name.padEnd(10)} ${good} passed, ${bad} failed, ${((performance.now() - startedAt) / 1000).toFixed(0)} s`,
	);
};

mkdirSync(output, { recursive: true });
let startedAt = performance.now();
ensureSystem(['compiler', ...(parts.some(({ name }) => name === 'e2e') ? ['browser', 'font'] : [])]);
if (!(await run([node, path.join(root, 'scripts', 'build.mjs')]))) {
	count('build', 0, 1, startedAt);
} else {
	count('build', 1, 0, startedAt);
	// The model is fetched once here, before several tests ask for it at the same time.
	if (parts.some((part) => part.vitest)) await realModel();
	for (const part of parts) {
		startedAt = performance.now();
		console.log(`\n--- ${part.name}`);
		const results = path.join(output, `results-${part.name}.json`);
		rmSync(results, { force: true });
		const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
		const ok = await run(part.vitest ? [...part.command, ...reporters] : part.command);
		if (part.vitest && existsSync(results)) {
			const report = JSON.parse(readFileSync(results, 'utf8'));
			reports.push(report);
			const { numPassedTests, numFailedTests } = report;
			// A test file that does not load fails the run, although no test in it fails.
			count(part.name, numPassedTests, ok ? 0 : Math.max(numFailedTests, 1), startedAt);
		} else {
			count(part.name, ok ? 1 : 0, ok ? 0 : 1, startedAt);
		}
	}
}
startedAt = performance.now();
const left = await endProcesses(marker, 15_000);
count('cleanup', left.length === 0 ? 1 : 0, left.length === 0 ? 0 : 1, startedAt);
for (const { pid, command } of left) lines.push(`  left behind: ${pid} ${command}`);

const skipped = skippedTests(reports);
if (skipped.count > 0) lines.push(`${skipped.count} skipped: ${skipped.reasons.join('; ')}`);
if (process.env.CI === 'true' && skipped.curable.length > 0) {
	failed += skipped.curable.length;
	lines.push('With CI=true these count as failed:', ...skipped.curable.map((line) => `  ${line}`));
}

console.log(`\n${lines.join('\n')}\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
