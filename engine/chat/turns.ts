// The turns of a conversation as prompts have them. User and assistant alternate, and the user begins.
import type { ChatTurn } from '../families/family';
import { type Attachment, attachedLength, withAttachments } from './attachments';
import type { ChatMessage } from './messages';

/** A turn whose text is put together when it is first asked for. */
interface ConversationTurn extends Pick<ChatTurn, 'role'> {
	/** The index of the turn's first message in the conversation. */
	message: number;
	/** Characters of the turn's text, without fences and the blank lines that join its parts. */
	length: number;
	text(): string;
}

/**
 * Makes turns of messages. An answer that was stopped before its first word leaves two questions in a row, which many
 * templates refuse. Neighbouring messages of one role therefore become one turn, with a blank line between them.
 * Messages without text and answers before the first question are left out.
 * @param attachments attachments by the index of their message, in addition to those that the messages carry themselves
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
		// The last question is answered even if it is empty.
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

/**
 * How many turns to leave out so that the rest begins with a message. The turn that has the message stays. If that is
 * an assistant's turn, the rest begins with the user's turn after it.
 */
export function turnsBefore(turns: readonly ConversationTurn[], message: number): number {
	const at = Math.max(
		0,
		turns.findLastIndex((turn) => turn.message <= message),
	);
	return turns[at]?.role === 'assistant' ? at + 1 : at;
}

/** Computes a text when it is first needed, and keeps it. */
function once(compute: () => string): () => string {
	let text: string | undefined;
	return () => {
		text ??= compute();
		return text;
	};
}
