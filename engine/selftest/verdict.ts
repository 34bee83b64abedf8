// The last self-test's verdict on a GPU of this machine, kept on disk. `auto` passes over a GPU that computed wrongly.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Device, DeviceId } from '../../native/index';
import { VERSION } from '../version';

export interface Verdict {
	/** One line that says which kernels gave wrong results. */
	reason: string;
	/** The GPU as its driver names it. A verdict holds for this GPU only. */
	device: string;
	/** The version of Hearth, for which alone the verdict holds. */
	version: string;
	/** The release of the operating system, for which alone the verdict holds. */
	system: string;
	createdAt: string;
}

/**
 * The folder for what Hearth remembers about this machine. The environment variable `HEARTH_STATE` names another one.
 */
export function stateFolder(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
	if (env['HEARTH_STATE']) return env['HEARTH_STATE'];
	const home = os.homedir();
	if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'hearth');
	if (platform === 'win32') return path.join(env['LOCALAPPDATA'] ?? path.join(home, 'AppData', 'Local'), 'hearth');
	return path.join(env['XDG_STATE_HOME'] ?? path.join(home, '.local', 'state'), 'hearth');
}

const file = (id: DeviceId) => path.join(stateFolder(), `${id}-off.json`);
const hardwareOf = ({ hardware, name }: Device) => hardware ?? name;

/**
 * The verdict on a device, if it holds for this version of Hearth and of the system. Undefined where nothing is known
 * against the device.
 */
export function readVerdict(device: Device): Verdict | undefined {
	let verdict: Partial<Verdict> | null;
	try {
		verdict = JSON.parse(readFileSync(file(device.id), 'utf8')) as Partial<Verdict> | null;
	} catch {
		return undefined;
	}
	const { reason, createdAt } = verdict ?? {};
	if (typeof reason !== 'string' || typeof createdAt !== 'string') return undefined;
	const same = verdict?.version === VERSION && verdict.system === os.release();
	return same && verdict?.device === hardwareOf(device) ? (verdict as Verdict) : undefined;
}

/** Turns the device off for `auto`. */
export function turnOff(device: Device, reason: string): void {
	const verdict: Verdict = {
		...{ reason, device: hardwareOf(device), version: VERSION, system: os.release() },
		createdAt: new Date().toISOString(),
	};
	mkdirSync(stateFolder(), { recursive: true });
	writeFileSync(file(device.id), `${JSON.stringify(verdict, null, 2)}\n`);
}

/** Lets `auto` use the device again. */
export function turnOn({ id }: Device): void {
	rmSync(file(id), { force: true });
}
