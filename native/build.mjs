// Compiles the native addon with the machine's C++ compiler into dist/native/hearth.node: Node-API only, so that one
// binary serves Node and Electron, and nothing is downloaded (the headers come from npm: node-api-headers).
// Kernel files are compiled for their instruction set, everything else for the baseline.
// usage: node native/build.mjs [--tests] [--clean] [--arm64]   CXX names another compiler; --arm64: the test programs for Arm
// Linux, static, with Debian's cross compiler, into dist/native/arm64/.
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { embedMetalSources } from './metal-sources.mjs';

const native = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(native);
const run = promisify(execFile);

/** Extra flags by file name; files of another architecture compile to nothing. */
export const INSTRUCTION_SETS = {
	x64: {
		'avx2.cpp': ['-mavx2', '-mfma', '-mf16c'],
		'avx512.cpp': [
			...['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vbmi', '-mavx512vnni'],
			...['-mavx2', '-mfma', '-mf16c'],
		],
	},
	arm64: { 'neon.cpp': ['-march=armv8.2-a+dotprod+fp16'] },
};

function findCompiler(candidates = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']) {
	for (const candidate of candidates) {
		try {
			const version = execFileSync(candidate, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
			return { command: candidate, version: version.split('\n')[0] };
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

function sources(folder) {
	return readdirSync(path.join(native, folder))
		.filter((file) => file.endsWith('.cpp'))
		.map((file) => path.join(folder, file));
}

/** Whether an object is newer than everything its dependency file names, and was made by the same command. */
function isFresh(object, stamp) {
	if (!existsSync(object) || !existsSync(`${object}.d`) || !existsSync(`${object}.cmd`)) return false;
	if (readFileSync(`${object}.cmd`, 'utf8') !== stamp) return false;
	const made = statSync(object).mtimeMs;
	const files = readFileSync(`${object}.d`, 'utf8')
		.replace(/^[^:]*:(?=\s)/, '')
		.replace(/\\\r?\n/g, ' ')
		.match(/(?:\\ |\S)+/g);
	return (files ?? []).every((file) => {
		const name = file.replace(/\\ /g, ' ');
		return existsSync(name) && statSync(name).mtimeMs <= made;
	});
}

/** Generated files keep their time while their contents stay, so that nothing is compiled again. */
export function writeIfChanged(file, text) {
	mkdirSync(path.dirname(file), { recursive: true });
	if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}

async function inParallel(jobs, limit) {
	const queue = [...jobs];
	const worker = async () => {
		for (let job = queue.shift(); job; job = queue.shift()) await job();
	};
	await Promise.all(Array.from({ length: limit }, worker));
}

/**
 * Builds the addon, with `tests` the test programs too, if anything changed. `arm64` builds the test programs alone, for an
 * emulator. Returns the objects of the addon. Throws with the compiler's own output if it does not compile.
 */
export async function buildNative({
	tests = false,
	clean = false,
	arm64 = false,
	log = (line) => process.stderr.write(`${line}\n`),
} = {}) {
	const output = arm64 ? path.join(root, 'dist', 'native', 'arm64') : path.join(root, 'dist', 'native');
	if (clean) rmSync(output, { recursive: true, force: true });
	const compiler = findCompiler(arm64 ? ['aarch64-linux-gnu-g++'] : undefined);
	const require = createRequire(import.meta.url);
	const includes = [require('node-addon-api').include_dir, require('node-api-headers').include_dir].map((dir) =>
		path.resolve(root, dir.replaceAll('"', '')),
	);
	const flags = [
		...['-std=c++20', '-O3', '-g1', '-fPIC', '-pthread', '-fvisibility=hidden'],
		// Kernels fix the order and the rounding of every operation (native/cpu/kernels.h): the compiler may fuse nothing.
		...['-ffp-contract=off', '-fno-math-errno', '-Wall', '-Wextra'],
		...(process.platform === 'darwin' ? ['-mmacosx-version-min=13.0'] : []),
	];
	const defines = [
		'NAPI_VERSION=8',
		'NAPI_CPP_EXCEPTIONS',
		'NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED',
		'NODE_ADDON_API_REQUIRE_CPP_EXCEPTIONS',
	];
	const perFile = INSTRUCTION_SETS[arm64 ? 'arm64' : process.arch] ?? {};

	const objects = path.join(output, 'objects');
	const compileAll = async (files) => {
		const jobs = [];
		const made = [];
		for (const file of files) {
			const object = path.join(objects, `${file.replace(/[\\/]/g, '_')}.o`);
			const args = [
				...flags,
				...(perFile[path.basename(file)] ?? []),
				...(file.startsWith('addon')
					? [...defines.map((d) => `-D${d}`), ...includes.flatMap((dir) => ['-isystem', dir])]
					: []),
			];
			const stamp = createHash('sha256')
				.update(JSON.stringify([compiler, args]))
				.digest('hex');
			made.push(object);
			if (isFresh(object, stamp)) continue;
			jobs.push(async () => {
				await run(
					compiler.command,
					[...args, '-MMD', '-MF', `${object}.d`, '-c', path.join(native, file), '-o', object],
					{
						maxBuffer: 1 << 26,
					},
				).catch((error) => {
					throw new Error(`${compiler.command} could not compile native/${file}:\n${error.stderr ?? error.message}`);
				});
				writeFileSync(`${object}.cmd`, stamp);
			});
		}
		if (jobs.length > 0) log(`native: compiling ${jobs.length} of ${files.length} files with ${compiler.version}`);
		mkdirSync(objects, { recursive: true });
		await inParallel(jobs, Math.max(1, Math.min(os.availableParallelism(), 8)));
		return { made, changed: jobs.length > 0 };
	};
	const link = async (target, args) => {
		// A running engine may have the old file loaded: replace the name, never the contents.
		const fresh = `${target}.${process.pid}`;
		await run(compiler.command, [...args, '-o', fresh], { maxBuffer: 1 << 26 }).catch((error) => {
			throw new Error(`${compiler.command} could not link ${path.basename(target)}:\n${error.stderr ?? error.message}`);
		});
		renameSync(fresh, target);
	};

	const kernels = path.join(objects, 'metal_sources.cpp');
	writeIfChanged(kernels, embedMetalSources(kernels));
	const core = await compileAll([
		...['core', 'cpu', 'metal', 'metal/device'].flatMap(sources),
		path.relative(native, kernels),
	]);
	const made = [...core.made];
	if (!arm64) {
		const addon = await compileAll(sources('addon'));
		made.push(...addon.made);
		const target = path.join(output, 'hearth.node');
		if (core.changed || addon.changed || !existsSync(target)) {
			const shared =
				process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];
			await link(target, [...shared, ...core.made, ...addon.made]);
		}
	}
	if (!tests && !arm64) return made;
	for (const file of sources('test')) {
		const program = await compileAll([file]);
		const target = path.join(output, path.basename(file, '.cpp'));
		if (program.changed || core.changed || !existsSync(target))
			await link(target, ['-pthread', ...(arm64 ? ['-static'] : []), ...program.made, ...core.made]);
	}
	return made;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const options = new Set(process.argv.slice(2));
	try {
		if (options.has('--metal-tests')) await (await import('./build-metal.mjs')).buildMetalTests();
		else
			await buildNative({
				tests: options.has('--tests'),
				clean: options.has('--clean'),
				arm64: options.has('--arm64'),
			});
	} catch (error) {
		process.stderr.write(`${error.message}\n`);
		process.exit(1);
	}
}
