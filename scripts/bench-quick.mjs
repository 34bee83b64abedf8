// Checks the project's performance bars within about a minute, on four layers of gpt-oss-20b's full width, in turn with
// llama.cpp. Machines are noisy, so a missed bar is a warning; with --strict it is an error.
// usage: npm run bench:quick [-- --strict] [-- further options of `hearth bench`]
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { madeModel } from './made-model.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const model = madeModel('20b', '--layers', '4');
const { status } = spawnSync(
	process.execPath,
	[
		...[path.join(root, 'bin', 'hearth.js'), 'bench', model, '--peer', 'llama.cpp', '--bars'],
		...['--tests', 'load,pp,tg,batch,depth,verify,edit', '--repeat', '1'],
		...['--prompt', '512', '--generate', '24', '--batch', '8,20', '--length', '6', '--depth', '0,4096'],
		...process.argv.slice(2),
	],
	{ stdio: 'inherit' },
);
process.exitCode = status ?? 1;
