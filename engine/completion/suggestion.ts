// Makes a suggestion of the text that a model wrote.
import type { FilterContext } from './postprocess/filter';
import { postprocess } from './postprocess/postprocess';
import type { StopRule } from './stop-rules';
import type { Suggestion } from './suggestion-cache';
import type { Trace } from './trace';

/**
 * @param written all text that the model wrote. Its lines end with \n.
 * @param cutShort whether the tokens ran out before the model or the stop rule ended the text.
 */
export function suggestionFrom(
	written: string,
	stop: StopRule,
	cutShort: boolean,
	context: FilterContext,
	trace?: Trace,
): Suggestion {
	trace?.({ name: 'model', text: written });
	const ending = stop.ending(cutShort ? written : `${written}\n`);
	let kept = written.slice(0, ending?.at ?? written.length);
	if (ending && kept !== written) trace?.({ name: `stop rule: ${ending.rule}`, text: kept });
	// If the tokens ran out, the last of several lines is incomplete.
	if (cutShort && kept === written && kept.includes('\n')) {
		kept = kept.slice(0, kept.lastIndexOf('\n'));
		trace?.({ name: 'no more tokens', text: kept });
	}
	const processed = postprocess(kept, context, trace);
	return 'dropped' in processed ? { text: '', reason: processed.dropped } : { text: processed.text };
}
