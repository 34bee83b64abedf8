// The folder for downloads that outlive a clone. An install into it is complete or does not happen at all.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** The folder where downloads that outlive a clone are kept. `HEARTH_CACHE` overrides it. */
export function cacheFolder() {
	if (process.env.HEARTH_CACHE) return path.resolve(process.env.HEARTH_CACHE);
	const base = {
		darwin: path.join(os.homedir(), 'Library', 'Caches'),
		win32: process.env.LOCALAPPDATA ?? path.join(os.homedir(), 'AppData', 'Local'),
	}[process.platform];
	return path.join(base ?? process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'hearth');
}

/**
 * Makes `folder`: `fill` fills an empty folder beside it, which is renamed into place once it is complete. An
 * interrupted install is thus never taken for a complete one, and two installs at once do no harm. When `fill` throws,
 * nothing is left and the error is passed on.
 */
export async function installOnce(folder, fill) {
	if (existsSync(folder)) return;
	const parent = path.dirname(folder);
	mkdirSync(parent, { recursive: true });
	removeAbandoned(parent);
	const partial = `${folder}.partial-${process.pid}`;
	rmSync(partial, { recursive: true, force: true });
	mkdirSync(partial);
	try {
		await fill(partial);
		renameIntoPlace(partial, folder);
	} finally {
		rmSync(partial, { recursive: true, force: true });
	}
}

function renameIntoPlace(from, to) {
	try {
		renameSync(from, to);
	} catch (error) {
		if (!existsSync(to)) throw error; // else another process finished first: its install serves as well
	}
}

/** Removes the partial installs of processes that were killed. */
function removeAbandoned(parent) {
	for (const name of readdirSync(parent)) {
		const pid = Number(/\.partial-(\d+)$/.exec(name)?.[1]);
		const folder = path.join(parent, name);
		if (pid && !isAlive(pid) && Date.now() - statSync(folder).mtimeMs > 3_600_000) {
			rmSync(folder, { recursive: true, force: true });
		}
	}
}

function isAlive(pid) {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return error.code === 'EPERM';
	}
}
