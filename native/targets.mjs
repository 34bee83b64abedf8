// What differs between the platforms that the native addon is compiled for: folders, flags and the options of the
// linker. A platform is named as VS Code names it. There are two toolchains: the system's own compiler, for this
// machine, and Zig, which compiles for all platforms from anywhere (scripts/setup-zig.mjs).
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { platformName } from './platform.mjs';

const native = path.dirname(fileURLToPath(import.meta.url));

// An addon needs to export two functions. The C++ library inside it must not be visible to others.
const elf = {
	folders: [],
	addonFolders: [],
	flags: ['-fPIC', '-pthread'],
	shared: ['-shared', '-pthread', `-Wl,--version-script=${path.join(native, 'addon', 'exports.map')}`],
	program: ['-pthread'],
};
// On Alpine a thread has a stack of 128 KB unless the program asks for more, which Node does not. Programs that Zig
// links would ask for 16 MB. The tests' threads must have what the addon's threads have.
const alpine = { ...elf, program: [...elf.program, '-Wl,-z,stack-size=131072'] };
// Node-API comes from the program that loads the addon.
const machO = {
	folders: [],
	addonFolders: [],
	flags: [],
	shared: ['-shared', '-undefined', 'dynamic_lookup', '-Wl,-install_name,@rpath/hearth.node'],
	program: [],
};

const windows = {
	folders: [],
	addonFolders: ['addon/windows'],
	flags: [
		// Windows 10 has PrefetchVirtualMemory and threads that wait on an address.
		'-D_WIN32_WINNT=0x0a00',
		// Without this definition <node_api.h> would export what it declares. addon/windows/ imports it instead.
		'-DNAPI_EXTERN=__declspec(dllimport)',
	],
	shared: ['-shared'],
	program: [],
};

/**
 * By platform:
 * - zig: Zig's name of the platform, with the oldest system that the addon must run on. VS Code 1.100 needs the same or
 *   a newer one. The name of Alpine's C library, musl, has no version, because musl does not version its symbols.
 * - folders, addonFolders: folders below native/ that only this platform compiles, for all programs and for the addon
 *   alone.
 * - flags: for every file. shared: for linking the addon. program: for linking a test program.
 */
export const TARGETS = {
	'linux-x64': { zig: 'x86_64-linux-gnu.2.28', ...elf },
	'linux-arm64': { zig: 'aarch64-linux-gnu.2.28', ...elf },
	'darwin-arm64': { zig: 'aarch64-macos.13.0', ...machO },
	'darwin-x64': { zig: 'x86_64-macos.13.0', ...machO },
	'win32-x64': { zig: 'x86_64-windows-gnu', ...windows },
	'win32-arm64': { zig: 'aarch64-windows-gnu', ...windows },
	'alpine-x64': { zig: 'x86_64-linux-musl', ...alpine },
	'alpine-arm64': { zig: 'aarch64-linux-musl', ...alpine },
};

/** This machine's platform. */
export const HOST = platformName();

const FOLDERS = ['core', 'cpu', 'metal', 'metal/device'];
const ADDON_FOLDERS = ['addon'];
const FLAGS = [
	...['-std=c++20', '-O3', '-fvisibility=hidden'],
	// Kernels fix the order and the rounding of every operation (native/cpu/kernels.h), so the compiler may fuse
	// nothing.
	...['-ffp-contract=off', '-fno-math-errno', '-Wall', '-Wextra'],
];

const AVX512 = [
	...['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vbmi', '-mavx512vnni'],
	...['-mavx2', '-mfma', '-mf16c'],
];

/** Extra flags by file name; files of another architecture compile to nothing. */
export const INSTRUCTION_SETS = {
	x64: {
		'avx2.cpp': ['-mavx2', '-mfma', '-mf16c'],
		'avx512.cpp': AVX512,
		'amx.cpp': [...AVX512, '-mamx-tile', '-mamx-int8'],
	},
	arm64: { 'neon.cpp': ['-march=armv8.2-a+dotprod+fp16'] },
};
/** Zig has its own names for a CPU's features. Its baseline for arm64 on macOS is the M1. */
const ZIG_INSTRUCTION_SETS = {
	x64: INSTRUCTION_SETS.x64,
	arm64: { 'neon.cpp': ['-mcpu=generic+v8_2a+dotprod+fullfp16'] },
};

/**
 * How to compile with the system's compiler for this machine: the flags of every file and of single files by name, the
 * folders with the sources, and the options for linking the addon and the programs.
 */
export function systemPlan() {
	const { folders, addonFolders, flags, shared, program } =
		TARGETS[HOST] ?? { win32: windows, darwin: machO }[process.platform] ?? elf;
	return {
		flags: [...FLAGS, '-g1', ...flags, ...(process.platform === 'darwin' ? ['-mmacosx-version-min=13.0'] : [])],
		perFile: INSTRUCTION_SETS[process.arch] ?? {},
		folders: [...FOLDERS, ...folders],
		addonFolders: [...ADDON_FOLDERS, ...addonFolders],
		shared: process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : shared,
		program,
		programSuffix: process.platform === 'win32' ? '.exe' : '',
	};
}

/** The compiler of the sanitized programs. scripts/system.mjs installs it ("clang"). */
export const SANITIZING_COMPILER = 'clang++-19';

/** The test programs that are built with SANITIZING_COMPILER, as paths below native/. */
export const SANITIZED_PROGRAMS = ['test_kernels.cpp', 'test_thread_pool.cpp', 'hash_logits.cpp'].map(
	(name) => `test/${name}`,
);

/** The system's plan for test programs that end at the first operation whose behaviour is undefined. */
export function sanitizedPlan() {
	const plan = systemPlan();
	const flags = ['-fsanitize=undefined', '-fno-sanitize-recover=all'];
	// With the sanitizer the widest kernels take minutes to compile. It sees the AVX2 kernels, which are alike. Metal
	// has its own sanitizers (build-metal.mjs). None of these files runs here, so they are compiled in the shortest
	// time.
	const unseen = ['avx512.cpp', 'amx.cpp', ...['ceilings.cpp', 'gpu_metal.cpp', 'kernels.cpp', 'metal_backend.cpp']];
	const perFile = { ...plan.perFile };
	for (const name of [...unseen, 'self_test.cpp', 'metal_sources.cpp'])
		perFile[name] = [...(perFile[name] ?? []), '-fno-sanitize=all', '-O0'];
	const program = [...plan.program, ...flags, '-fuse-ld=lld'];
	return { ...plan, flags: [...plan.flags, '-O1', '-g0', ...flags], perFile, program };
}

/**
 * How to compile with `zig c++` for one of TARGETS; the result is like that of systemPlan. @throws Error for any other
 * platform
 */
export function zigPlan(target) {
	if (!Object.hasOwn(TARGETS, target))
		throw new Error(`there is no platform ${target}; choose from ${Object.keys(TARGETS).join(', ')}`);
	const { zig, folders, addonFolders, flags, shared, program } = TARGETS[target];
	// The optimisation level when linking is that of the C++ library, which Zig compiles from source.
	const link = ['-target', zig, '-O2', '-s'];
	return {
		flags: [...FLAGS, '-g0', '-target', zig, ...flags],
		perFile: ZIG_INSTRUCTION_SETS[target.split('-')[1]] ?? {},
		folders: [...FOLDERS, ...folders],
		addonFolders: [...ADDON_FOLDERS, ...addonFolders],
		shared: [...link, ...shared],
		program: [...link, ...program],
		programSuffix: target.startsWith('win32') ? '.exe' : '',
	};
}
