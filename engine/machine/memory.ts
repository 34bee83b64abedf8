// How much memory this machine has, and how much of it a model could take without pushing out other processes.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/**
 * Memory of the machine, or of its container where that has a limit. `availableBytes` can be taken without pushing out
 * other processes.
 */
export interface MachineMemory {
	totalBytes: number;
	availableBytes: number;
}

/** Reads a file of the system; undefined where there is no such file. */
export type ReadSystemFile = (file: string) => string | undefined;

/** The memory of this machine, or of its container where that has a limit. */
export function machineMemory(): MachineMemory {
	const totalBytes = os.totalmem();
	switch (process.platform) {
		case 'linux':
			return linuxMemory(readSystemFile, { totalBytes, availableBytes: os.freemem() });
		case 'darwin':
			return { totalBytes, availableBytes: Math.min(totalBytes, macAvailableBytes() ?? os.freemem()) };
		default:
			return { totalBytes, availableBytes: os.freemem() };
	}
}

/**
 * The memory of a Linux machine. Available is MemAvailable, the kernel's own estimate, which includes the file cache.
 * Each control group of the process limits it: a group's usage counts without the file cache, which can be given up,
 * too. https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
 */
export function linuxMemory(read: ReadSystemFile, fallback: MachineMemory): MachineMemory {
	const field = (name: string) => {
		const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(read('/proc/meminfo') ?? '')?.[1];
		return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
	};
	let totalBytes = field('MemTotal') ?? fallback.totalBytes;
	let availableBytes = field('MemAvailable') ?? fallback.availableBytes;
	for (const group of controlGroups(read)) {
		totalBytes = Math.min(totalBytes, group.limit);
		availableBytes = Math.min(availableBytes, Math.max(0, group.limit - group.used));
	}
	return { totalBytes, availableBytes: Math.min(availableBytes, totalBytes) };
}

interface ControlGroup {
	limit: number;
	/** Bytes in use, without the file cache. */
	used: number;
}

/** The control groups of this process that have a limit, from its own group up to the root. */
function controlGroups(read: ReadSystemFile): ControlGroup[] {
	const groups: ControlGroup[] = [];
	for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
		const [, controllers, name] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
		if (controllers === undefined || name === undefined) continue;
		const unified = controllers === '';
		if (!unified && !controllers.split(',').includes('memory')) continue;
		const root = unified ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';
		const files = unified
			? { limit: 'memory.max', usage: 'memory.current', cache: ['inactive_file', 'active_file'] }
			: {
					limit: 'memory.limit_in_bytes',
					usage: 'memory.usage_in_bytes',
					cache: ['total_inactive_file', 'total_active_file'],
				};
		// In a container the group may have its name on the host, while only the root of the groups is mounted.
		for (let at = name; ; at = path.posix.dirname(at)) {
			const file = (of: string) => read(path.posix.join(root, at, of));
			const limit = Number(file(files.limit)?.trim() || Number.NaN);
			const usage = Number(file(files.usage)?.trim() || Number.NaN);
			if (Number.isFinite(limit) && Number.isFinite(usage)) {
				const statistics = file('memory.stat') ?? '';
				const cached = files.cache.reduce(
					(sum, key) => sum + Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(statistics)?.[1] ?? 0),
					0,
				);
				groups.push({ limit, used: Math.max(0, usage - cached) });
			}
			if (at === '/') break;
		}
	}
	return groups;
}

/**
 * The available memory by macOS's `vm_stat`. macOS calls only empty pages free, but it also gives up inactive and
 * speculative pages when memory is asked for.
 */
export function availableOfVmStat(text: string): number | undefined {
	const pageBytes = /page size of (\d+) bytes/.exec(text)?.[1];
	const pages = (name: string) => Number(new RegExp(`^Pages ${name}:\\s+(\\d+)\\.`, 'm').exec(text)?.[1] ?? Number.NaN);
	const available = pages('free') + pages('inactive') + pages('speculative');
	return pageBytes === undefined || Number.isNaN(available) ? undefined : available * Number(pageBytes);
}

function macAvailableBytes(): number | undefined {
	try {
		return availableOfVmStat(execFileSync('/usr/bin/vm_stat', { encoding: 'utf8', timeout: 2000 }));
	} catch {
		return undefined;
	}
}

function readSystemFile(file: string): string | undefined {
	try {
		return readFileSync(file, 'utf8');
	} catch {
		return undefined;
	}
}
