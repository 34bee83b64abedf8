// Loads the engine's modules for scripts, which run without the build.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Resolves to the exports of a TypeScript file. The path starts at the project's root. */
export async function bundled(file) {
	const options = { bundle: true, write: false, platform: 'node', format: 'esm', entryPoints: [path.join(root, file)] };
	const { text } = buildSync(options).outputFiles[0];
	return import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`);
}
