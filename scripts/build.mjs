// Builds everything into dist/: the native addon, the extension, the command line with the engine, and the webview
// pages.
// usage: node scripts/build.mjs [--watch] [--production] [--skip-native] [--out FOLDER]
//   --out   everything but the addon goes to this folder
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, context } from 'esbuild';
import { buildNative } from '../native/build.mjs';
import { ensureSystem } from './system.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values: options } = parseArgs({
	options: {
		...{ watch: { type: 'boolean' }, production: { type: 'boolean' }, 'skip-native': { type: 'boolean' } },
		out: { type: 'string', default: 'dist' },
	},
});
const production = options.production === true;

const common = {
	absWorkingDir: root,
	bundle: true,
	minify: production,
	sourcemap: production ? false : 'linked',
	logLevel: 'warning',
	legalComments: 'linked',
};
const node = { ...common, platform: 'node', target: 'node20', format: 'cjs', mainFields: ['module', 'main'] };
const page = { ...common, platform: 'browser', target: 'es2022', format: 'iife', loader: { '.ttf': 'file' } };

const bundles = [
	{ ...node, entryPoints: ['extension/extension.ts'], outfile: 'dist/extension.js', external: ['vscode'] },
	{
		...node,
		entryPoints: ['engine/cli/hearth.ts'],
		outfile: 'dist/hearth.js',
		external: ['*/o200k-ranks.js'],
	},
	// `hearth bench --peer llama.cpp` measures this process. Only the tests depend on node-llama-cpp.
	{
		...node,
		entryPoints: ['engine/benchmark/llama-peer.ts'],
		outfile: 'dist/llama-peer.js',
		external: ['node-llama-cpp'],
	},
	// Only `hearth synth` reads these 2 MB. They are a file of their own, so that no other start has to parse them.
	{
		...node,
		entryPoints: ['engine/synth/o200k-ranks.ts'],
		outfile: 'dist/o200k-ranks.js',
		charset: 'utf8',
		sourcemap: false,
	},
	{
		...page,
		entryPoints: ['webview/chat/chat.ts', 'webview/benchmark/benchmark.ts'],
		outdir: 'dist/webview',
		entryNames: '[name]',
	},
]
	.filter((b) => b.entryPoints.every((file) => existsSync(path.join(root, file))))
	.map(({ outfile, outdir, ...rest }) => ({
		...rest,
		...(outfile ? { outfile: placed(outfile) } : { outdir: placed(outdir) }),
	}));

/** Moves a path below dist/ into the folder that `--out` names. */
function placed(file) {
	return path.resolve(root, options.out, path.relative('dist', file));
}

if (!options['skip-native']) {
	ensureSystem(['compiler']);
	await buildNative();
}
if (options.watch) {
	for (const bundle of bundles) await (await context(bundle)).watch();
} else {
	await Promise.all(bundles.map((bundle) => build(bundle)));
}
