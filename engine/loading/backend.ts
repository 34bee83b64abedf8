// Which backend a model is opened on: what was asked for, unless a self-test has found Metal to compute wrongly here.
import type { BackendChoice, CacheType, MetalInfo } from '../../native/index';
import { readVerdict } from '../selftest/verdict';

export interface Backend {
	backend: BackendChoice;
	/** Why it is not the one asked for. */
	note?: string;
}

/** What to ask of the native core, and why where that differs from `asked`. */
export function chooseBackend(asked: BackendChoice, metal: MetalInfo, cacheType: CacheType | undefined): Backend {
	if (asked === 'cpu' || !metal.onThisSystem) return { backend: asked };
	if (cacheType === 'f32') {
		return { backend: 'cpu', note: `the CPU computes, not Metal: a KV cache of type ${cacheType} is the CPU's only` };
	}
	const verdict = asked === 'auto' ? readVerdict(metal.device) : undefined;
	if (!verdict) return { backend: asked };
	const day = verdict.createdAt.slice(0, 10);
	return {
		backend: 'cpu',
		note:
			`the CPU computes, not Metal: the self-test of ${day} found ${verdict.reason}; ` +
			'run the self-test again to turn Metal on if it passes, or set the backend to "metal" to use it all the same',
	};
}
