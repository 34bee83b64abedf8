// Builds the programs that test the Metal kernels and host code on this machine's CPU (native/test/metal/README.md),
// with clang 19, into dist/native/metal/<mode>/. A file whose inputs have the same contents as in the last build is not
// built again.
// usage: node native/build-metal.mjs [mode…] [--addon]   --addon builds only dist/native/metal/hearth.node, the addon on
// fake Metal
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildNative, writeIfChanged } from './build.mjs';
import { embedMetalSources, expandMetalSource, metalSources } from './metal-sources.mjs';
import { INSTRUCTION_SETS } from './targets.mjs';
import { generate } from './test/metal/emulator/generate.mjs';

const native = path.dirname(fileURLToPath(import.meta.url));
const output = path.join(path.dirname(native), 'dist', 'native', 'metal');
const compiler = 'clang++-19';
const run = promisify(execFile);

/** For each mode the flags of all files, and the further flags of kernels. */
const MODES = {
	plain: { all: ['-O2', '-g1'], kernels: [] },
	// Uses the instrumentation of the thread sanitizer, with callbacks of our own in place of its runtime
	// (memory_checker.cpp).
	race: {
		all: ['-O2', '-g', '-DMSL_MEMORY_CHECKER'],
		kernels: [
			...['-O1', '-fsanitize=thread', '-mllvm', '-tsan-instrument-func-entry-exit=0'],
			...['-mllvm', '-tsan-handle-cxx-exceptions=0'],
		],
	},
	// Also finds undefined behaviour: misaligned loads, which a GPU cannot do either, shifts that are too far, and
	// overflow.
	asan: {
		all: [
			...['-O1', '-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize=vptr,function'],
			'-fno-sanitize-recover=all',
		],
		kernels: [],
	},
	// Kernels are not optimised, because the optimiser may decide a branch on an uninitialised value before the sanitizer
	// sees it.
	msan: { all: ['-O1', '-g', '-fsanitize=memory', '-fno-omit-frame-pointer'], kernels: ['-O0'] },
};
export const metalModes = Object.keys(MODES);

/** The file that the fake Metal replaces. */
const SYSTEM = 'objc_runtime.cpp';
/** Files of the core that kernel tests may use as references. */
const CORE = ['dequantize', 'model', 'rope', 'sampler'].map((name) => path.join(native, 'core', `${name}.cpp`));

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
	// The hardware computes halves and fused operations, where this machine has them.
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
	mkdirSync(path.dirname(object), { recursive: true });
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

async function inParallel(jobs) {
	const queue = [...jobs];
	const worker = async () => {
		for (let job = queue.shift(); job; job = queue.shift()) await job();
	};
	await Promise.all([worker(), worker()]);
}

function seeded(name) {
	return { name, text: expandMetalSource(path.join(native, 'test', 'metal', 'seeded', name)) };
}
/** The modes for host code. The memory sanitizer would need a C++ library that is built with it, so it is missing. */
const hostModes = ['plain', 'race', 'asan'];

/**
 * Each program has the kernels to link in, the folders of C++ files beside the emulator's, files of the core, and the
 * modes to build.
 */
const PROGRAMS = {
	/** Tests the addon's kernels, each by itself. */
	kernel_tests: { sources: metalSources, folders: ['test/metal/kernels'], core: CORE, modes: metalModes },
	/** Tests the emulator itself, with kernels that are known to be right or wrong. */
	seeded_tests: {
		sources: () => ['correct.metal', 'mistakes.metal'].map(seeded),
		folders: ['test/metal/seeded'],
		modes: metalModes,
	},
	/** Tests the fake Metal itself, with host code that is known to be right or wrong. */
	seeded_host_tests: {
		sources: () => ['correct.metal'].map(seeded),
		folders: ['test/metal/seeded/host', 'test/metal/fake', 'metal/device'],
		modes: hostModes,
	},
};

/**
 * Builds the programs, and with `addon` dist/native/metal/hearth.node: the whole addon on fake Metal. Throws with the
 * compiler's output on errors, whose positions are in the .metal files.
 */
