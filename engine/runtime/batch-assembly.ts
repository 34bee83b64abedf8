// Lays a planned step out as the arrays that the native core computes from.
import type { Sampling, StepBatch } from '../../native/index';
import type { LiveRequest } from './live-requests';
import { GREEDY } from './request';
import type { StepPlan } from './scheduler';

/**
 * @param rounds tokens that the step decodes for each of its sequences. More than 1 is allowed only where every entry
 * decodes without drafts.
 */
export function assembleBatch(plan: StepPlan<LiveRequest>, rounds: number): StepBatch {
	const tokens: number[] = [];
	const positions: number[] = [];
	const sequences: number[] = [];
	const outputs: number[] = [];
	const sampling: Sampling[] = [];
	let logits = false;
	plan.entries.forEach((entry, index) => {
		const request = entry.sequence;
		for (let position = entry.start; position < entry.end; position++) {
			tokens.push(request.tokens[position]!);
			positions.push(position);
			sequences.push(index);
		}
		if (!entry.output) return;
		outputs.push(tokens.length - 1);
		sampling.push(request.options.sampling ?? GREEDY);
		entry.drafts.forEach((draft, offset) => {
			outputs.push(tokens.length);
			sampling.push(request.options.sampling ?? GREEDY);
			tokens.push(draft);
			positions.push(entry.end + offset);
			sequences.push(index);
		});
		logits ||= request.choosing;
	});
	return {
		tokens: Int32Array.from(tokens),
		positions: Int32Array.from(positions),
		sequences: Int32Array.from(sequences),
		blockTables: plan.entries.map((entry) => Int32Array.from(entry.lease.blocks)),
		outputs: Int32Array.from(outputs),
		sampling,
		...(logits ? { logits } : {}),
		...(rounds > 1 && {
			rounds,
			stopIds: plan.entries.map(({ sequence }) => Int32Array.from(sequence.options.stopIds ?? [])),
			...(plan.entries.every(({ sequence }) => sequence.options.forced) && { forced: forcedRows(plan, rounds) }),
		}),
	};
}

/** The rows of the rounds after the first where all sequences take forced tokens: [rounds − 1, sequences]. */
function forcedRows({ entries }: StepPlan<LiveRequest>, rounds: number): Int32Array {
	const rows = Array.from({ length: rounds - 1 }, (_, round) =>
		entries.map(
			({ sequence: { options, tokens, promptTokens } }) => options.forced![tokens.length - promptTokens + round]!,
		),
	);
	return Int32Array.from(rows.flat());
}
