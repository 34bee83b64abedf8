// Packs the extension for release as one VSIX for each platform, hearth-PLATFORM-VERSION.vsix, with that platform's
// addon.
// usage: node scripts/package.mjs [--target PLATFORM[,PLATFORM...] | --all] [--out FILE | FOLDER]
//   --target   linux-x64, linux-arm64, darwin-arm64, darwin-x64, win32-x64, win32-arm64, alpine-x64, alpine-arm64;
//              compiled with Zig, which is installed once
//   --all      all of them
//   neither    this machine's platform, compiled with Zig if that is installed, else with the system's compiler
//   --out      the file or folder to write (default: the project's folder)
// The script prints each file and its size.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createVSIX } from '@vscode/vsce';
import { buildNative } from '../native/build.mjs';
import { HOST, TARGETS } from '../native/targets.mjs';
import { findZig } from './setup-zig.mjs';
import { ensureSystem } from './system.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const MAX_BYTES = 10e6;

/**
 * Packs a VSIX for each of `targets` (default: this machine) into the folder `out` or, when `out` ends in .vsix, into
 * that file. `compiler` is `zig` or `system`; the system's compiler makes addons for this machine only. Resolves to the
 * files with their targets and sizes. Throws when an addon does not compile or a package is larger than 10 MB.
 */
export async function packageExtension({ targets = [HOST], out = root, compiler = 'zig' } = {}) {
	const oneFile = path.extname(out) === '.vsix';
	if (oneFile && targets.length > 1)
		throw new Error(`${out} is one file, but ${targets.length} platforms are asked for`);
	if (compiler === 'system' && targets.some((target) => target !== HOST))
		throw new Error(`the system's compiler compiles for ${HOST} only`);
	// `vsce package` in the repository would pack this machine's addon, and a README with links to pictures that are not
	// packed. A folder of its own takes each platform's addon in turn, and dist/ stays as it is.
	mkdirSync(path.join(root, 'dist'), { recursive: true });
	const stage = mkdtempSync(path.join(root, 'dist', 'package-'));
	try {
		const manifest = stageCommon(stage);
		const packed = [];
		for (const target of targets) {
			if (compiler === 'system') ensureSystem(['compiler']);
			const { file: addon } = await buildNative(compiler === 'system' ? {} : { target });
			cpSync(addon, path.join(stage, 'dist', 'native', 'hearth.node'));
			const file = path.resolve(oneFile ? out : path.join(out, `${manifest.name}-${target}-${manifest.version}.vsix`));
			mkdirSync(path.dirname(file), { recursive: true });
			await createVSIX({ cwd: stage, packagePath: file, target });
			const bytes = statSync(file).size;
			if (bytes > MAX_BYTES) throw new Error(`${file} has ${(bytes / 1e6).toFixed(1)} MB; 10 MB is the limit`);
			packed.push({ file, target, bytes });
		}
		return packed;
	} finally {
		rmSync(stage, { recursive: true, force: true });
	}
}

/** Puts what the packages of all platforms have in common into a folder, and returns the manifest. */
function stageCommon(stage) {
	const build = spawnSync(
		process.execPath,
		[path.join(root, 'scripts', 'build.mjs'), '--production', '--skip-native', '--out', path.join(stage, 'dist')],
		{ stdio: ['ignore', 2, 2] },
	);
	if (build.status !== 0) throw new Error('the build failed; see its messages above');
	for (const name of ['.vscodeignore', 'media', 'LICENSE', 'CHANGELOG.md']) {
		cpSync(path.join(root, name), path.join(stage, name), { recursive: true });
	}
	const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
	const { scripts, devDependencies, ...shipped } = manifest;
	writeFileSync(path.join(stage, 'package.json'), JSON.stringify(shipped));
	// VS Code shows the README as the extension's page. Pictures of the repository do not load there.
	const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
	writeFileSync(path.join(stage, 'README.md'), readme.replace(/^!\[.*\]\(docs\/.*\)\n+/gm, ''));
	return manifest;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	try {
		const { values } = parseArgs({
			options: { target: { type: 'string' }, all: { type: 'boolean' }, out: { type: 'string' } },
		});
		const { target, all, out } = values;
		const targets = all ? Object.keys(TARGETS) : target?.split(',');
		const compiler = targets || (findZig() && HOST in TARGETS) ? 'zig' : 'system';
		for (const { file, bytes } of await packageExtension({ targets, out, compiler })) {
			console.log(`${path.relative(process.cwd(), file)}: ${(bytes / 1e6).toFixed(2)} MB`);
		}
		if (compiler === 'system') {
			const portable = HOST in TARGETS ? `; with --target ${HOST} it runs on older ones too` : '';
			console.log(`compiled on this system for systems like it${portable}`);
		}
	} catch (error) {
		console.error(`package: ${error.message}`);
		process.exitCode = 1;
	}
}
