// Counts what steps cost a GPU, instead of timing them: launches, barriers and bytes, taken from the commands that the
// backend would encode. Nothing runs, so counting a full-size model needs neither its weights nor a GPU worth
// measuring.
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {
	type BackendChoice,
	type DeviceId,
	type KernelLaunch,
	loadNative,
	type NativeCache,
	type NativeModel,
	type StepBatch,
	type StepCount,
} from '../../native/index';
import { readHeader } from '../models/header';
import { weightBytes } from '../models/weight-bytes';
import { quote } from '../quote';
import type { ModelShape } from '../synth/architecture';
import { synthesize } from '../synth/synthesize';
import { stepWeightBytes } from './cost';

/** A step to count: `sequences` sequences, each with `rows` rows behind `context` tokens of context. */
interface CountedStep {
	name: string;
	sequences: number;
	rows: number;
	context: number;
	/** Tokens that the step decodes for each sequence, one after another. Default: 1. */
	rounds?: number;
}

const COUNTED_STEPS: readonly CountedStep[] = [
	{ name: 'decode', sequences: 1, rows: 1, context: 0 },
	{ name: 'decode, 8 in one step', sequences: 1, rows: 1, context: 0, rounds: 8 },
	{ name: 'decode behind 4096', sequences: 1, rows: 1, context: 4096 },
	{ name: 'verify 7 drafts', sequences: 1, rows: 8, context: 1024 },
	{ name: '20 streams', sequences: 20, rows: 1, context: 0 },
	{ name: 'prefill 512', sequences: 1, rows: 512, context: 0 },
];

/** What a step costs. For a step of several rounds, what one round costs on average. */
export interface StepCounts extends CountedStep {
	launches: number;
	commandBuffers: number;
	/** How often the GPU has nothing to do until the host has read a token and planned what follows. */
	hostWaits: number;
	barriers: number;
	/** Launches and barriers of the layer that has the most. */
	launchesPerLayer: number;
	barriersPerLayer: number;
	/** Bytes of weights (each counted once), of keys and values, and of intermediates read and written. */
	weightBytes: number;
	cacheBytes: number;
	activationBytes: number;
	/** Bytes of weights that such a step must read at least. */
	minimumBytes: number;
	/** The bytes of weights and intermediates, over the minimum. */
	ratio: number;
	/** Bytes of weights that threadgroups ask for. Those beyond `weightBytes` must come from the GPU's caches. */
	askedBytes: number;
	/** Bytes of memory held for intermediates. */
	scratchBytes: number;
}

interface KernelCounts {
	kernel: string;
	/** The counted steps that launch the kernel. */
	steps: string[];
	threads: number;
	threadgroupBytes: number;
}

export interface CountReport {
	model: { name: string; layers: number; bytesPerToken: number };
	device: string;
	steps: StepCounts[];
	kernels: KernelCounts[];
}

/**
 * Counts the steps on a model file for the GPU that is asked for. `auto` is the first GPU that can be used. The file's
 * weights are not read.
 * @throws an error that says why the GPU cannot be used.
 */
export async function countSteps(file: string, asked: BackendChoice = 'auto'): Promise<CountReport> {
	const header = await readHeader(file);
	const native = loadNative();
	const gpus = native.devices().filter(({ kind, id }) => kind === 'gpu' && (asked === 'auto' || asked === id));
	const gpu = gpus.find(({ reason }) => reason === undefined) ?? gpus[0];
	if (!gpu) throw new Error(`there are no launches to count on the backend ${quote(asked)}`);
	const model = await native.openModel(file, { backend: gpu.id });
	try {
		const { info } = model;
		if (info.backend !== gpu.id) {
			throw new Error(`there are only ${gpu.name}'s launches to count; ${info.backendNote}`);
		}
		const cost = { info, weights: weightBytes(header), cacheBytesPerToken: 0 };
		const counted: StepCounts[] = [];
		const kernels = new Map<string, KernelCounts>();
		const memory = await threadgroupMemory(gpu.id, {
			architecture: info.architecture as ModelShape['architecture'],
			headLength: info.headLength,
		});
		for (const step of COUNTED_STEPS) {
			const { launches, commandBuffers, scratchBytes } = await countOne(model, step);
			const minimumBytes = stepWeightBytes(cost, step.sequences * step.rows);
			counted.push(countsOf(step, { launches, commandBuffers, scratchBytes }, minimumBytes));
			for (const { kernel, threads, threadgroupBytes } of launches) {
				const used = Math.max(threadgroupBytes, memory.get(kernel) ?? 0);
				const known = kernels.get(kernel) ?? { kernel, steps: [], threads, threadgroupBytes: used };
				if (!known.steps.includes(step.name)) known.steps.push(step.name);
				kernels.set(kernel, known);
			}
		}
		return {
			model: { name: info.name, layers: info.layers, bytesPerToken: info.bytesPerToken },
			device: info.device ?? gpu.name,
			steps: counted,
			kernels: [...kernels.values()],
		};
	} finally {
		model.close();
	}
}

