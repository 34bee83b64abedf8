// Runs all filters on a finished suggestion, in order.
import type { Trace } from '../trace';
import { bracketBalance } from './bracket-balance';
import { chatProse } from './chat-prose';
import { codeFence } from './code-fence';
import { duplicateLines } from './duplicate-lines';
import type { Filter, FilterContext } from './filter';
import { indentation } from './indentation';
import { repetition } from './repetition';
import { specialText } from './special-text';
import { suffixOverlap } from './suffix-overlap';
import { trailingWhitespace } from './trailing-whitespace';

/**
 * The filters in the order in which they run. The first ones mend what does not belong in a file, the next ones remove
 * what the file has already, and the last one trims what the others left.
 */
const FILTERS: readonly Filter[] = [
	specialText,
	codeFence,
	chatProse,
	indentation,
	repetition,
	duplicateLines,
	suffixOverlap,
	bracketBalance,
	trailingWhitespace,
];

type Postprocessed = { text: string } | { dropped: string };

/** Runs all filters. If one of them leaves nothing, its reason is returned. */
export function postprocess(text: string, context: FilterContext, trace?: Trace): Postprocessed {
	if (text.trim() === '') return { dropped: trailingWhitespace.reason };
	let kept = text;
	for (const filter of FILTERS) {
		const left = filter.apply(kept, context);
		if (left !== kept) trace?.({ name: `filter: ${filter.name}`, text: left });
		kept = left;
		if (kept.trim() === '') return { dropped: filter.reason };
	}
	return { text: kept };
}
