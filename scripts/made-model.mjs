// The models that `npm start` and the end-to-end tests use. `hearth synth` makes them on the spot, so nothing is
// downloaded.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/**
 * Runs `hearth synth --preset` with these arguments unless its model is there, and returns the model's path. The model
 * is kept with this clone's packages.
 */
export function madeModel(preset, ...args) {
	const folder = path.join(root, 'node_modules', '.cache', 'hearth', sourceHash());
	const file = path.join(folder, `${[preset, ...args].join('')}.gguf`);
	if (existsSync(file)) return file;
	console.error(`making the ${preset} model (once)`);
	mkdirSync(folder, { recursive: true });
	const partial = `${file}.partial-${process.pid}`;
	const synth = spawnSync(
		process.execPath,
		[path.join(root, 'bin', 'hearth.js'), 'synth', partial, '--preset', preset, ...args],
		{
			stdio: ['ignore', 'ignore', 'inherit'],
		},
	);
	if (synth.status !== 0) throw new Error(`"hearth synth --preset ${preset}" failed; see its message above`);
	renameSync(partial, file);
	return file;
}

/** Hash of the code that makes the model. When that code changes, the model is made anew. */
function sourceHash() {
	const hash = createHash('sha256');
	for (const folder of ['engine/synth', 'engine/gguf']) {
		for (const name of readdirSync(path.join(root, folder)).sort())
			hash.update(readFileSync(path.join(root, folder, name)));
	}
	return hash.digest('hex').slice(0, 8);
}
