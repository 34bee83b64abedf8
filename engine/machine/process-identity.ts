// Which process an id in a file means. Systems use ids again, also for processes that have nothing to do with Hearth.
// On another machine or in another container, the same id means another process. The clock is not used, since users can
// set it.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, readlink } from 'node:fs/promises';
import os from 'node:os';

const ENDED = 'ended';

export interface ProcessIdentity {
	processId: number;
	/** Names the machine and container. Equal ids of one machine mean the same process. */
	machine: string;
	/** When the process began, in a form that is only compared for equality; absent where the system does not say. */
	started?: string;
}

/** The identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
	const started = await startOf(process.pid);
	return { processId: process.pid, machine: await thisMachine(), ...(started !== undefined && { started }) };
}

/**
 * Whether the process lives. `unknown` means that this machine cannot tell the process from another one with its id.
 */
export async function stateOf({
	processId,
	machine,
	started,
}: Partial<ProcessIdentity>): Promise<'alive' | 'dead' | 'unknown'> {
	if (!Number.isSafeInteger(processId) || processId! <= 0) return 'dead';
	// Older versions of Hearth wrote no machine.
	const here = machine === undefined || machine === (await thisMachine());
	if (!here) return 'unknown';
	try {
		process.kill(processId!, 0);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'dead';
	}
	if (started === undefined) return 'unknown';
	const now = await startOf(processId!);
	if (now === undefined) return 'unknown';
	return now === started ? 'alive' : 'dead';
}

async function thisMachine(): Promise<string> {
	// Containers have process ids of their own. Two of them may share a folder and even a host name.
	const namespace = await readlink('/proc/self/ns/pid').catch(() => '');
	return `${os.hostname()} ${namespace}`.trim();
}

/**
 * When a process began, in clock ticks since the system's start. `ended` means that the process has ended and its
 * parent has not yet asked for the result. Undefined where there is no such process, and on systems other than Linux.
 */
export function startTicks(processId: number): string | undefined {
	try {
		const text = readFileSync(`/proc/${processId}/stat`, 'latin1');
		// The second field is the process's name in brackets, which may hold any character. The state follows it. The start
		// is the 22nd field of all.
		const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
		return fields[0] === 'Z' ? ENDED : fields[19];
	} catch {
		return undefined;
	}
}

async function startOf(processId: number): Promise<string | undefined> {
	if (process.platform === 'linux') {
		const ticks = startTicks(processId);
		if (ticks === undefined || ticks === ENDED) return ticks;
		const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '');
		return `${boot.trim()} ${ticks}`;
	}
	if (process.platform !== 'darwin') return undefined;
	return new Promise((resolve) => {
		const options = { timeout: 5000, env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' } };
		execFile('/bin/ps', ['-o', 'lstart=', '-p', String(processId)], options, (error, stdout) =>
			resolve(error ? undefined : stdout.trim() || undefined),
		);
	});
}
