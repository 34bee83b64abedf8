// What the last self-test found wrong with Metal on this machine, kept on disk: `auto` then computes on the CPU.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { VERSION } from '../version';

export interface Verdict {
	/** One line that says which kernels gave wrong results. */
	reason: string;
	device: string;
	/** Of Hearth and of the operating system: the verdict on one does not hold for another. */
	version: string;
	system: string;
	createdAt: string;
}

/** The folder for what Hearth remembers about this machine; `HEARTH_STATE` names another. */
export function stateFolder(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
	if (env['HEARTH_STATE']) return env['HEARTH_STATE'];
	const home = os.homedir();
	if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'hearth');
	if (platform === 'win32') return path.join(env['LOCALAPPDATA'] ?? path.join(home, 'AppData', 'Local'), 'hearth');
	return path.join(env['XDG_STATE_HOME'] ?? path.join(home, '.local', 'state'), 'hearth');
}

const file = () => path.join(stateFolder(), 'metal-off.json');

/** The verdict that holds for this version of Hearth and of the system on `device`; undefined: nothing is known against it. */
export function readVerdict(device: string | undefined): Verdict | undefined {
	let verdict: Partial<Verdict> | null;
	try {
		verdict = JSON.parse(readFileSync(file(), 'utf8')) as Partial<Verdict> | null;
	} catch {
		return undefined;
	}
	const { reason, createdAt } = verdict ?? {};
	if (typeof reason !== 'string' || typeof createdAt !== 'string') return undefined;
	const same = verdict?.version === VERSION && verdict.system === os.release() && verdict.device === device;
	return same ? (verdict as Verdict) : undefined;
}

/** Turns Metal off for `auto`. */
export function turnMetalOff(device: string, reason: string): void {
	const verdict: Verdict = {
		...{ reason, device, version: VERSION, system: os.release(), createdAt: new Date().toISOString() },
	};
	mkdirSync(stateFolder(), { recursive: true });
	writeFileSync(file(), `${JSON.stringify(verdict, null, 2)}\n`);
}

/** Lets `auto` use Metal again. */
export function turnMetalOn(): void {
	rmSync(file(), { force: true });
}
