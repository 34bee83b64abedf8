// The turns of a conversation as a model is shown them: user and assistant in turn, beginning with the user.
import type { ChatTurn } from '../families/family';
import { type Attachment, attachedLength, withAttachments } from './attachments';
import type { ChatMessage } from './messages';

/** A turn, whose text is put together when it is first asked for, and the index of its first message in the conversation. */
interface ConversationTurn extends Pick<ChatTurn, 'role'> {
	message: number;
	/** Characters of its text, but for what joins its parts. */
	length: number;
	text(): string;
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
	let texts: (() => string)[] = [];
	for (const [message, { role, content, context = [] }] of messages.entries()) {
		const attached = role === 'user' ? [...(attachments.get(message) ?? []), ...context] : [];
		const last = turns.at(-1);
		// The last question is answered, whatever is in it.
		if (attached.length === 0 && content.trim() === '' && message < messages.length - 1) continue;
		if (!last && role !== 'user') continue;
		const length = content.length + attachedLength(attached);
		const text = () => withAttachments(content, attached);
		if (last?.role === role) {
			texts.push(text);
			last.length += length;
		} else {
			const own = [text];
			texts = own;
			turns.push({ role, message, length, text: once(() => own.map((each) => each()).join('\n\n')) });
		}
	}
	return turns;
}

/** How many turns to leave out for the rest to begin at a message. A turn that it is part of stays; the first is the user's. */
export function turnsBefore(turns: readonly ConversationTurn[], message: number): number {
	const at = Math.max(
		0,
		turns.findLastIndex((turn) => turn.message <= message),
	);
	return turns[at]?.role === 'assistant' ? at + 1 : at;
}

/** Computes a text when it is needed, and not again. */
function once(compute: () => string): () => string {
	let text: string | undefined;
	return () => {
		text ??= compute();
		return text;
	};
}