export async function buildMetalTests({
	programs = Object.keys(PROGRAMS),
	modes = metalModes,
	addon = false,
	log = (line) => process.stderr.write(`${line}\n`),
} = {}) {
	const startedAt = performance.now();
	const linked = [];
	for (const name of programs) {
		const { sources, folders, core = [], modes: all } = PROGRAMS[name];
		const texts = sources();
		const kernels = generateKernels(texts);
		const files = [...core, ...folders.flatMap(cpp).filter((file) => path.basename(file) !== SYSTEM)];
		if (folders.includes('metal/device')) files.push(embedKernels(name, texts));
		for (const mode of all.filter((mode) => modes.includes(mode)))
			linked.push({
				target: path.join(output, mode, name),
				objects: [
					...kernels.map((file) => kernelObject(file, mode)),
					...objectsOf([...emulatorFiles(mode), ...files], mode),
				],
				args: ['-pthread', '-fuse-ld=lld', '-Wl,--gc-sections', ...sanitizers(mode)],
			});
	}
	if (addon) linked.push(await fakeAddon(log));
	const objects = new Map(linked.flatMap(({ objects }) => objects.map(({ object, make }) => [object, make])));
	await inParallel([...objects.values()]);
	await inParallel(
		linked.map(({ target, objects, args }) => () => {
			const files = objects.map(({ object }) => object);
			return link(target, files, args);
		}),
	);
	log(`native: Metal tests built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
	return output;
}

/** The addon with the fake Metal in place of the system's runtime, and with the emulator and the kernels. */
async function fakeAddon(log) {
	const emulation = emulatorFiles('plain').filter((file) => path.basename(file) !== 'kernel_test.cpp');
	const { objects } = await buildNative({ log });
	const addon = objects.filter((object) => !path.basename(object).startsWith('metal_device_objc_runtime'));
	return {
		target: path.join(output, 'hearth.node'),
		objects: [
			...addon.map((object) => ({ object, make: async () => {} })),
			...generateKernels([...metalSources(), seeded('wrong.metal')]).map((file) => kernelObject(file, 'plain')),
			...objectsOf([...emulation, ...cpp('test/metal/fake')], 'plain'),
		],
		args: ['-shared', '-pthread', '-fuse-ld=lld'],
	};
}
function generateKernels(texts) {
	return texts.map(({ name, text }) => {
		const file = path.join(output, 'generated', `${name}.cpp`);
		writeIfChanged(file, generate(text, name, { compiler }));
		return file;
	});
}
function embedKernels(program, texts) {
	const file = path.join(output, 'generated', `${program}_sources.cpp`);
	writeIfChanged(file, embedMetalSources(file, texts));
	return file;
}
function emulatorFiles(mode) {
	return cpp('test/metal/emulator').filter((file) => mode === 'race' || path.basename(file) !== 'memory_checker.cpp');
}
function sanitizers(mode) {
	return MODES[mode].all.filter((flag) => flag.startsWith('-fsanitize'));
}
function objectOf(file, mode, args) {
	const object = path.join(output, mode, 'objects', `${path.relative(native, file).replace(/[\\/.]+/g, '_')}.o`);
	return { object, make: () => compile(file, object, args) };
}
function kernelObject(file, mode) {
	return objectOf(file, mode, [...flags, ...MODES[mode].all, ...MODES[mode].kernels, ...kernelFlags]);
}
function objectsOf(files, mode) {
	const perFile = INSTRUCTION_SETS[process.arch] ?? {};
	return files.map((file) =>
		objectOf(file, mode, [...flags, ...MODES[mode].all, ...(perFile[path.basename(file)] ?? [])]),
	);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const modes = process.argv.slice(2).filter((argument) => argument !== '--addon');
	const addon = modes.length < process.argv.length - 2;
	try {
		await buildMetalTests({ ...(modes.length > 0 && { modes }), addon, ...(addon && { programs: [] }) });
	} catch (error) {
		process.stderr.write(`${error.message}\n`);
		process.exit(1);
	}
}
