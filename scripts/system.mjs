// Finds what the set-up needs from the system and npm does not carry: a C++ compiler, a Chromium, a font, pip and more.
// On Debian and Ubuntu as root it installs what is missing; everywhere else it names that in one line.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

/** The folder where Debian keeps the libraries of Arm Linux. */
export const ARM_ROOT = '/usr/aarch64-linux-gnu';

const NEEDS = {
	compiler: {
		found: () => Boolean(process.env.CXX) || ['c++', 'g++', 'clang++', 'cl.exe'].some(which) || msvcInstalled(),
		debian: ['g++'],
		otherwise: {
			darwin: 'a C++ compiler (xcode-select --install)',
			win32: 'a C++ compiler (Visual Studio 2022 Build Tools, "Desktop development with C++")',
			linux: 'a C++20 compiler (for example: sudo apt-get install g++)',
		},
	},
	browser: {
		found: () => findBrowser() !== undefined,
		debian: ['chromium'],
		otherwise: {
			darwin: 'Google Chrome or Chromium (https://www.google.com/chrome)',
			win32: 'Google Chrome (https://www.google.com/chrome)',
			linux: 'Chromium or Google Chrome (for example: sudo apt-get install chromium)',
		},
	},
	font: {
		found: () => process.platform !== 'linux' || hasFont('/usr/share/fonts'),
		debian: ['fonts-dejavu-core'],
		otherwise: { linux: 'a font (for example: sudo apt-get install fonts-dejavu-core)' },
	},
	// The tests of the Metal kernels compile these for the CPU with clang.
	clang: {
		found: () => Boolean(which('clang++-19') && which('ld.lld-19') && which('llvm-symbolizer-19')) && hasSanitizers(),
		debian: ['clang-19', 'lld-19', 'llvm-19', 'libclang-rt-19-dev'],
		otherwise: {
			linux: 'clang 19 with its sanitizers (sudo apt-get install clang-19 lld-19 llvm-19 libclang-rt-19-dev)',
		},
	},
	// Pip fetches Zig, which compiles for other platforms.
	pip: {
		found: () => findPip() !== undefined,
		debian: ['python3-pip'],
		otherwise: {
			darwin: 'Python 3 with pip (xcode-select --install)',
			win32: 'Python 3 with pip (https://www.python.org/downloads)',
			linux: 'Python 3 with pip (for example: sudo apt-get install python3-pip)',
		},
	},
	// Tests of the Arm Linux build need these on other machines: an emulator, and the libraries that a program expects
	// there.
	arm: {
		found: () => Boolean(which('qemu-aarch64-static')) && existsSync(`${ARM_ROOT}/lib/libstdc++.so.6`),
		debian: ['qemu-user-static', 'libc6-arm64-cross', 'libstdc++6-arm64-cross'],
		otherwise: {
			linux: 'an Arm emulator (sudo apt-get install qemu-user-static libc6-arm64-cross libstdc++6-arm64-cross)',
		},
	},
};

function hasSanitizers() {
	const folder = '/usr/lib/llvm-19/lib/clang/19/lib/linux';
	return existsSync(folder) && readdirSync(folder).some((file) => file.startsWith('libclang_rt.msan'));
}

/** The command that runs pip, as an array, or undefined. */
export function findPip() {
	const works = (python) => spawnSync(python, ['-m', 'pip', '--version'], { stdio: 'ignore' }).status === 0;
	const python = (process.platform === 'win32' ? ['py', 'python'] : ['python3', 'python']).find(works);
	return python && [python, '-m', 'pip'];
}

/** The full path of a command on PATH, or undefined. */
export function which(command) {
	for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
		const file = path.join(folder, command);
		if (folder && existsSync(file)) return file;
	}
	return undefined;
}

/** The full path of an installed Chromium or Chrome, or undefined. `HEARTH_BROWSER` overrides it. */
export function findBrowser() {
	const candidates = {
		darwin: [
			'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
			'/Applications/Chromium.app/Contents/MacOS/Chromium',
		],
		win32: ['PROGRAMFILES', 'PROGRAMFILES(X86)', 'LOCALAPPDATA']
			.map((name) => process.env[name])
			.filter(Boolean)
			.map((folder) => path.join(folder, 'Google', 'Chrome', 'Application', 'chrome.exe')),
	}[process.platform] ?? [
		which('chromium'),
		which('chromium-browser'),
		which('google-chrome'),
		which('google-chrome-stable'),
	];
	return [process.env.HEARTH_BROWSER, ...candidates].find((file) => file && existsSync(file));
}

/**
 * Makes sure that `needs` (keys of NEEDS) are there. When some of them cannot be installed from here, it throws one
 * line that names all that is missing.
 */
export function ensureSystem(needs, log = console.error) {
	const missing = needs.filter((need) => !NEEDS[need].found());
	if (missing.length === 0) return;
	if (process.platform === 'linux' && process.getuid?.() === 0 && which('apt-get')) {
		const packages = missing.flatMap((need) => NEEDS[need].debian);
		log(`installing ${packages.join(', ')} (apt-get)`);
		const apt = (...args) =>
			spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=600', '-qq', ...args], {
				env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
				stdio: ['ignore', 'ignore', 'inherit'],
			});
		apt('update');
		apt('install', '-y', '--no-install-recommends', ...packages);
	}
	const still = missing.filter((need) => !NEEDS[need].found());
	if (still.length > 0) {
		const names = still.map((need) => NEEDS[need].otherwise[process.platform] ?? NEEDS[need].otherwise.linux);
		throw new Error(`please install ${names.join(' and ')}, then run this again`);
	}
}

function msvcInstalled() {
	const installer = process.env['PROGRAMFILES(X86)'];
	return (
		process.platform === 'win32' &&
		installer !== undefined &&
		existsSync(path.join(installer, 'Microsoft Visual Studio', 'Installer', 'vswhere.exe'))
	);
}

function hasFont(folder) {
	if (!existsSync(folder)) return false;
	return readdirSync(folder, { recursive: true }).some((file) => /\.(ttf|otf|ttc)$/i.test(String(file)));
}
