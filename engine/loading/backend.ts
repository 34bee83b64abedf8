// Chooses the device that a model is opened on. It is the one that was asked for, unless a self-test has found that a
// GPU computes wrongly on this machine, or unless only the CPU has the cache's type.
import type { BackendChoice, CacheType, Device } from '../../native/index';
import { quote } from '../quote';
import { readVerdict } from '../selftest/verdict';

export interface Backend {
	backend: BackendChoice;
	/** Why the device is not the one that was asked for. */
	note?: string;
}

/** The backend to ask the native core for, and why it differs from `asked` where it does. */
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
