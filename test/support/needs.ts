// What a test needs and a machine may lack. A test or a suite has `needs(…)` as its options. It is skipped when a need
// is not met, and `npm test` says at its end how many tests were skipped and why.
import { existsSync } from 'node:fs';
import type { TestContext, TestOptions } from 'vitest';
import { loadNative } from '../../native/index';
import { INSTRUCTION_SETS } from '../../native/targets.mjs';
import type { Unmet } from '../../scripts/skipped.mjs';

/** `cure` names what would have to be installed. An unmet need without a cure cannot be met on this machine. */
export interface Need extends Unmet {
	met: boolean;
}

declare module 'vitest' {
	interface TaskMeta {
		/** Why a test was skipped; `scripts/skipped.mjs` reads it. */
		unmet?: Unmet;
	}
}

/**
 * Options of a test, or of a suite and thus of all its tests. The reason of the skip is the first need that is not met.
 */
export function needs(...all: Need[]): TestOptions {
	const unmet = all.find(({ met }) => !met);
	return unmet ? { skip: true, meta: { unmet: unmetOf(unmet) } } : {};
}

/** Skips a test that has begun. */
export function skipNow({ task, skip }: TestContext, reason: string): void {
	task.meta.unmet = { reason };
	skip(reason);
}

/**
 * A need that is met by installing something. The installation is tried at once; `reason` says what to report when it
 * fails.
 */
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
/** Root may read and write any file, so tests of permissions cannot run as root. */
export const notRoot: Need = { met: process.getuid?.() !== 0, reason: 'not for root' };
export const fullDevice: Need = { met: existsSync('/dev/full'), reason: 'no /dev/full' };

/** The kernel sets of this architecture except the reference. This processor may lack some of them. */
export const kernelSets: string[] = [
	...Object.keys(INSTRUCTION_SETS[process.arch as keyof typeof INSTRUCTION_SETS] ?? {}).map((file) =>
		file.replace('.cpp', ''),
	),
	'portable',
];

/** The need for a processor that runs the kernels of this set. */
export function kernels(set: string): Need {
	return {
		met: loadNative()
			.cpuInfo()
			.kernels.some((name) => name === set),
		reason: `no ${set} on this processor`,
	};
}
