// The turns of a conversation as a model is shown them: user and assistant in turn, beginning with the user.
import type { ChatTurn } from '../families/family';
import type { ChatMessage } from '../protocol';
import { type Attachment, withAttachments } from './attachments';

/** A turn and the index of its first message in the conversation. */
export interface ConversationTurn extends ChatTurn {
	message: number;
}

/**
 * Messages as turns. An answer that was stopped before its first word leaves two questions in a row, and many templates refuse
 * that: neighbouring messages of one role become one turn, a blank line between them. What has no text, and an answer to nothing
 * at the beginning, is left out.
 * @param attachments by message, beside those that the messages carry themselves
 */
export function turnsOf(
	messages: readonly ChatMessage[],
	attachments: ReadonlyMap<number, readonly Attachment[]>,
): ConversationTurn[] {
	const turns: ConversationTurn[] = [];
	for (const [message, { role, content: said, context = [] }] of messages.entries()) {
		const attached = [...(attachments.get(message) ?? []), ...context];
		const content = role === 'user' ? withAttachments(said, attached) : said;
		const last = turns.at(-1);
		// The last question is answered, whatever is in it.
		if (content.trim() === '' && message < messages.length - 1) continue;
		if (last?.role === role) last.content += `\n\n${content}`;
		else if (last || role === 'user') turns.push({ role, content, message });
	}
	return turns;
}

/** The turns without those before a message; one that it is part of stays whole. The first is the user's, the last stays. */
export function turnsFrom(turns: readonly ConversationTurn[], message: number): readonly ConversationTurn[] {
	const at = Math.max(
		0,
		turns.findLastIndex((turn) => turn.message <= message),
	);
	return turns.slice(turns[at]?.role === 'assistant' ? at + 1 : at);
}
