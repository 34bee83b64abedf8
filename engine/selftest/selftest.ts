// The self-test: all kernels of this machine's processors against plain references, then a whole small model, and on request the
// user's own. What is wrong is said plainly, and Metal is turned off for `auto` if it is Metal.
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type BackendChoice, type KernelCheck, loadNative, type Native } from '../../native/index';
import type { ModelShape } from '../synth/architecture';
import { synthesize } from '../synth/synthesize';
import { VERSION } from '../version';
import type { SelfTestReport, WholeModelCheck } from './report';
import { readVerdict, turnMetalOff, turnMetalOn } from './verdict';
import { checkModel, checkUserModel } from './whole-model';

interface SelfTestOptions {
	/** `auto`: all there is. */
	backend: BackendChoice;
	/** Small shapes: seconds instead of a minute, but speeds that mean little. */
	quick: boolean;
	/** Also compare the backends on this model. */
	model?: string;
	seed?: number;
	signal?: AbortSignal;
	/** Called with what is tested next. */
	onProgress?: (what: string, checksDone: number) => void;
	native?: Native;
}

/** gpt-oss's kind with experts, and the kind of the small models that complete code. */
const SMALL_MODELS: readonly [string, Partial<ModelShape>][] = [
	['a small model', {}],
	[
		'a small dense model',
		{
			...{ architecture: 'qwen3', layers: 2, embedding: 256, feedForward: 256, heads: 4, headsKv: 2, headLength: 64 },
			...{ tied: true, attentionType: 'Q6_K', feedForwardType: 'Q4_K' },
		},
	],
];

/**
 * Runs the self-test and remembers its verdict on Metal.
 * @throws an AbortError when the signal is aborted; then nothing is remembered.
 */
export async function runSelfTest(options: SelfTestOptions): Promise<SelfTestReport> {
	const { signal, seed = 1, quick } = options;
	const native = options.native ?? loadNative();
	const metal = native.metalInfo();
	const kernels: KernelCheck[] = [];
	const models: WholeModelCheck[] = [];
	const progress = (what: string) => options.onProgress?.(what, kernels.length + models.length);
	let unusable = metal.device === undefined ? metal.reason : undefined;

	const testKernels = async (backend: 'cpu' | 'metal') => {
		progress(`${backend === 'cpu' ? 'CPU' : 'Metal'} kernels`);
		await native.selfTest({
			...{ backend, full: !quick, seed },
			report: (check) => {
				kernels.push(check);
				progress(`${check.kernel} (${check.set})`);
				return !signal?.aborted;
			},
		});
		signal?.throwIfAborted();
	};
	const wantsMetal = options.backend !== 'cpu' && unusable === undefined;
	if (options.backend !== 'metal') await testKernels('cpu');
	if (wantsMetal) {
		try {
			await testKernels('metal');
		} catch (error) {
			signal?.throwIfAborted();
			unusable = (error as Error).message;
		}
	}
	const backends = (['cpu', 'metal'] as const).filter((backend) =>
		backend === 'cpu' ? options.backend !== 'metal' : wantsMetal && unusable === undefined,
	);
	const file = path.join(os.tmpdir(), `hearth-selftest-${randomUUID()}.gguf`);
	try {
		for (const [name, shape] of SMALL_MODELS) {
			progress(name);
			await synthesize(file, { preset: 'tiny', shape, seed, ...(signal && { signal }) });
			for (const backend of backends) {
				progress(`${name} on ${backend}`);
				models.push(...(await checkModel(native, file, name, backend, signal)));
			}
		}
	} finally {
		await rm(file, { force: true });
	}
	if (options.model !== undefined && backends.includes('metal')) {
		progress(path.basename(options.model));
		models.push(await checkUserModel(native, options.model, signal));
	}

	const report: SelfTestReport = {
		createdAt: new Date().toISOString(),
		version: VERSION,
		machine: {
			cpu: os.cpus()[0]?.model.trim() ?? os.arch(),
			cores: os.cpus().length,
			memoryBytes: os.totalmem(),
			platform: `${os.platform()} ${os.arch()} ${os.release()}`,
			features: native.cpuInfo().features,
		},
		seed,
		sizes: quick ? 'small' : 'full',
		kernels,
		models,
		metal: { state: 'absent' },
	};
	report.metal = judge(report, metal.device, unusable, wantsMetal);
	return report;
}

/** What the results say about Metal; remembered where they say something. */
function judge(
	{ kernels, models }: SelfTestReport,
	device: string | undefined,
	unusable: string | undefined,
	tested: boolean,
): SelfTestReport['metal'] {
	const named = device !== undefined && { device };
	if (unusable !== undefined) return { state: 'absent', ...named, reason: unusable };
	if (!tested || device === undefined) return { state: 'untested', ...named };
	const all = [...kernels, ...models].filter(({ backend }) => backend === 'metal');
	const wrong = all.filter(({ ok }) => !ok);
	if (wrong.length > 0) {
		let reason = `${wrong.length} of ${all.length} checks of Metal wrong (${namesOf(wrong)})`;
		try {
			turnMetalOff(device, reason);
		} catch (error) {
			reason += `; that could not be kept for the next start: ${(error as Error).message}`;
		}
		return { state: 'off', device, reason };
	}
	const wasOff = readVerdict(device) !== undefined;
	turnMetalOn();
	return { state: wasOff ? 'on-again' : 'ok', device };
}

/** Checks that failed, in either list. */
export function failures(report: SelfTestReport): (KernelCheck | WholeModelCheck)[] {
	return [...report.kernels, ...report.models].filter(({ ok }) => !ok);
}

/** What was checked, each name once and only the first few. */
export function namesOf(checks: readonly (KernelCheck | WholeModelCheck)[]): string {
	const names = [...new Set(checks.map((check) => ('kernel' in check ? check.kernel : check.what)))];
	return `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}`;
}
