// Chat formats built natively, for files that bring no template of their own or one that cannot be used: ChatML (OpenAI's; Qwen
// and SmolLM use it) and Llama 3's (meta-llama/llama3 `llama/tokenizer.py`).
import type { Tokenizer } from '../tokenizer/tokenizer';
import type { ChatFormat, ChatPrompt } from './family';
import { PlainAnswerParser } from './plain-answer';
import { PromptBuilder } from './prompt-builder';

/** Of models that publish no recommendation of their own; between those of Llama 3 (0.6, 0.9) and Qwen 2.5 (0.7, 0.8). */
export const PLAIN_SAMPLING = { temperature: 0.6, topP: 0.9 };

/** A message's role and text, instructions as `system`. */
interface Message {
	role: string;
	content: string;
}

/** The native format that the vocabulary's special tokens belong to; undefined where they are of no known one. */
export function nativeChatFormat(tokenizer: Tokenizer, stopIds: ReadonlySet<number>): ChatFormat | undefined {
	const find = (name: string) => tokenizer.findSpecial(name);
	const [imStart, imEnd] = [find('<|im_start|>'), find('<|im_end|>')];
	if (imStart !== undefined && imEnd !== undefined) {
		return format('ChatML', tokenizer, stopIds, (builder, { role, content }, open) => {
			builder.special(imStart).text(`${role}\n${content}`);
			if (!open) builder.special(imEnd).text('\n');
		});
	}
	const [header, headerEnd, turnEnd] = [find('<|start_header_id|>'), find('<|end_header_id|>'), find('<|eot_id|>')];
	if (header !== undefined && headerEnd !== undefined && turnEnd !== undefined) {
		return format('Llama 3', tokenizer, stopIds, (builder, { role, content }, open) => {
			builder.special(header).text(role).special(headerEnd).text(`\n\n${content.trim()}`);
			if (!open) builder.special(turnEnd);
		});
	}
	return undefined;
}

function format(
	name: string,
	tokenizer: Tokenizer,
	stopIds: ReadonlySet<number>,
	/** `open`: the message's text goes on. */
	write: (builder: PromptBuilder, message: Message, open: boolean) => void,
): ChatFormat {
	const build = ({ instructions, turns }: ChatPrompt): PromptBuilder => {
		const builder = new PromptBuilder(tokenizer);
		if (tokenizer.bosId !== undefined) builder.special(tokenizer.bosId);
		if (instructions) write(builder, { role: 'system', content: instructions }, false);
		for (const turn of turns) write(builder, turn, false);
		write(builder, { role: 'assistant', content: '' }, true);
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
}
