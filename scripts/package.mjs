// Builds for release and packs the extension for this platform into a VSIX.
// usage: node scripts/package.mjs [--out FILE]   prints the file and its size
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createVSIX } from '@vscode/vsce';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Packs into `file` (default: hearth-PLATFORM-VERSION.vsix in the project's folder); resolves to its path. */
export async function packageExtension(file) {
	const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
	const target = `${process.platform}-${process.arch}`;
	const vsix = path.resolve(file ?? path.join(root, `${manifest.name}-${target}-${manifest.version}.vsix`));
	const build = spawnSync(process.execPath, [path.join(root, 'scripts', 'build.mjs'), '--production'], {
		stdio: ['ignore', 2, 2],
	});
	if (build.status !== 0) throw new Error('the build failed; see its messages above');

	// VS Code shows the README as the extension's page, where the repository's pictures do not load.
	const readme = path.join('dist', 'README.md');
	const text = readFileSync(path.join(root, 'README.md'), 'utf8');
	writeFileSync(path.join(root, readme), text.replace(/^!\[.*\]\(docs\/.*\)\n+/gm, ''));
	mkdirSync(path.dirname(vsix), { recursive: true });
	await createVSIX({
		cwd: root,
		packagePath: vsix,
		target,
		dependencies: false,
		readmePath: readme,
		rewriteRelativeLinks: false,
		allowMissingRepository: true,
	});
	return vsix;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	try {
		const { values } = parseArgs({ options: { out: { type: 'string' } } });
		const file = await packageExtension(values.out);
		console.log(`${path.relative(process.cwd(), file)}: ${(statSync(file).size / 1e6).toFixed(2)} MB`);
	} catch (error) {
		console.error(`package: ${error.message}`);
		process.exitCode = 1;
	}
}
