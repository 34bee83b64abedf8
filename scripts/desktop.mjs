// Runs the desktop's VS Code on the extension in this folder. The instance has data of its own, so that the user's
// windows, settings and extensions are left alone and the instance can be ended as a whole.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { endProcesses, newMarker } from './processes.mjs';
import { which } from './system.mjs';

/** The desktop's `code` command. Undefined when there is no such command or no desktop to show a window on. */
export function findDesktopCode(env = process.env) {
	if (process.platform === 'linux' && !env.DISPLAY && !env.WAYLAND_DISPLAY) return undefined;
	// In a terminal of a remote window, `code` is another program that only talks to that window.
	if (env.VSCODE_IPC_HOOK_CLI) return undefined;
	const inApplication = '/Applications/Visual Studio Code.app/Contents/Resources/app/bin/code';
	return [
		which(process.platform === 'win32' ? 'code.cmd' : 'code'),
		process.platform === 'darwin' ? inApplication : undefined,
	].find((file) => file && existsSync(file));
}

/** Opens `workspace` with the extension in `extension`. Resolves to `{ ended, stop }` as `startCodeServer` does. */
export function startDesktop(code, { folder, extension, workspace }) {
	const marker = newMarker();
	const userData = path.join(folder, 'user-data');
	const args = [
		'--new-window',
		'--wait',
		'--disable-workspace-trust',
		'--skip-welcome',
		`--user-data-dir=${userData}`,
		`--extensions-dir=${path.join(folder, 'extensions')}`,
		`--extensionDevelopmentPath=${extension}`,
		...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), // otherwise VS Code refuses to run as root
		workspace,
	];
	const windows = process.platform === 'win32';
	const child = spawn(windows ? `"${code}"` : code, windows ? args.map((arg) => `"${arg}"`) : args, {
		env: { ...process.env, ...marker },
		stdio: 'ignore',
		shell: windows, // code.cmd is a batch file
		windowsHide: true,
	});
	const ended = new Promise((resolve) => {
		child.once('exit', () => resolve()).once('error', () => resolve());
	});
	const stop = async (graceMilliseconds = 10_000) => {
		try {
			process.kill(Number(readFileSync(path.join(userData, 'code.lock'), 'utf8')), 'SIGTERM'); // VS Code's main process
		} catch {
			// The process has ended, or had not started yet.
		}
		child.kill();
		return endProcesses(marker, graceMilliseconds);
	};
	return { ended, stop };
}
