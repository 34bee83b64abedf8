// All filters over a finished suggestion, in order.
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

/** First what is no text of a file at all, then what is there already, last the trimming the others leave to do. */
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

/** Runs all filters; says which one left nothing. */
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
