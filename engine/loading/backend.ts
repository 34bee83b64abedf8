// Which device a model is opened on: what was asked for, unless a self-test has found a GPU to compute wrongly here.
import type { BackendChoice, CacheType, Device } from '../../native/index';
import { quote } from '../quote';
import { readVerdict } from '../selftest/verdict';

export interface Backend {
	backend: BackendChoice;
	/** Why it is not the one asked for. */
	note?: string;
}

/** What to ask of the native core, and why where that differs from `asked`. */
export function chooseBackend(
	asked: BackendChoice,
	devices: readonly Device[],
	cacheType: CacheType | undefined,
): Backend {
	const gpus = devices.filter(
		({ kind, id, onThisSystem }) => kind === 'gpu' && onThisSystem && (asked === 'auto' || asked === id),
	);
	const [first] = gpus;
	if (!first) return { backend: asked };
	if (cacheType === 'f32') {
		const note = `the CPU computes, not ${first.name}: a KV cache of type ${cacheType} is the CPU's only`;
		return { backend: 'cpu', note };
	}
	if (asked !== 'auto') return { backend: asked };
	const judged = gpus.map((gpu) => ({ gpu, verdict: readVerdict(gpu) }));
	const off = judged.find(({ verdict }) => verdict !== undefined);
	if (!off?.verdict) return { backend: 'auto' };
	const other = judged.find(({ gpu, verdict }) => verdict === undefined && gpu.reason === undefined);
	if (other) return { backend: other.gpu.id };
	const { id, name } = off.gpu;
	const day = off.verdict.createdAt.slice(0, 10);
	return {
		backend: 'cpu',
		note:
			`the CPU computes, not ${name}: the self-test of ${day} found ${off.verdict.reason}; ` +
			`run the self-test again to turn ${name} on if it passes, or set the backend to ${quote(id)} to use it all the same`,
	};
}
