// Whether a reasoning effort means anything to a model.
import type { ChatFormat, ChatPrompt } from './family';

const EFFORTS = ['low', 'medium', 'high'] as const;

/** Whether prompts of a format differ by the effort asked for. */
export function takesReasoningEffort(format: ChatFormat): boolean {
	const turns = [{ role: 'user', content: 'a' }] as const;
	const prompts = EFFORTS.map((reasoningEffort): string => {
		const prompt: ChatPrompt = { currentDate: '2026-01-01', reasoningEffort, turns };
		return format.encode(prompt).join();
	});
	return new Set(prompts).size > 1;
}
