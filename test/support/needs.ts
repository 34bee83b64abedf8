// What a test needs and a machine may lack. A test or a suite has `needs(…)` as its options: where a need is not met it is skipped,
// and `npm test` says at its end how many were, and why.
import { existsSync } from 'node:fs';
import type { TestContext, TestOptions } from 'vitest';
import { loadNative } from '../../native/index';
import { INSTRUCTION_SETS } from '../../native/targets.mjs';
import type { Unmet } from '../../scripts/skipped.mjs';

/** `cure`: what would have to be installed. A need without one cannot be met on this machine. */
export interface Need extends Unmet {
	met: boolean;
}

declare module 'vitest' {
	interface TaskMeta {
		/** Why a test was skipped; `scripts/skipped.mjs` reads it. */
		unmet?: Unmet;
	}
}

/** Options of a test, or of a suite and so of all tests in it. The first need that is not met is the reason told. */
export function needs(...all: Need[]): TestOptions {
	const unmet = all.find(({ met }) => !met);
	return unmet ? { skip: true, meta: { unmet: unmetOf(unmet) } } : {};
}

/** Skips a test that has begun. */
export function skipNow({ task, skip }: TestContext, reason: string): void {
	task.meta.unmet = { reason };
	skip(reason);
}

/** A need that is met by installing something, which is tried at once. `reason`: what to say where that fails. */
export async function installed(reason: string, install: () => unknown): Promise<Need> {
	try {
		await install();
		return { met: true, reason };
	} catch (error) {
		const cure = (error as Error).message;
		console.warn(`${reason}: ${cure}`);
		return { met: false, reason, cure };
	}
}

function unmetOf({ reason, cure }: Need): Unmet {
	return cure === undefined ? { reason } : { reason, cure };
}

export const unix: Need = { met: process.platform !== 'win32', reason: 'not for Windows' };
export const linux: Need = { met: process.platform === 'linux', reason: 'for Linux only' };
/** Root may read and write anything. */
export const notRoot: Need = { met: process.getuid?.() !== 0, reason: 'not for root' };
export const fullDevice: Need = { met: existsSync('/dev/full'), reason: 'no /dev/full' };

/** The kernel sets of this architecture, but for the reference; this processor may lack some. */
export const kernelSets: string[] = [
	...Object.keys(INSTRUCTION_SETS[process.arch as keyof typeof INSTRUCTION_SETS] ?? {}).map((file) =>
		file.replace('.cpp', ''),
	),
	'portable',
];

/** A processor that runs the kernels of this set. */
export function kernels(set: string): Need {
	return {
		met: loadNative()
			.cpuInfo()
			.kernels.some((name) => name === set),
		reason: `no ${set} on this processor`,
	};
}
