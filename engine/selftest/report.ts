// The report of a self-test.
import type { DeviceId, KernelCheck } from '../../native/index';

/** A check of a whole model on one device: against the reference, or against itself in other steps. */
export interface WholeModelCheck {
	backend: DeviceId;
	what: string;
	/** Mean Kullback–Leibler divergence from the reference in nats, where that was measured. */
	divergence?: number;
	ok: boolean;
	/** What is wrong, in words. Absent where the check passed. */
	problem?: string;
}

/** The self-test's result for a GPU. */
export interface GpuResult {
	id: DeviceId;
	/** The name that messages use, e.g. Metal. */
	name: string;
	/**
	 * `ok`: it passed; `on-again`: it passed after an earlier self-test had failed; `off`: it computes wrongly, and
	 * `auto` passes over it from now on; `absent`: it cannot be used at all, for `reason`; `untested`: the self-test was
	 * for another device.
	 */
	state: 'ok' | 'on-again' | 'off' | 'absent' | 'untested';
	/** The GPU as its driver names it. */
	device?: string;
	reason?: string;
}

export interface SelfTestReport {
	createdAt: string;
	version: string;
	machine: { cpu: string; cores: number; memoryBytes: number; platform: string; features: string[] };
	seed: number;
	sizes: 'small' | 'full';
	kernels: KernelCheck[];
	models: WholeModelCheck[];
	/** Every GPU that this build knows how to use. */
	gpus: GpuResult[];
}

export interface SelfTestResult {
	passed: boolean;
	/** The verdict in one or two sentences. */
	summary: string;
	/** The whole report, to attach to a bug. */
	markdown: string;
	report: SelfTestReport;
}
