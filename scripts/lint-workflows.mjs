// Checks the workflows in .github/workflows with actionlint, a Go program. Go compiles it once into the cache folder
// and verifies its source by the Go checksum database.
// usage: node scripts/lint-workflows.mjs   without Go it says so and checks nothing
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, installOnce } from './cache.mjs';
import { which } from './system.mjs';

const VERSION = '1.7.12';
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const suffix = process.platform === 'win32' ? '.exe' : '';

/**
 * Installs actionlint unless it is there, and returns the path of its program. Throws an error of one line when it
 * cannot be installed.
 */
export async function setupActionlint(log = console.error) {
	const folder = path.join(cacheFolder(), 'actionlint', `${VERSION}-${process.platform}-${process.arch}`);
	await installOnce(folder, (partial) => {
		const go = which(`go${suffix}`);
		if (!go) throw new Error('please install Go (https://go.dev), which compiles actionlint');
		log(`compiling actionlint ${VERSION} into ${folder} (once)`);
		try {
			const env = { ...process.env, GOBIN: partial, GOFLAGS: '' };
			const name = `github.com/rhysd/actionlint/cmd/actionlint@v${VERSION}`;
			execFileSync(go, ['install', name], { env, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
		} catch (error) {
			const reason = String(error.stderr ?? error.message)
				.trim()
				.split('\n')
				.at(-1);
			throw new Error(`cannot install actionlint ${VERSION} (go: ${reason})`);
		}
	});
	return path.join(folder, `actionlint${suffix}`);
}

/**
 * Resolves to the faults of workflow files, one a line; '' when there is none. actionlint also calls other linters that
 * happen to be installed. They are left out, so that every machine reports the same.
 */
export async function lintWorkflows(files, log = console.error) {
	const args = ['-no-color', '-oneline', '-shellcheck=', '-pyflakes=', ...files];
	const { status, stdout, stderr, error } = spawnSync(await setupActionlint(log), args, { encoding: 'utf8' });
	if (error || status > 1) throw new Error(`actionlint: ${error?.message ?? stderr.trim()}`);
	return stdout;
}

/** Paths of the repository's own workflows. */
export function workflows() {
	const folder = path.join(root, '.github', 'workflows');
	return readdirSync(folder).map((name) => path.join(folder, name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	try {
		await setupActionlint();
	} catch (error) {
		console.error(`workflows are not checked: ${error.message}`);
		process.exit(0);
	}
	const faults = await lintWorkflows(workflows());
	process.stdout.write(faults);
	if (faults) process.exitCode = 1;
}
