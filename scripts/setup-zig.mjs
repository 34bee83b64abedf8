// Installs Zig, which cross-compiles the addon: `zig c++` is clang with the headers and libraries of every platform.
// Pip fetches it from PyPI once into the cache folder and checks it against the hashes below.
// usage: node scripts/setup-zig.mjs   prints the path of the program
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, installOnce } from './cache.mjs';
import { ensureSystem, findPip } from './system.mjs';

const VERSION = '0.17.1';
/** SHA-256 of this version's files on PyPI, one for each platform. `uv pip compile --generate-hashes` lists them. */
const HASHES = [
	'09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23',
	'27a8da5f8eaa0e76ebbc7c2594130ed4646c1101ada2ce0aa86fe580c74154b9',
	'4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97',
	'69c3dfc3aff6a297ec4017aa904782c0e450eb988982d7f675d83edce27526fb',
	'7ec229ead4a08f3bc537ed33fa8c0f811739b81a0d05afbea89db30afb4df1cc',
	'87f24e5cdca55f5d47c1e20570eebb61a53957fafe4c35c69740e13affe407ba',
	'ae28f1f1150b95c8b1bb5e185d18e6c542877dc480e2476ccc81dac41f191b71',
	'b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e',
	'd0549d5db63961ad9ed83ef628a45e3309542410dbcb6010116f4f2a3274d966',
	'd3bf27478d4593f2df7daf5c59b616a543b8f9e2cc9235bef84d8e54862a4334',
	'd65ae4223b0c351cb3b4596262b8d9773acc9ca94ef8ea9b5fe3ddfa07dd204f',
	'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54',
];

/** The path of an installed Zig, or undefined. `HEARTH_ZIG` overrides it. */
export function findZig() {
	const program = process.env.HEARTH_ZIG ?? programIn(zigFolder());
	return existsSync(program) ? program : undefined;
}

/**
 * Installs Zig unless it is there, and returns the path of its program. Throws an error of one line when it cannot be
 * installed.
 */
export async function setupZig(log = console.error) {
	const found = findZig();
	if (found) return found;
	if (process.env.HEARTH_ZIG) throw new Error(`HEARTH_ZIG names ${process.env.HEARTH_ZIG}, which does not exist`);
	ensureSystem(['pip'], log);
	const folder = zigFolder();
	log(`installing zig ${VERSION} from PyPI into ${folder} (once, about 410 MB)`);
	await installOnce(folder, (partial) => {
		const requirements = path.join(partial, 'requirements.txt');
		writeFileSync(requirements, `ziglang==${VERSION}${HASHES.map((hash) => ` --hash=sha256:${hash}`).join('')}\n`);
		const [command, ...args] = [
			...findPip(),
			...['install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:'],
			...['--require-hashes', '--target', partial, '--requirement', requirements],
		];
		try {
			execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
		} catch (error) {
			const reason = String(error.stderr ?? error.message).match(/^ERROR: .*/m)?.[0] ?? error.message;
			throw new Error(
				`cannot install zig ${VERSION} (pip: ${reason.replace('ERROR: ', '')}); install it yourself and set HEARTH_ZIG to the program`,
			);
		}
	});
	return programIn(folder);
}

/** The folder where Zig keeps what it has compiled. The C and C++ libraries of each platform take it a minute. */
export function zigCache() {
	return path.join(cacheFolder(), 'zig', `cache-${VERSION}`);
}

function zigFolder() {
	return path.join(cacheFolder(), 'zig', `zig-${VERSION}-${process.platform}-${process.arch}`);
}

function programIn(folder) {
	return path.join(folder, 'ziglang', process.platform === 'win32' ? 'zig.exe' : 'zig');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	try {
		console.log(await setupZig());
	} catch (error) {
		console.error(`setup-zig: ${error.message}`);
		process.exitCode = 1;
	}
}
