// The prompt of an inline completion for gpt-oss, which is a chat model. The user's message has the text after the
// cursor. The assistant's turn is opened in its final channel with the code before the cursor, as if the model had
// written that code. Typing then only appends to the prompt.

import type { CompletionFile, CompletionFormat, CompletionPrompt, Window } from '../family';
import { splitForHealing } from '../prompts/healing';
import type { Harmony } from './harmony';

const INSTRUCTIONS = `You complete code in a text editor. The user tells you which file is open and what text follows the cursor. \
You answer with the file's text itself, which runs up to the cursor and is continued by you without a break.

- Write only what belongs between the text so far and the text that follows the cursor.
- Follow the file's style: names, quotes, indentation, comments.
- Never repeat the text that follows the cursor.
- Never write explanations, Markdown or code fences.
- Stop as soon as the statement, block or sentence at the cursor is complete.`;

/**
 * The date in the system message. It is fixed, because another date each day would only invalidate the cache. It is the
 * day of gpt-oss's release.
 */
const DATE = '2025-08-05';

export class HarmonyCompletion implements CompletionFormat {
	readonly #harmony: Harmony;
	readonly name = 'answer opened with the code';
	readonly takesRelated = false;
	readonly shared: Int32Array;

	constructor(harmony: Harmony) {
		this.#harmony = harmony;
		const turns = [{ role: 'user', content: 'File: ' } as const];
		const prompt = harmony.encode({ currentDate: DATE, reasoningEffort: 'low', instructions: INSTRUCTIONS, turns });
		// The shared tokens stop before the end of the user's message, where prompts begin to differ.
		this.shared = prompt.subarray(0, prompt.lastIndexOf(harmony.tokens.end));
	}

	build({ label, languageId }: CompletionFile, window: Window): CompletionPrompt {
		const { head, piece } = splitForHealing(window.prefix, this.#harmony.tokenizer);
		return {
			tokens: this.#harmony.encode({
				currentDate: DATE,
				reasoningEffort: 'low',
				instructions: INSTRUCTIONS,
				turns: [{ role: 'user', content: describeFile(label, languageId, window) }],
				answer: head,
			}),
			healed: piece,
		};
	}
}

function describeFile(label: string, languageId: string, window: Window): string {
	const lines = [`File: ${label}`, `Language: ${languageId}`];
	if (!window.prefixIsWhole) lines.push('The answer begins in the middle of the file.');
	// Brackets and quotes that an editor closes by itself come and go while the user types. They would invalidate the
	// cache.
	const line = /[\p{L}\p{N}]/u.test(window.lineSuffix) ? window.lineSuffix : '';
	const following = [line, window.suffix].filter((text) => text.trim() !== '').join('\n');
	if (following !== '') lines.push('', `The text that follows the cursor:\n${following}`);
	// If the budget left no room for the text after the cursor, the prompt says nothing about it.
	else if (window.suffixIsCut !== true) lines.push('', 'The cursor is at the end of the file.');
	return lines.join('\n');
}
