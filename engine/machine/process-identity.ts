// Which process an id in a file means: ids are used again, also by a process that has nothing to do with us, and mean something
// else on another machine or in another container. No clock takes part, since clocks are set.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, readlink } from 'node:fs/promises';
import os from 'node:os';

const ENDED = 'ended';

export interface ProcessIdentity {
	processId: number;
	/** Where ids like this one mean the same processes. */
	machine: string;
	/** When it began, in a form that is only ever compared; absent where the system does not say. */
	started?: string;
}

/** Of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
	const started = await startOf(process.pid);
	return { processId: process.pid, machine: await thisMachine(), ...(started !== undefined && { started }) };
}

/** Whether the process lives; `unknown` where nothing here can tell it from another one. */
export async function stateOf({
	processId,
	machine,
	started,
}: Partial<ProcessIdentity>): Promise<'alive' | 'dead' | 'unknown'> {
	if (!Number.isSafeInteger(processId) || processId! <= 0) return 'dead';
	// Of an older Hearth, which named no machine.
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
	// Containers have ids of their own and may share a folder, and even a name.
	const namespace = await readlink('/proc/self/ns/pid').catch(() => '');
	return `${os.hostname()} ${namespace}`.trim();
}

/**
 * When a process began, in clock ticks since the system's start; `ended` where it has ended and its parent has not asked about it
 * yet. Only Linux says it: undefined elsewhere, and where there is no such process.
 */
export function startTicks(processId: number): string | undefined {
	try {
		const text = readFileSync(`/proc/${processId}/stat`, 'latin1');
		// The second field, the name in brackets, may hold anything. Behind it, the state comes first; the start is the 22nd field.
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
