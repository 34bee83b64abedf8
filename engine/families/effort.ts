// Finds out whether a model takes a reasoning effort.
import { SETTINGS } from '../settings';
import type { ChatFormat } from './family';

/**
 * Whether a format's prompts differ by reasoning effort. It never throws: a template that fails for some effort takes
 * none.
 */
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
