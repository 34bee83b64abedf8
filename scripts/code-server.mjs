// Runs the workbench that setup-vscode.mjs installed: VS Code served to a browser on this machine. Its settings,
// extensions and sockets are in one folder, and it has no marketplace and no telemetry.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { endProcesses, newMarker } from './processes.mjs';

/** Settings that keep the workbench quiet: it asks nothing of the network and shows no tips and no first-run pages. */
export const quietSettings = {
	'telemetry.telemetryLevel': 'off',
	'security.workspace.trust.enabled': false,
	'workbench.startupEditor': 'none',
	'workbench.tips.enabled': false,
	'workbench.enableExperiments': false,
	'workbench.settings.enableNaturalLanguageSearch': false,
	'workbench.secondarySideBar.defaultVisibility': 'hidden',
	'update.mode': 'none',
	'update.showReleaseNotes': false,
	'extensions.autoUpdate': false,
	'extensions.autoCheckUpdates': false,
	'extensions.ignoreRecommendations': true,
	// This hides Copilot's views. Inline completions of other extensions are not affected.
	'chat.disableAIFeatures': true,
	'chat.commandCenter.enabled': false,
	'git.openRepositoryInParentFolders': 'never',
	'typescript.disableAutomaticTypeAcquisition': true,
	'npm.fetchOnlinePackageInfo': false,
	'json.schemaDownload.enable': false,
};

/**
 * Writes the settings of the user whose data is in `folder`. Hearth's settings are also written for the machine: VS
 * Code in a browser reads settings of scope `machine` only from there.
 */
export function writeUserSettings(folder, settings) {
	const ours = Object.fromEntries(Object.entries(settings).filter(([key]) => key.startsWith('hearth.')));
	for (const [name, values] of Object.entries({ User: settings, Machine: ours })) {
		const target = path.join(folder, 'user-data', name);
		mkdirSync(target, { recursive: true });
		writeFileSync(path.join(target, 'settings.json'), `${JSON.stringify(values, undefined, '\t')}\n`);
	}
}

function commonArguments(folder) {
	const config = path.join(folder, 'config.yaml');
	writeFileSync(config, 'auth: none\n'); // else code-server writes a file with a password into the user's own folder
	return [
		'--config',
		config,
		'--user-data-dir',
		path.join(folder, 'user-data'),
		'--extensions-dir',
		path.join(folder, 'extensions'),
	];
}

function environment(variables) {
	const env = {
		...process.env,
		EXTENSIONS_GALLERY: '{"serviceUrl":""}', // without this, it would ask open-vsx.org
		...variables,
	};
	for (const name of Object.keys(env)) {
		// code-server obeys PORT. In a terminal of VS Code, it would also take that window's VSCODE_* variables for its
		// own.
		if (name === 'PORT' || name.startsWith('VSCODE_') || name.startsWith('npm_')) delete env[name];
	}
	return env;
}

/** Installs a VSIX into the workbench data in `folder`. */
export async function installExtension(workbench, folder, vsix, variables = {}) {
	mkdirSync(folder, { recursive: true });
	const child = spawn(workbench.node, [workbench.entry, ...commonArguments(folder), '--install-extension', vsix], {
		env: environment(variables),
		stdio: ['ignore', 'pipe', 'pipe'],
	});
	let output = '';
	child.stdout.on('data', (data) => {
		output += data;
	});
	child.stderr.on('data', (data) => {
		output += data;
	});
	const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
	if (code !== 0 || !output.includes('successfully installed')) {
		throw new Error(`installing ${vsix} failed:\n${output.trim()}`);
	}
}

/**
 * Starts the server on 127.0.0.1. Resolves when it answers, to `{ address, marker, logFile, ended, stop }`. `port` 0
 * takes a free port. `ended` resolves when the server has ended for whatever reason. `stop` ends every process of the
 * run and resolves to those that did not end by themselves within `graceMilliseconds`.
 */
export async function startCodeServer(workbench, { folder, port = 0, variables = {} }) {
	mkdirSync(folder, { recursive: true });
	const marker = newMarker();
	// The path of a Unix socket must stay below 108 bytes, and by default the sockets would stay behind in /tmp.
	const sockets = mkdtempSync(path.join(os.platform() === 'darwin' ? '/tmp' : os.tmpdir(), 'hearth-'));
	const logFile = path.join(folder, 'server.log');
	const log = openSync(logFile, 'w');
	const server = spawn(
		process.execPath,
		[
			path.join(import.meta.dirname, 'guard.mjs'),
			...[workbench.node, workbench.entry],
			...commonArguments(folder),
			...['--auth', 'none', '--bind-addr', `127.0.0.1:${port}`],
			'--disable-telemetry',
			'--disable-update-check',
			'--disable-workspace-trust',
			'--disable-getting-started-override',
			'--ignore-last-opened',
		],
		{
			env: environment({ XDG_RUNTIME_DIR: sockets, ...variables, ...marker }),
			stdio: ['pipe', log, log],
			detached: true,
		},
	);
	closeSync(log);
	let hasEnded = false;
	const ended = new Promise((resolve) => {
		const end = () => {
			hasEnded = true;
			resolve();
		};
		server.once('exit', end).once('error', end);
	});

	const stop = async (graceMilliseconds = 10_000) => {
		try {
			process.kill(-server.pid, 'SIGTERM'); // the whole process group
		} catch {
			// The server has ended already.
		}
		const left = await endProcesses(marker, graceMilliseconds);
		rmSync(sockets, { recursive: true, force: true });
		return left;
	};

	try {
		for (;;) {
			const address = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(readFileSync(logFile, 'utf8'))?.[1];
			if (address && (await fetch(`${address}/healthz`).catch(() => undefined))?.ok) {
				return { address, marker, logFile, ended, stop };
			}
			if (hasEnded) throw new Error(`code-server ended at once:\n${readFileSync(logFile, 'utf8').trim()}`);
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
	} catch (error) {
		await stop(0);
		throw error;
	}
}
