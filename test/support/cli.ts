// Bundles the command line into one file as the build does, but into a test's own folder.
import path from 'node:path';
import { build } from 'esbuild';

/** Bundles `hearth` into the folder and resolves to the path of the file. */
export async function bundleCli(folder: string): Promise<string> {
	const outfile = path.join(folder, 'hearth.js');
	await build({
		absWorkingDir: path.resolve(import.meta.dirname, '..', '..'),
		entryPoints: ['engine/cli/hearth.ts'],
		outfile,
		bundle: true,
		platform: 'node',
		target: 'node20',
		format: 'cjs',
		mainFields: ['module', 'main'],
		external: ['node-llama-cpp', './o200k-ranks.js'],
		logLevel: 'silent',
	});
	return outfile;
}
