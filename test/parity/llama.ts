// Gets the logits of llama.cpp for comparisons (node-llama-cpp, an npm package with prebuilt binaries).
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

export interface Prompt {
	tokens: Int32Array;
	/** The positions whose logits are compared, ascending. */
	positions: number[];
}

/**
 * Resolves to the logits of every prompt's positions, [positions × vocabulary] each. With one thread, llama.cpp never
 * waits for a core that another process uses. With several, small models spend most of their time on that.
 */
export async function llamaLogits(
	model: string,
	prompts: Prompt[],
	vocabulary: number,
	threads = 2,
): Promise<Float32Array[]> {
	const jobs = `${model}.jobs.json`;
	const out = `${model}.llama.bin`;
	await writeFile(jobs, JSON.stringify(prompts.map(({ tokens, positions }) => ({ tokens: [...tokens], positions }))));
	const worker = path.join(import.meta.dirname, 'llama-worker.mjs');
	await promisify(execFile)(process.execPath, [worker, model, jobs, out, String(threads)]);
	const { buffer, byteOffset, byteLength } = await readFile(out);
	const values = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
	await Promise.all([rm(jobs), rm(out)]);
	let end = 0;
	return prompts.map(({ positions }) => {
		const start = end;
		end += positions.length * vocabulary;
		return values.subarray(start, end);
	});
}
