// Compiles the native addon. It uses Node-API only, so that one binary serves Node and Electron; the headers come from
// npm (node-api-headers). Kernel files are compiled for their instruction set, everything else for the baseline.
// usage: node native/build.mjs [--tests] [--clean]
//        with the machine's C++ compiler (CXX names another) into dist/native/
//        node native/build.mjs --target PLATFORM[,PLATFORM...] | --all [--tests]
//        with Zig into dist/native/PLATFORM/
import { execFile, execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
	existsSync,
	linkSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { setupZig, zigCache } from '../scripts/setup-zig.mjs';
import { embedMetalSources } from './metal-sources.mjs';
import { SANITIZED_PROGRAMS, SANITIZING_COMPILER, sanitizedPlan, systemPlan, TARGETS, zigPlan } from './targets.mjs';

const native = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(native);
const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** The version of Node-API that the addon needs. Every Node and Electron that can run the rest has it. */
const NODE_API_VERSION = 8;

/** Finds the compiler: the beginning of its command, and a line that names it. */
function findCompiler(candidates = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']) {
	for (const candidate of candidates) {
		try {
			const version = execFileSync(candidate, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
			return { command: [candidate], version: version.split('\n')[0], env: process.env };
		} catch {}
	}
	const hint =
		process.platform === 'darwin'
			? 'run "xcode-select --install"'
			: process.platform === 'win32'
				? 'install LLVM-MinGW and set CXX to its clang++'
				: 'install g++ 12 or clang 15 or newer (Debian, Ubuntu: apt install g++)';
	throw new Error(`no C++ compiler found (${candidates.join(', ')}): ${hint}`);
}

async function findZig(log) {
	const zig = await setupZig(log);
	const version = execFileSync(zig, ['version'], { encoding: 'utf8' }).trim();
	const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: zigCache(), ZIG_LOCAL_CACHE_DIR: zigCache() };
	return { command: [zig, 'c++'], version: `zig ${version}`, env };
}

function sources(folder) {
	return readdirSync(path.join(native, folder))
		.filter((file) => file.endsWith('.cpp'))
		.map((file) => path.join(folder, file));
}

/**
 * Writes a line for every function of Node-API that the addon may call. native/addon/windows/node_api.cpp imports these
 * functions by hand.
 */
function writeNodeApiSymbols(file) {
	const { js_native_api_symbols, node_api_symbols } = require('node-api-headers').symbols[`v${NODE_API_VERSION}`];
	const text = [...js_native_api_symbols, ...node_api_symbols].map((name) => `HEARTH_NODE_API(${name})\n`).join('');
	writeIfChanged(file, text);
}

/**
 * Writes a generated file only where its contents change. Otherwise it keeps its time, so that nothing is compiled
 * again.
 */
export function writeIfChanged(file, text) {
	mkdirSync(path.dirname(file), { recursive: true });
	if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}

/**
 * Whether an object is newer than every file that its dependency file names, and was made from this source by the same
 * command. The source is compared because the dependency files of a copied tree name the sources of the original.
 */
function isFresh(object, source, stamp) {
	if (!existsSync(object) || !existsSync(`${object}.d`) || !existsSync(`${object}.cmd`)) return false;
	if (readFileSync(`${object}.cmd`, 'utf8') !== stamp) return false;
	const made = statSync(object).mtimeMs;
	const files = readFileSync(`${object}.d`, 'utf8')
		.replace(/^[^:]*:(?=\s)/, '')
		.replace(/\\\r?\n/g, ' ')
		.match(/(?:\\ |\S)+/g);
	const names = (files ?? []).map((file) => file.replace(/\\ /g, ' '));
	return names.includes(source) && names.every((name) => existsSync(name) && statSync(name).mtimeMs <= made);
}

async function inParallel(jobs, limit) {
	const queue = [...jobs];
	const worker = async () => {
		for (let job = queue.shift(); job; job = queue.shift()) await job();
	};
	await Promise.all(Array.from({ length: limit }, worker));
}

/**
 * Builds the addon, and with `tests` the test programs, where anything has changed. The build is for this machine with
 * its compiler, or for `target` (one of TARGETS) with Zig. With `undefinedBehaviour` it builds only SANITIZED_PROGRAMS,
 * for this machine, into dist/native/undefined/. Clang's sanitizer ends such a program at the first operation whose
 * behaviour is undefined. Waits while another process builds the same. Returns the addon's path and objects. Throws
 * with the compiler's output where something does not compile.
 */
export async function buildNative({
	tests = false,
	clean = false,
	target = /** @type {string | undefined} */ (undefined),
	undefinedBehaviour = false,
	log = (line) => process.stderr.write(`${line}\n`),
} = {}) {
	const plan = target ? zigPlan(target) : undefinedBehaviour ? sanitizedPlan() : systemPlan();
	const output = path.join(root, 'dist', 'native', undefinedBehaviour ? 'undefined' : (target ?? ''));
	if (clean) rmSync(output, { recursive: true, force: true });
	const compiler = target ? await findZig(log) : findCompiler(undefinedBehaviour ? [SANITIZING_COMPILER] : undefined);
	const compile = (args) => {
		const [command, ...first] = compiler.command;
		return run(command, [...first, ...args], { env: compiler.env, maxBuffer: 1 << 26 });
	};
	const defines = [
		`NAPI_VERSION=${NODE_API_VERSION}`,
		'NAPI_CPP_EXCEPTIONS',
		// The exceptions of the C++ library become JavaScript's errors, too: one that left a callback would end the
		// process.
		'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
		'NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED',
		'NODE_ADDON_API_REQUIRE_CPP_EXCEPTIONS',
	];

	const objects = path.join(output, 'objects');
	const includes = [require('node-addon-api').include_dir, require('node-api-headers').include_dir, objects].map(
		(dir) => path.resolve(root, dir.replaceAll('"', '')),
	);
	mkdirSync(objects, { recursive: true });
	writeNodeApiSymbols(path.join(objects, 'node_api_symbols.inc'));
	const compileAll = async (files) => {
		const jobs = [];
		const made = [];
		for (const file of files) {
			const object = path.join(objects, `${file.replace(/[\\/]/g, '_')}.o`);
			const args = [
				...plan.flags,
				...(plan.perFile[path.basename(file)] ?? []),
				...(file.startsWith('addon')
					? [...defines.map((d) => `-D${d}`), ...includes.flatMap((dir) => ['-isystem', dir])]
					: []),
			];
			const stamp = createHash('sha256')
				.update(JSON.stringify([compiler.command, compiler.version, args]))
				.digest('hex');
			made.push(object);
			if (isFresh(object, path.join(native, file), stamp)) continue;
			jobs.push(async () => {
				const outputs = ['-MMD', '-MF', `${object}.d`, '-o', object];
				await compile([...args, ...outputs, '-c', path.join(native, file)]).catch((error) => {
					throw new Error(`${compiler.version} could not compile native/${file}:\n${error.stderr ?? error.message}`);
				});
				writeFileSync(`${object}.cmd`, stamp);
			});
		}
		if (jobs.length > 0) log(`native: compiling ${jobs.length} of ${files.length} files with ${compiler.version}`);
		await inParallel(jobs, Math.max(1, Math.min(os.availableParallelism(), 8)));
		return made;
	};
	const link = async (file, args, inputs) => {
		const stamp = JSON.stringify([compiler.command, compiler.version, args, inputs]);
		const stampFile = path.join(objects, `${path.basename(file)}.cmd`);
		const linked = existsSync(file) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
		if (linked && inputs.every((object) => statSync(object).mtimeMs <= statSync(file).mtimeMs)) return;
		// A running engine may have the old file loaded, so the name is replaced and never the contents. The new file
		// is linked in a temporary folder and not under a temporary name, because a signature on macOS contains the
		// file's name.
		const passing = path.join(output, `link-${process.pid}`);
		mkdirSync(passing, { recursive: true });
		try {
			const fresh = path.join(passing, path.basename(file));
			await compile([...args, ...inputs, '-o', fresh]);
			renameSync(fresh, file);
		} catch (error) {
			throw new Error(`${compiler.version} could not link ${path.basename(file)}:\n${error.stderr ?? error.message}`);
		} finally {
			rmSync(passing, { recursive: true, force: true });
		}
		writeFileSync(stampFile, stamp);
	};

	const lock = path.join(output, 'building');
	await takeLock(lock);
	try {
		const kernels = path.join(objects, 'metal_sources.cpp');
		writeIfChanged(kernels, embedMetalSources(kernels));
		const core = await compileAll([...plan.folders.flatMap(sources), path.relative(native, kernels)]);
		const addon = undefinedBehaviour ? [] : await compileAll(plan.addonFolders.flatMap(sources));
		const file = path.join(output, 'hearth.node');
		if (!undefinedBehaviour) await link(file, plan.shared, [...core, ...addon]);
		const programs = tests ? sources('test') : undefinedBehaviour ? SANITIZED_PROGRAMS : [];
		for (const source of programs) {
			const program = path.join(output, path.basename(source, '.cpp') + plan.programSuffix);
			await link(program, plan.program, [...(await compileAll([source])), ...core]);
		}
		return { file, objects: [...core, ...addon] };
	} finally {
		rmSync(lock, { force: true });
	}
}

/** Makes the file with this process's id in it. Waits while the file exists and the process that made it lives. */
async function takeLock(file) {
	const own = `${file}-${randomUUID()}`;
	writeFileSync(own, String(process.pid));
	for (;;) {
		try {
			linkSync(own, file);
			break;
		} catch (error) {
			if (error.code !== 'EEXIST') throw error;
		}
		try {
			process.kill(Number(readFileSync(file, 'utf8')), 0);
		} catch (error) {
			// ESRCH: the process died without removing its file. ENOENT: the process has just finished.
			if (error.code === 'ESRCH') rmSync(file, { force: true });
		}
		await setTimeout(100);
	}
	rmSync(own);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	try {
		const { values } = parseArgs({
			options: {
				...{ tests: { type: 'boolean' }, clean: { type: 'boolean' } },
				...{ target: { type: 'string' }, all: { type: 'boolean' } },
			},
		});
		const { target, all, ...options } = values;
		const targets = all ? Object.keys(TARGETS) : (target?.split(',') ?? [undefined]);
		for (const name of targets) await buildNative({ ...options, target: name });
	} catch (error) {
		process.stderr.write(`${error.message}\n`);
		process.exit(1);
	}
}
