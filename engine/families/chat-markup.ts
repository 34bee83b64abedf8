// Chat formats that are built in. They serve files that have no chat template or one that cannot be used. The formats
// are ChatML (by OpenAI; Qwen and SmolLM use it) and Llama 3's (meta-llama/llama3 `llama/tokenizer.py`).
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { ChatFormat, ChatPrompt } from './family';
import { PlainAnswerParser } from './plain-answer';
import { PromptBuilder } from './prompt-builder';

/**
 * The sampling for models without a recommendation. It lies between those of Llama 3 (0.6, 0.9) and Qwen 2.5 (0.7,
 * 0.8).
 */
export const PLAIN_SAMPLING = { temperature: 0.6, topP: 0.9 };

/** A message's role and text. Instructions have the role `system`. */
interface Message {
	role: string;
	content: string;
}

/** Makes the chat format for a vocabulary, or returns undefined if the vocabulary lacks the format's marks. */
type NativeFormat = (tokenizer: Tokenizer, stopIds: ReadonlySet<number>) => ChatFormat | undefined;

const NATIVE_FORMATS: readonly NativeFormat[] = [
	format('ChatML', { start: '<|im_start|>', end: '<|im_end|>' }, (builder, marks, { role, content }, open) => {
		builder.special(marks.start).text(`${role}\n${content}`);
		if (!open) builder.special(marks.end).text('\n');
	}),
	format(
		'Llama 3',
		{ header: '<|start_header_id|>', headerEnd: '<|end_header_id|>', turnEnd: '<|eot_id|>' },
		(builder, marks, { role, content }, open) => {
			builder.special(marks.header).text(role).special(marks.headerEnd).text(`\n\n${content.trim()}`);
			if (!open) builder.special(marks.turnEnd);
		},
	),
];

/** The first built-in format whose marks the vocabulary has, or undefined if there is none. */
export function nativeChatFormat(tokenizer: Tokenizer, stopIds: ReadonlySet<number>): ChatFormat | undefined {
	for (const native of NATIVE_FORMATS) {
		const found = native(tokenizer, stopIds);
		if (found) return found;
	}
	return undefined;
}

/**
 * @param names the names of the special tokens that mark messages.
 * @param write writes a message with the ids of these tokens. If `open` is set, the message's text goes on, so its end
 * is not written.
 */
function format<Mark extends string>(
	name: string,
	names: Readonly<Record<Mark, string>>,
	write: (builder: PromptBuilder, marks: Readonly<Record<Mark, number>>, message: Message, open: boolean) => void,
): NativeFormat {
	return (tokenizer, stopIds) => {
		const ids = Object.entries<string>(names).map(
			([mark, token]) => [mark, tokenizer.vocabulary.findSpecial(token)] as const,
		);
		if (ids.some(([, id]) => id === undefined)) return undefined;
		const marks = Object.fromEntries(ids) as Record<Mark, number>;
		const build = ({ instructions, turns }: ChatPrompt): PromptBuilder => {
			const builder = new PromptBuilder(tokenizer);
			if (tokenizer.bosId !== undefined) builder.special(tokenizer.bosId);
			if (instructions) write(builder, marks, { role: 'system', content: instructions }, false);
			for (const turn of turns) write(builder, marks, turn, false);
			write(builder, marks, { role: 'assistant', content: '' }, true);
			return builder;
		};
		return {
			name,
			sampling: PLAIN_SAMPLING,
			stopIds,
			encode: (prompt) => build(prompt).build(),
			parts: (prompt) => build(prompt).parts,
			parser: (prompt) => new PlainAnswerParser(tokenizer, prompt),
		};
	};
}
