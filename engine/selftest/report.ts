// What a self-test reports.
import type { KernelCheck } from '../../native/index';

/** A whole model on one backend: against the reference, or in other steps against itself. */
export interface WholeModelCheck {
	backend: 'cpu' | 'metal';
	what: string;
	/** Mean Kullback–Leibler divergence from the reference in nats, where that was measured. */
	divergence?: number;
	ok: boolean;
	/** What is wrong, in words. */
	problem?: string;
}

export interface SelfTestReport {
	createdAt: string;
	version: string;
	machine: { cpu: string; cores: number; memoryBytes: number; platform: string; features: string[] };
	seed: number;
	sizes: 'small' | 'full';
	kernels: KernelCheck[];
	models: WholeModelCheck[];
	/**
	 * `ok`; `on-again`: it passed after an earlier one had not; `off`: it computes wrongly, and `auto` means the CPU from now on;
	 * `absent`: it cannot be used at all, for `reason`; `untested`.
	 */
	metal: { state: 'ok' | 'on-again' | 'off' | 'absent' | 'untested'; device?: string; reason?: string };
}

export interface SelfTestResult {
	passed: boolean;
	/** The verdict in one or two sentences. */
	summary: string;
	/** The whole report, to attach to a bug. */
	markdown: string;
	report: SelfTestReport;
}
