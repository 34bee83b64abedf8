// Builds the programs that test the Metal kernels and host code on this machine's CPU (native/test/metal/README.md), with
// clang 19, into dist/native/metal/<mode>/. Whatever has the same contents as in the build before is not built again.
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expandMetalSource, metalSources } from './metal-sources.mjs';
import { generate } from './test/metal/emulator/generate.mjs';

const native = path.dirname(fileURLToPath(import.meta.url));
const output = path.join(path.dirname(native), 'dist', 'native', 'metal');
const compiler = 'clang++-19';
const run = promisify(execFile);

/** Of each mode: flags of everything, and further flags of kernels. */
const MODES = {
	plain: { all: ['-O2', '-g1'], kernels: [] },
	// The instrumentation of the thread sanitizer, with callbacks of our own in place of its runtime (memory_checker.cpp).
	race: {
		all: ['-O2', '-g', '-DMSL_MEMORY_CHECKER'],
		kernels: [
			...['-O1', '-fsanitize=thread', '-mllvm', '-tsan-instrument-func-entry-exit=0'],
			...['-mllvm', '-tsan-handle-cxx-exceptions=0'],
		],
	},
	asan: { all: ['-O1', '-g', '-fsanitize=address', '-fno-omit-frame-pointer'], kernels: [] },
	// Optimisation may decide a branch on an uninitialised value before the sanitizer sees it: none in kernels.
	msan: { all: ['-O1', '-g', '-fsanitize=memory', '-fno-omit-frame-pointer'], kernels: ['-O0'] },
};
export const metalModes = Object.keys(MODES);

/** Files of the core that kernel tests may use as references. */
const CORE = ['core/dequantize.cpp', 'core/model.cpp', 'core/rope.cpp', 'core/sampler.cpp'];

const emulator = path.join(native, 'test', 'metal', 'emulator');
const flags = [
	...[
		'-std=c++20',
		'-pthread',
		'-fPIC',
		'-ffp-contract=off',
		'-fno-math-errno',
		'-ffunction-sections',
		'-Wall',
		'-Wextra',
	],
	// Halves and fused operations in hardware, where this machine has them.
	...(process.arch === 'x64' && hasAvx2() ? ['-march=x86-64-v3'] : []),
	...[`-I${emulator}`, `-I${native}`],
];
const kernelFlags = ['-w', '-Xclang', '-cl-single-precision-constant', '-Xclang', '-ffloat16-excess-precision=none'];

function hasAvx2() {
	return existsSync('/proc/cpuinfo') && /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
}

const digest = (data) => createHash('sha256').update(data).digest('hex');

function cpp(folder) {
	const absolute = path.join(native, folder);
	if (!existsSync(absolute)) return [];
	return readdirSync(absolute)
		.filter((file) => file.endsWith('.cpp'))
		.map((file) => path.join(absolute, file));
}

/** Whether `target` was made by the same command from files with the same contents. */
function isFresh(target, command) {
	try {
		const made = JSON.parse(readFileSync(`${target}.json`, 'utf8'));
		return (
			existsSync(target) &&
			made.command === command &&
			Object.entries(made.inputs).every(([file, hash]) => digest(readFileSync(file)) === hash)
		);
	} catch {
		return false;
	}
}
function remember(target, command, files) {
	const inputs = Object.fromEntries(files.map((file) => [file, digest(readFileSync(file))]));
	writeFileSync(`${target}.json`, JSON.stringify({ command, inputs }));
}

async function clang(args, what) {
	await run(compiler, args, { maxBuffer: 1 << 26 }).catch((error) => {
		throw new Error(`${compiler} could not build ${what}:\n${error.stderr || error.message}`);
	});
}
async function compile(file, object, args) {
	const command = JSON.stringify([await version(), args]);
	if (isFresh(object, command)) return;
	const list = `${object}.d`;
	await clang([...args, '-MMD', '-MF', list, '-c', file, '-o', object], path.relative(native, file));
	const inputs = readFileSync(list, 'utf8')
		.replace(/^[^:]*:(?=\s)/, '')
		.replace(/\\\n/g, ' ')
		.match(/(?:\\ |\S)+/g);
	remember(object, command, [...new Set(inputs.map((input) => path.resolve(input.replace(/\\ /g, ' '))))]);
}
async function link(program, objects, args) {
	const command = JSON.stringify([await version(), args]);
	if (isFresh(program, command)) return;
	const fresh = `${program}.${process.pid}`;
	await clang([...objects, ...args, '-o', fresh], path.basename(program));
	renameSync(fresh, program);
	remember(program, command, objects);
}

