// Installs a real VS Code workbench from npm alone: code-server (VS Code served to a browser) and the version of
// Node.js that it needs. The cache folder's name has their versions, so that a second run and other clones find the
// same install.
// usage: node scripts/setup-vscode.mjs   prints the folder
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, installOnce } from './cache.mjs';
import { which } from './system.mjs';

const CODE_SERVER = '4.139.1'; // VS Code 1.139.1
const NODE = '24.21.0'; // code-server 4.139 runs on Node 24 only

/**
 * Installs the workbench unless it is there, and returns `{ folder, node, entry }`: its folder, the Node that runs it
 * and code-server's entry file.
 */
export async function setupVscode(log = console.error) {
	if (process.platform === 'win32') {
		throw new Error('please install VS Code (https://code.visualstudio.com): code-server does not run on Windows');
	}
	const ownNode = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');
	const nodePackage = `node-linux-${process.arch}`;
	if (!ownNode && Number(process.versions.node.split('.')[0]) !== 24) {
		throw new Error(
			'please install VS Code with its `code` command, or run this with Node 24, which code-server needs',
		);
	}

	const name = `code-server-${CODE_SERVER}-node-${NODE}-${process.platform}-${process.arch}`;
	const folder = path.join(cacheFolder(), 'vscode', name);
	const nodeIn = (installed) =>
		ownNode ? path.join(installed, 'node_modules', nodePackage, 'bin', 'node') : process.execPath;
	const workbench = {
		folder,
		node: nodeIn(folder),
		entry: path.join(folder, 'node_modules', 'code-server', 'out', 'node', 'entry.js'),
	};
	if (existsSync(folder)) return workbench;

	log(`installing code-server ${CODE_SERVER} from npm into ${folder} (once, about 800 MB)`);
	await installOnce(folder, async (partial) => {
		writeFileSync(path.join(partial, 'package.json'), '{ "private": true }\n');
		const packages = [`code-server@${CODE_SERVER}`, ...(ownNode ? [`${nodePackage}@${NODE}`] : [])];
		await npmInstall(partial, packages);
		// The modules of VS Code and of its built-in extensions are in two further trees, which code-server's install
		// script would fill. That script also downloads and compiles what is not needed here.
		const vscode = path.join(partial, 'node_modules', 'code-server', 'lib', 'vscode');
		await npmInstall(vscode);
		await npmInstall(path.join(vscode, 'extensions'));
		const nodeHeaders = path.join(nodeIn(partial), '..', '..', 'include', 'node');
		await compileAddons(path.join(vscode, 'node_modules'), nodeHeaders);
	});
	return workbench;
}

/** Installs npm packages into a folder without running their install scripts. */
export async function npmInstall(folder, packages = []) {
	const args = ['install', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--no-save', ...packages];
	// Under `npm run`, the environment names the npm that runs this script.
	const npm = process.env.npm_execpath;
	const [command, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
	// `npm run` also passes on the settings of its own project. They are not meant for this one.
	const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
	await run(command, [...first, ...args], { cwd: folder, env });
}

/**
 * Compiles two addons of VS Code. One writes log files; without it every output channel stays empty. The other ends an
 * extension host whose server was killed. They are compiled here because node-gyp would need Python.
 */
async function compileAddons(modules, nodeHeaders) {
	const spdlog = path.join(modules, '@vscode', 'spdlog');
	const addonApi = path.dirname(createRequire(path.join(spdlog, 'index.js')).resolve('node-addon-api'));
	await compileAddon(spdlog, 'spdlog', [
		...['-DNAPI_CPP_EXCEPTIONS', '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', '-DFMT_CONSTEVAL='],
		...['-I', nodeHeaders, '-I', addonApi, '-I', 'deps/spdlog/include', 'src/main.cc', 'src/logger.cc'],
	]);
	await compileAddon(path.join(modules, '@vscode', 'native-watchdog'), 'watchdog', [
		'-I',
		nodeHeaders,
		'src/watchdog.cc',
	]);
}

async function compileAddon(folder, name, args) {
	mkdirSync(path.join(folder, 'build', 'Release'), { recursive: true });
	const shared = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];
	await run(
		process.env.CXX ?? ['c++', 'g++', 'clang++'].find(which) ?? 'c++',
		['-std=c++17', '-O1', '-fPIC', '-fexceptions', '-w', ...shared, ...args, '-o', `build/Release/${name}.node`],
		{ cwd: folder },
	);
}

/** Runs a program to its end. When the program fails, it throws all of the program's output. */
async function run(command, args, options) {
	const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	for (const stream of [child.stdout, child.stderr]) {
		stream.on('data', (data) => {
			output += data;
		});
	}
	const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
	if (code !== 0) throw new Error(`"${path.basename(command)}" in ${options.cwd} failed:\n${output.trim()}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	try {
		console.log((await setupVscode()).folder);
	} catch (error) {
		console.error(`setup-vscode: ${error.message}`);
		process.exitCode = 1;
	}
}
