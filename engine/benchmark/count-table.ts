// The counts of `hearth bench --count` as text.
import { table } from '../text-table';
import type { CountReport, StepCounts } from './count';

/** Memory bandwidth of Apple's chips in GB/s, as Apple states it. */
const CHIPS: readonly [string, number][] = [
	['M1', 68],
	['M1 Pro', 200],
	['M1 Ultra', 800],
	['M2', 100],
	['M3 Ultra', 819],
	['M4', 120],
	['M4 Pro', 273],
	['M4 Max', 546],
	['M5', 153],
	['M5 Max', 614],
];

export function renderCounts({ model, device, steps, kernels }: CountReport): string {
	const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
	const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(3);
	const count = (number: number) => String(Number(number.toFixed(number < 1 ? 3 : 1)));
	const decode = steps.find(({ name }) => name === 'decode');
	const batch = steps.find(({ sequences }) => sequences > 1);
	const ceiling = (step: StepCounts | undefined, rate: number) =>
		step ? ((rate * 1e9 * step.sequences) / (step.weightBytes + step.activationBytes)).toFixed(0) : '';
	return [
		`model: ${model.name}, ${model.layers} layers, ${gigabytes(model.bytesPerToken)} GB of weights a token`,
		`counted from the commands encoded for: ${device}; nothing was run or timed`,
		'',
		...table([
			[
				...['step', 'launches', 'a layer', 'barriers', 'a layer', 'command buffers', 'waits for the host'],
				...['weights GB', 'intermediates', 'keys and values', 'moved ÷ minimum', 'asked GB', 'scratch'],
			],
			...steps.map((step) => [
				...[step.name, count(step.launches), count(step.launchesPerLayer)],
				...[count(step.barriers), count(step.barriersPerLayer), count(step.commandBuffers), count(step.hostWaits)],
				...[gigabytes(step.weightBytes), megabytes(step.activationBytes), megabytes(step.cacheBytes)],
				...[step.ratio.toFixed(3), gigabytes(step.askedBytes), megabytes(step.scratchBytes)],
			]),
		]),
		'',
		'Of a step of several tokens, what each costs on average.',
		'Moved: weights once, and intermediates read and written, over the weights that must be read; experts as independent routing',
		'touches them on average. Asked: what threadgroups load, of which all but one reading must come from caches.',
		'',
		...table([
			['kernel', 'threads', 'threadgroup memory', 'in'],
			...kernels.map(({ kernel, threads, threadgroupBytes, steps: names }) => [
				...[kernel, String(threads), `${threadgroupBytes} B`, names.join(', ')],
			]),
		]),
		'',
		'Ceilings computed from the bytes counted and the bandwidth Apple states; none was measured:',
		'',
		...table([
			['chip', 'GB/s', 'tok/s, 1 stream', `tok/s, ${batch?.sequences ?? 0} streams`],
			...CHIPS.map(([chip, rate]) => [chip, String(rate), ceiling(decode, rate), ceiling(batch, rate)]),
		]),
		'',
	].join('\n');
}