/**
 * Threadgroup memory by kernel. It depends on the length of heads but on no other size of a model. Emulated devices
 * know it only for kernels that have run, so a small model of the same kind runs such steps.
 */
async function threadgroupMemory(
	backend: DeviceId,
	kind: Pick<ModelShape, 'architecture' | 'headLength'>,
): Promise<Map<string, number>> {
	const folder = await mkdtemp(path.join(os.tmpdir(), 'hearth-count-'));
	const memory = new Map<string, number>();
	try {
		const file = path.join(folder, 'small.gguf');
		await synthesize(file, { preset: 'tiny', shape: { layers: 1, heads: 8, headsKv: 1, ...kind } });
		const model = await loadNative().openModel(file, { backend });
		const cache = model.createCache({ blocks: Math.max(...COUNTED_STEPS.map(({ sequences }) => sequences)) });
		try {
			for (const step of COUNTED_STEPS) {
				const batch = batchOf({ ...step, rows: Math.min(step.rows, 32), context: 0 }, 1);
				await model.step(cache, batch);
				const { launches } = await model.countStep(cache, batch);
				for (const { kernel, threadgroupBytes } of launches) {
					memory.set(kernel, Math.max(threadgroupBytes, memory.get(kernel) ?? 0));
				}
			}
		} finally {
			cache.close();
			model.close();
		}
		return memory;
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
}

async function countOne(model: NativeModel, step: CountedStep): ReturnType<NativeModel['countStep']> {
	const blocks = Math.ceil((step.context + step.rows + (step.rounds ?? 1) - 1) / 32);
	let cache: NativeCache | undefined;
	try {
		cache = model.createCache({ blocks: blocks * step.sequences });
		return await model.countStep(cache, batchOf(step, blocks));
	} finally {
		cache?.close();
	}
}

/**
 * The step as the scheduler would ask for it: an output for each row that decodes or is verified, and one for a
 * prefill.
 */
function batchOf({ sequences, rows, context, rounds = 1 }: CountedStep, blocks: number): StepBatch {
	const count = sequences * rows;
	const prefill = rows > 64;
	return {
		tokens: new Int32Array(count),
		positions: Int32Array.from({ length: count }, (_, i) => context + (i % rows)),
		sequences: Int32Array.from({ length: count }, (_, i) => Math.floor(i / rows)),
		blockTables: Array.from({ length: sequences }, (_, sequence) =>
			Int32Array.from({ length: blocks }, (_, block) => sequence * blocks + block),
		),
		outputs: prefill ? Int32Array.of(count - 1) : Int32Array.from({ length: count }, (_, i) => i),
		rounds,
	};
}

function countsOf(
	step: CountedStep,
	{ launches, commandBuffers, scratchBytes }: StepCount,
	minimumBytes: number,
): StepCounts {
	const rounds = step.rounds ?? 1;
	const sum = (value: (launch: KernelLaunch) => number) =>
		launches.reduce((total, launch) => total + value(launch), 0) / rounds;
	const layers = new Map<number, KernelLaunch[]>();
	for (const launch of launches) {
		if (launch.layer >= 0) layers.set(launch.layer, [...(layers.get(launch.layer) ?? []), launch]);
	}
	const most = (value: (list: KernelLaunch[]) => number) => Math.max(0, ...[...layers.values()].map(value)) / rounds;
	const weightBytes = sum((launch) => launch.weightBytes);
	const activationBytes = sum((launch) => launch.activationBytes);
	return {
		...step,
		launches: launches.length / rounds,
		commandBuffers: commandBuffers / rounds,
		hostWaits: 1 / rounds,
		barriers: sum(({ barrier }) => Number(barrier)),
		launchesPerLayer: most((list) => list.length),
		barriersPerLayer: most((list) => list.filter(({ barrier }) => barrier).length),
		weightBytes,
		cacheBytes: sum((launch) => launch.cacheBytes),
		activationBytes,
		minimumBytes,
		ratio: (weightBytes + activationBytes) / minimumBytes,
		askedBytes: sum((launch) => launch.weightBytes * launch.weightPasses),
		scratchBytes,
	};
}
