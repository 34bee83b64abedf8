// Whether a reasoning effort means anything to a model.
import { SETTINGS } from '../settings';
import type { ChatFormat } from './family';

/** Whether prompts of a format differ by the effort asked for. Never throws: a template that refuses some effort takes none. */
export function takesReasoningEffort(format: ChatFormat): boolean {
	const turns = [{ role: 'user', content: 'a' }] as const;
	try {
		const prompts = SETTINGS.chat.reasoningEffort.choices.map((reasoningEffort) =>
			format.encode({ currentDate: '2026-01-01', reasoningEffort, turns }).join(),
		);
		return new Set(prompts).size > 1;
	} catch {
		return false;
	}
}
