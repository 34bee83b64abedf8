// Times every step of a model by operation, between the engine and the native core, and gives the times as a table or
// as a trace.
import type { NativeCache, NativeModel, StepBatch, StepResult } from '../../native/index';
import { oneRound } from '../runtime/rounds';

export interface ProfiledStep {
	/** Milliseconds since the profiler was made. */
	start: number;
	milliseconds: number;
	rows: number;
	sequences: number;
	outputs: number;
	/** Milliseconds by operation, summed over the layers. */
	operations: Record<string, number>;
}

/** Records each step of a model. */
export class Profiler {
	readonly steps: ProfiledStep[] = [];
	readonly #origin = performance.now();

	/**
	 * Gives `model` with its steps recorded. Each step then decodes one token for each sequence. One step must end before
	 * the next is asked for, as the engine does it.
	 */
	instrument(model: NativeModel): NativeModel {
		const step = async (cache: NativeCache, batch: StepBatch): Promise<StepResult> => {
			const start = performance.now() - this.#origin;
			const result = await model.step(cache, oneRound(batch));
			this.steps.push({
				...{ start, milliseconds: performance.now() - this.#origin - start },
				...{ rows: batch.tokens.length, sequences: batch.blockTables.length, outputs: batch.outputs.length },
				operations: model.takeProfile(),
			});
			return result;
		};
		return new Proxy(model, {
			get: (target, name) => {
				if (name === 'step') return step;
				const value: unknown = Reflect.get(target, name, target);
				return typeof value === 'function' ? value.bind(target) : value;
			},
		});
	}
}

export interface OperationTime {
	operation: string;
	milliseconds: number;
	/** The part of all steps' time, 0…1. */
	share: number;
}

/** Time by operation over some steps, the longest first. Time outside of all operations is `other`. */
export function operationTimes(steps: readonly ProfiledStep[]): OperationTime[] {
	const total = steps.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
	const sums = new Map<string, number>();
	for (const { operations } of steps) {
		for (const [operation, time] of Object.entries(operations)) sums.set(operation, (sums.get(operation) ?? 0) + time);
	}
	const named = [...sums].sort(([, one], [, other]) => other - one);
	const rest = Math.max(0, total - named.reduce((sum, [, time]) => sum + time, 0));
	return [...named, ['other', rest] as const].map(([operation, milliseconds]) => ({
		...{ operation, milliseconds },
		share: total > 0 ? milliseconds / total : 0,
	}));
}

interface TraceEvent {
	name: string;
	cat?: string;
	/** X is a span; M is the name of a process or a thread. */
	ph: 'X' | 'M';
	/** Microseconds. */
	ts?: number;
	dur?: number;
	pid: number;
	tid: number;
	args: Record<string, string | number>;
}

/** Whether a file's text is a trace that this class has made. */
export function isTrace(text: string): boolean {
	const { traceEvents } = JSON.parse(text) as Partial<ReturnType<typeof traceOf>>;
	return traceEvents?.[0]?.name === 'process_name' && traceEvents[0].args?.['name'] === 'hearth';
}

/**
 * The steps in the Trace Event Format (the JSON object form), for Perfetto or chrome://tracing: one span for each step,
 * and in it one for each operation. An operation's time is the sum over all layers, so these spans lie one after
 * another and do not show how operations took turns.
 */
export function traceOf(steps: readonly ProfiledStep[]): { displayTimeUnit: 'ms'; traceEvents: TraceEvent[] } {
	const place = { pid: 1, tid: 1 };
	const traceEvents: TraceEvent[] = [
		{ name: 'process_name', ph: 'M', ...place, args: { name: 'hearth' } },
		{ name: 'thread_name', ph: 'M', ...place, args: { name: 'steps' } },
	];
	for (const { start, milliseconds, rows, sequences, outputs, operations } of steps) {
		const name = `step of ${rows} ${rows === 1 ? 'row' : 'rows'}`;
		const args = { rows, sequences, outputs };
		traceEvents.push({
			...{ name, cat: 'step', ph: 'X', ...place, args },
			...{ ts: start * 1000, dur: milliseconds * 1000 },
		});
		const end = start + milliseconds;
		let at = start;
		for (const [operation, time] of Object.entries(operations)) {
			// The native core's clock and ours differ by microseconds, and an operation must not reach beyond its step.
			const dur = Math.min(time, end - at);
			traceEvents.push({
				...{ name: operation, cat: 'operation', ph: 'X', ...place, args: { milliseconds: time } },
				...{ ts: at * 1000, dur: dur * 1000 },
			});
			at += dur;
		}
	}
	return { displayTimeUnit: 'ms', traceEvents };
}
