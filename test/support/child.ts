// Runs scripts in a process of their own. They could crash the test runner, or the runner's own memory, threads and
// files would blur what they measure.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';

export interface ChildResult {
	stdout: string;
	stderr: string;
	/** null when a signal ended the process. */
	code: number | null;
	signal: NodeJS.Signals | null;
}

/**
 * Runs a TypeScript file of this folder with `--expose-gc`. `input` becomes its standard input. It never rejects,
 * however the process ends.
 */
export async function runChild(
	script: string,
	args: string[],
	input = '',
	variables: Record<string, string> = {},
): Promise<ChildResult> {
	const root = path.resolve(import.meta.dirname, '..', '..');
	const folder = await mkdtemp(path.join(os.tmpdir(), 'hearth-child-'));
	try {
		const outfile = path.join(folder, 'child.cjs');
		await build({
			entryPoints: [path.join(import.meta.dirname, script)],
			...{ outfile, bundle: true, platform: 'node', target: 'node20', format: 'cjs', logLevel: 'error' },
		});
		const env = { ...process.env, HEARTH_NATIVE: path.join(root, 'dist', 'native', 'hearth.node'), ...variables };
		return await new Promise((resolve) => {
			const options = { env, maxBuffer: 2 ** 28 };
			const child = execFile(process.execPath, ['--expose-gc', outfile, ...args], options, (_error, stdout, stderr) =>
				resolve({ stdout, stderr, code: child.exitCode, signal: child.signalCode }),
			);
			child.stdin?.end(input);
		});
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
}
