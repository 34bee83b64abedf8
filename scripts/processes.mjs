// Finds the processes that belong to a run. They inherited its marker, which is a variable of their environment.
// Process groups and parents would not tell, because an engine may outlive the window that started it.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

/** A new marker, `{ [name]: … }`, to be spread into the environment of the run's first process. */
export function newMarker(name = 'HEARTH_RUN') {
	return { [name]: randomUUID() };
}

/** The living processes of a run as `{ pid, command }`. Zombies are not among them. */
export function processesOf(marker) {
	const text = Object.entries(marker)[0].join('=');
	if (process.platform === 'win32') return []; // a process cannot read the environment of others there
	if (process.platform !== 'linux') {
		const { stdout } = spawnSync('ps', ['-axEww', '-o', 'pid=,command='], { encoding: 'utf8', maxBuffer: 2 ** 28 });
		return stdout
			.split('\n')
			.filter((line) => line.includes(text))
			.map((line) => ({ pid: Number.parseInt(line, 10), command: line.trim().replace(/^\d+ /, '') }));
	}
	const found = [];
	for (const name of readdirSync('/proc')) {
		if (!/^\d+$/.test(name)) continue;
		try {
			if (!readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(text)) continue;
			const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
			if (command) found.push({ pid: Number(name), command });
		} catch {
			// The process has ended meanwhile, or it belongs to another user.
		}
	}
	return found;
}

/**
 * Waits for the run's processes to end by themselves. After `graceMilliseconds` it asks the remaining ones to end, and
 * at last kills them. Resolves to the processes that it had to ask.
 */
export async function endProcesses(marker, graceMilliseconds) {
	if (await noneLeft(marker, graceMilliseconds)) return [];
	const left = processesOf(marker);
	for (const signal of ['SIGTERM', 'SIGKILL']) {
		for (const { pid } of processesOf(marker)) {
			try {
				process.kill(pid, signal);
			} catch {
				// The process has ended meanwhile.
			}
		}
		if (await noneLeft(marker, 5_000)) break;
	}
	return left;
}

async function noneLeft(marker, milliseconds) {
	const end = performance.now() + milliseconds;
	while (processesOf(marker).length > 0) {
		if (performance.now() >= end) return false;
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	return true;
}
