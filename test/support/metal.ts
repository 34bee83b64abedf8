// Metal kernels on machines that have no Metal: clang 19, installed where that is possible (as root).
import { execFile } from 'node:child_process';
import { ensureSystem } from '../../scripts/system.mjs';

/**
 * Whether Metal's kernels and host code can be tested here; says why where not. In CI they must be. macOS and Windows do
 * without: what runs there is the same text.
 */
export function metalTools(): boolean {
	if (process.platform !== 'linux') return false;
	try {
		ensureSystem(['clang']);
		return true;
	} catch (error) {
		if (process.env['CI'] === 'true') throw error;
		console.warn(`Metal is not tested here: ${(error as Error).message}`);
		return false;
	}
}

/** What a test program printed, both streams, and whether it ended well. */
export function runProgram(program: string, args: string[]): Promise<{ ok: boolean; output: string }> {
	const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
	return new Promise((resolve) => {
		execFile(program, args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
			resolve({ ok: error === null, output: stdout + stderr }),
		);
	});
}
