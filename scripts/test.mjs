// `npm test`: builds, lints, and runs the unit, parity and end-to-end tests, all of them even where one part fails. The
// last line is "N passed, N failed"; processes left behind count as a failure.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { endProcesses, newMarker } from './processes.mjs';
import { realModel } from './real-model.mjs';
import { ensureSystem } from './system.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const output = path.join(root, 'test', 'output');
const marker = newMarker('HEARTH_TEST_RUN');
const node = process.execPath;
const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
const bin = (name, file) => path.join(root, 'node_modules', name, 'bin', file);

const parts = [
	{ name: 'lint', command: [node, bin('@biomejs/biome', 'biome'), 'check', '.'] },
	{ name: 'types', command: [node, bin('typescript', 'tsc'), '-p', '.', '--noEmit'] },
	{ name: 'unit', command: [node, vitest, 'run'], vitest: true },
	{ name: 'e2e', command: [node, vitest, 'run', '--config', 'test/e2e/vitest.config.mts'], vitest: true },
];

/** Runs a command with our output and resolves to whether it succeeded. */
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
const count = (name, good, bad, startedAt) => {
	passed += good;
	failed += bad;
	lines.push(
		`${name.padEnd(10)} ${good} passed, ${bad} failed, ${((performance.now() - startedAt) / 1000).toFixed(0)} s`,
	);
};

mkdirSync(output, { recursive: true });
let startedAt = performance.now();
ensureSystem(['compiler', 'browser', 'font']);
if (!(await run([node, path.join(root, 'scripts', 'build.mjs')]))) {
	count('build', 0, 1, startedAt);
} else {
	count('build', 1, 0, startedAt);
	// Once, before the tests that need it ask for it at the same time.
	await realModel();
	for (const part of parts) {
		startedAt = performance.now();
		console.log(`\n--- ${part.name}`);
		const results = path.join(output, `results-${part.name}.json`);
		rmSync(results, { force: true });
		const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
		const ok = await run(part.vitest ? [...part.command, ...reporters] : part.command);
		if (part.vitest && existsSync(results)) {
			const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(results, 'utf8'));
			// A file that does not load fails the run without failing a test.
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

console.log(`\n${lines.join('\n')}\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
