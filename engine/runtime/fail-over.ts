// Decides after a failed step which requests fail, which run again alone, and whether the model goes on on another
// device.
import { DEVICE_FAILED, type NativeModel } from '../../native/index';
import { messageOf } from '../quote';
import { gpuName } from '../units';
import { EngineClosedError } from './errors';
import type { LiveRequest } from './live-requests';
import { RunningModel } from './running-model';
import type { StepEntry, StepPlan } from './scheduler';

export interface FailOverOptions {
	/**
	 * Opens the model again on the CPU after the GPU has failed. Requests continue there from the tokens that they have.
	 */
	reopen?: () => Promise<NativeModel>;
	/** Called with the reason each time that the CPU takes over from the GPU. */
	onBackendNote?: (note: string) => void;
}

/** The outcome for the requests of a step that failed. */
interface Containment {
	/** These fail with the step's error. */
	failed: LiveRequest[];
	/** These plans run next, each for one sequence alone. */
	alone: StepPlan<LiveRequest>[];
	/** Whether what the step handed out counts as computed; the next step then goes on behind it. */
	keepsComputed: boolean;
}

/**
 * Finds out which sequence is at fault for a failed step. A sequence fails only where it was alone in the step and had
 * no drafts. All sequences fail where the error does not concern a sequence.
 * @param left plans that were to run after this one, each for one sequence alone.
 * @param handedOut rounds whose tokens the requests have already.
 */
export function contain(
	plan: StepPlan<LiveRequest>,
	left: StepPlan<LiveRequest>[],
	handedOut: number,
	error: unknown,
): Containment {
	const { entries } = plan;
	if (concernsAll(error)) {
		const failed = [plan, ...left].flatMap((each) => each.entries.map(({ sequence }) => sequence));
		return { failed, alone: [], keepsComputed: false };
	}
	if (entries.length === 1 && entries[0]!.drafts.length === 0) {
		return { failed: [entries[0]!.sequence], alone: left, keepsComputed: false };
	}
	// The next step goes on behind the tokens that were handed out. It will show which sequence is at fault.
	if (handedOut > 0) return { failed: [], alone: left, keepsComputed: true };
	return { failed: [], alone: entries.map((entry) => planOf({ ...entry, drafts: [] })), keepsComputed: false };
}

export function isDeviceFailure(error: unknown): error is Error {
	return error instanceof Error && (error as NodeJS.ErrnoException).code === DEVICE_FAILED;
}

/**
 * Opens a model on another device, with a new cache and a new scheduler.
 * @param failed the model on the device that failed; it stays open.
 * @param failure the error of the failed step. Where the model cannot be opened, the reason is added to its message.
 * @returns undefined where the model cannot be opened.
 */
export async function openOnOtherDevice(
	failed: RunningModel,
	failure: Error,
	reopen: () => Promise<NativeModel>,
): Promise<RunningModel | undefined> {
	// Only a GPU's failure carries the code DEVICE_FAILED, and the CPU is what is left then.
	const gpu = gpuName(failed.info.backend) ?? 'the GPU';
	const note = `the CPU computes from here on: ${gpu} failed while it worked: ${failure.message}`;
	try {
		const model = await reopen();
		try {
			return new RunningModel(model, failed.setup, note);
		} catch (error) {
			model.close();
			throw error;
		}
	} catch (error) {
		failure.message += `; the model could not be opened on the CPU either: ${messageOf(error)}`;
		return undefined;
	}
}

/** Whether an error concerns the engine, the model or the device, rather than a single sequence. */
function concernsAll(error: unknown): boolean {
	const { code } = error as NodeJS.ErrnoException;
	return error instanceof EngineClosedError || (typeof code === 'string' && code.startsWith('HEARTH_'));
}

/** A plan for one sequence of another plan. */
function planOf(entry: StepEntry<LiveRequest>): StepPlan<LiveRequest> {
	const rows = entry.end - entry.start;
	const decodes = rows === 1 && entry.output;
	return { entries: [entry], prefillRows: decodes ? 0 : rows, decodeRows: decodes ? 1 : 0 };
}