let knownVersion;
async function version() {
	knownVersion ??= execFileSync(compiler, ['--version'], { encoding: 'utf8' }).split('\n')[0];
	return knownVersion;
}

/** Writes a generated file unless it has these contents already. */
function write(file, text) {
	mkdirSync(path.dirname(file), { recursive: true });
	if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
	return file;
}

async function inParallel(jobs) {
	const queue = [...jobs];
	const worker = async () => {
		for (let job = queue.shift(); job; job = queue.shift()) await job();
	};
	await Promise.all([worker(), worker()]);
}

/** The programs of each mode: name, sources of kernels, folder of tests. */
const PROGRAMS = {
	/** The kernels of the addon. */
	kernel_tests: { sources: metalSources, tests: 'test/metal/kernels' },
	/** The emulator's own: kernels known to be right or wrong. */
	seeded_tests: {
		sources: () =>
			['correct.metal', 'mistakes.metal'].map((name) => ({
				name,
				text: expandMetalSource(path.join(native, 'test', 'metal', 'seeded', name)),
			})),
		tests: 'test/metal/seeded',
	},
};

/**
 * Builds the programs of each mode, those of PROGRAMS without kernels or tests excepted. Throws with the compiler's output on
 * errors, whose positions are in the .metal files.
 */
export async function buildMetalTests({
	programs = Object.keys(PROGRAMS),
	modes = metalModes,
	log = (line) => process.stderr.write(`${line}\n`),
} = {}) {
	const startedAt = Date.now();
	const made = programs.flatMap((name) => {
		const tests = cpp(PROGRAMS[name].tests);
		const kernels = PROGRAMS[name].sources().map(({ name, text }) => ({
			name,
			file: write(path.join(output, 'generated', `${name}.cpp`), generate(text, name, { compiler })),
		}));
		if (kernels.length === 0 || tests.length === 0) return [];
		return modes.map((mode) => program(mode, name, kernels, tests));
	});
	const objects = new Map(made.flatMap(({ objects }) => objects.map(({ path, make }) => [path, make])));
	await inParallel([...objects.values()]);
	await inParallel(made.map(({ finish }) => finish));
	log(`native: Metal tests built in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
	return output;
}

/** A program of generated kernel files, test files and the emulator: its objects to make, then `finish` to link it. */
function program(mode, name, kernels, tests) {
	const folder = path.join(output, mode);
	mkdirSync(path.join(folder, 'objects'), { recursive: true });
	const object = (file) => path.join(folder, 'objects', `${path.relative(native, file).replace(/[\\/.]+/g, '_')}.o`);
	const objects = [
		...kernels.map(({ file }) => ({
			path: object(file),
			make: () => compile(file, object(file), [...flags, ...MODES[mode].all, ...MODES[mode].kernels, ...kernelFlags]),
		})),
		...[
			...cpp('test/metal/emulator').filter((file) => mode === 'race' || path.basename(file) !== 'memory_checker.cpp'),
			...CORE.map((file) => path.join(native, file)),
			...tests,
		].map((file) => ({
			path: object(file),
			make: () => compile(file, object(file), [...flags, ...MODES[mode].all]),
		})),
	];
	const sanitizers = MODES[mode].all.filter((flag) => flag.startsWith('-fsanitize'));
	const finish = () =>
		link(
			path.join(folder, name),
			objects.map((made) => made.path),
			['-pthread', '-fuse-ld=lld', '-Wl,--gc-sections', ...sanitizers],
		);
	return { objects, finish };
}
