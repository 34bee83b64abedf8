#!/usr/bin/env node
// The `hearth` command. In a checkout that has not been built yet, builds it first.
const { existsSync } = require('node:fs');
const { spawnSync } = require('node:child_process');
const path = require('node:path');

const root = path.dirname(__dirname);
const cli = path.join(root, 'dist', 'hearth.js');
if (!existsSync(cli) || !existsSync(path.join(root, 'dist', 'native', 'hearth.node'))) {
	process.stderr.write('hearth: building (once)…\n');
	const built = spawnSync(process.execPath, [path.join(root, 'scripts', 'build.mjs')], {
		stdio: ['ignore', 2, 2],
	});
	if (built.status !== 0) {
		process.stderr.write('hearth: the build failed; run "npm ci && npm run build" and see its messages\n');
		process.exit(1);
	}
}
require(cli);
