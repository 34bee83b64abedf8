// The self-test runs all kernels of this machine's devices against plain references, then whole small models, and on
// request the user's own model. It says plainly what is wrong. It turns off for `auto` a GPU that computes wrongly.
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type BackendChoice, type Device, type KernelCheck, loadNative, type Native } from '../../native/index';
import { messageOf } from '../quote';
import type { ModelShape } from '../synth/architecture';
import { synthesize } from '../synth/synthesize';
import { VERSION } from '../version';
import type { GpuResult, SelfTestReport, WholeModelCheck } from './report';
import { readVerdict, turnOff, turnOn } from './verdict';
import { checkModel, checkUserModel } from './whole-model';

interface SelfTestOptions {
	/** `auto`: all devices. */
	backend: BackendChoice;
	/** Small shapes. They take seconds instead of a minute, but the speeds mean little. */
	quick: boolean;
	/** A model on which the GPUs are also compared with the CPU. */
	model?: string;
	seed?: number;
	signal?: AbortSignal;
	/** Called with the name of what is tested next. */
	onProgress?: (what: string, checksDone: number) => void;
	native?: Native;
}

/** A model with experts of gpt-oss's kind, and a dense one of the kind that completes code. */
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
 * Runs the self-test and remembers its verdict on each GPU.
 * @throws an AbortError when the signal is aborted; nothing is remembered then.
 */
export async function runSelfTest(options: SelfTestOptions): Promise<SelfTestReport> {
	const { signal, seed = 1, quick } = options;
	const native = options.native ?? loadNative();
	const devices = native.devices();
	const gpus = devices.filter(({ kind }) => kind === 'gpu');
	const cpus = devices.filter(({ kind }) => kind === 'cpu');
	const kernels: KernelCheck[] = [];
	const models: WholeModelCheck[] = [];
	const progress = (what: string) => options.onProgress?.(what, kernels.length + models.length);
	const unusable = new Map(gpus.flatMap(({ id, reason }) => (reason === undefined ? [] : [[id, reason]])));
	const wanted = ({ id }: Device) => (options.backend === 'auto' || options.backend === id) && !unusable.has(id);

	const testKernels = async ({ id, name }: Device) => {
		progress(`${name} kernels`);
		await native.selfTest({
			...{ backend: id, full: !quick, seed },
			report: (check) => {
				kernels.push(check);
				progress(`${check.kernel} (${check.set})`);
				return !signal?.aborted;
			},
		});
		signal?.throwIfAborted();
	};
	for (const cpu of cpus.filter(wanted)) await testKernels(cpu);
	for (const gpu of gpus.filter(wanted)) {
		try {
			await testKernels(gpu);
		} catch (error) {
			signal?.throwIfAborted();
			unusable.set(gpu.id, messageOf(error));
		}
	}
	const tested = [...cpus, ...gpus].filter(wanted);
	const file = path.join(os.tmpdir(), `hearth-selftest-${randomUUID()}.gguf`);
	try {
		for (const [name, shape] of SMALL_MODELS) {
			progress(name);
			await synthesize(file, { preset: 'tiny', shape, seed, ...(signal && { signal }) });
			for (const device of tested) {
				progress(`${name} on ${device.id}`);
				models.push(...(await checkModel(native, file, name, device, signal)));
			}
		}
	} finally {
		await rm(file, { force: true });
	}
	if (options.model !== undefined) {
		for (const { id } of gpus.filter(wanted)) {
			progress(path.basename(options.model));
			models.push(await checkUserModel(native, options.model, id, signal));
		}
	}

	return {
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
		gpus: gpus.map((gpu) => {
			const reason = unusable.get(gpu.id);
			if (reason !== undefined) return { ...labelOf(gpu), state: 'absent', reason };
			return tested.includes(gpu) ? judge(gpu, [...kernels, ...models]) : { ...labelOf(gpu), state: 'untested' };
		}),
	};
}

function labelOf({ id, name, hardware }: Device): Pick<GpuResult, 'id' | 'name' | 'device'> {
	return { id, name, ...(hardware !== undefined && { device: hardware }) };
}

/** The verdict of the checks on a GPU that was tested. It is remembered. */
function judge(gpu: Device, checks: readonly (KernelCheck | WholeModelCheck)[]): GpuResult {
	const all = checks.filter(({ backend }) => backend === gpu.id);
	const wrong = all.filter(({ ok }) => !ok);
	if (wrong.length > 0) {
		let reason = `${wrong.length} of ${all.length} checks of ${gpu.name} wrong (${namesOf(wrong)})`;
		try {
			turnOff(gpu, reason);
		} catch (error) {
			reason += `; that could not be kept for the next start: ${messageOf(error)}`;
		}
		return { ...labelOf(gpu), state: 'off', reason };
	}
	const wasOff = readVerdict(gpu) !== undefined;
	turnOn(gpu);
	return { ...labelOf(gpu), state: wasOff ? 'on-again' : 'ok' };
}

/** All checks that failed, of kernels and of models. */
export function failures(report: SelfTestReport): (KernelCheck | WholeModelCheck)[] {
	return [...report.kernels, ...report.models].filter(({ ok }) => !ok);
}

/** The names of checks, each once, and only the first few. */
export function namesOf(checks: readonly (KernelCheck | WholeModelCheck)[]): string {
	const names = [...new Set(checks.map((check) => ('kernel' in check ? check.kernel : check.what)))];
	return `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}`;
}
