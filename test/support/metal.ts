// Compiles Metal kernels on machines that have no Metal. It uses clang 19, which is installed where that is possible
// (as root).
import { execFile } from 'node:child_process';
import { ensureSystem } from '../../scripts/system.mjs';
import { installed, linux, type Need } from './needs';

/** Clang with its sanitizers. Tests on macOS and Windows do without it: it would test the same kernel texts there. */
export const clang: Need = linux.met ? await installed('no clang 19', () => ensureSystem(['clang'])) : linux;

/** Resolves to what a test program printed on both streams, and whether it succeeded. */
export function runProgram(program: string, args: string[]): Promise<{ ok: boolean; output: string }> {
	const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
	return new Promise((resolve) => {
		execFile(program, args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
			resolve({ ok: error === null, output: stdout + stderr }),
		);
	});
}
