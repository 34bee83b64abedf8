// Metal kernels on machines that have no Metal: clang 19, installed where that is possible (as root).
import { execFile } from 'node:child_process';
import { ensureSystem } from '../../scripts/system.mjs';
import { installed, linux, type Need } from './needs';

/** Clang with its sanitizers. macOS and Windows do without: what it would test there is the same text. */
export const clang: Need = linux.met ? await installed('no clang 19', () => ensureSystem(['clang'])) : linux;

/** What a test program printed, both streams, and whether it ended well. */
export function runProgram(program: string, args: string[]): Promise<{ ok: boolean; output: string }> {
	const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
	return new Promise((resolve) => {
		execFile(program, args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
			resolve({ ok: error === null, output: stdout + stderr }),
		);
	});
}
