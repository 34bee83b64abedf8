// Files and selections that a user attached to a conversation. They become text of the message they came with.
import type { ChatContext } from './messages';

export type Attachment = ChatContext;

/**
 * Remembers with which message each attachment came. It is for clients that send all attachments of a conversation with
 * every turn and do not say which message each belongs to. Each attachment stays where it first appeared, so the text
 * of earlier turns stays the same and their cache can be reused.
 */
export class AttachmentLedger {
	readonly #firstSeen = new Map<string, number>();

	/**
	 * Sorts attachments by message.
	 * @param lastMessage the index of the message that is being answered. New attachments belong to it.
	 */
	place(attachments: readonly Attachment[], lastMessage: number): Map<number, Attachment[]> {
		const placed = new Map<number, Attachment[]>();
		for (const attachment of attachments) {
			const { label, languageId, text } = attachment;
			const key = `${label.length},${languageId?.length ?? ''},${label}${languageId ?? ''}${text}`;
			const seen = this.#firstSeen.get(key);
			// If the user has since taken back the message it came with, it moves to the last message.
			const index = seen !== undefined && seen <= lastMessage ? seen : lastMessage;
			this.#firstSeen.set(key, index);
			const there = placed.get(index);
			if (there) there.push(attachment);
			else placed.set(index, [attachment]);
		}
		return placed;
	}
}

/**
 * A message's text with its attachments before it. The fence around an attachment is longer than any fence within it.
 */
export function withAttachments(message: string, attachments: readonly Attachment[]): string {
	if (attachments.length === 0) return message;
	const blocks = attachments.map(({ label, languageId, text }) => {
		let longest = 2;
		for (const [found] of text.matchAll(/`{3,}/g)) longest = Math.max(longest, found.length);
		const fence = '`'.repeat(longest + 1);
		const end = text.endsWith('\n') ? '' : '\n';
		return `${oneLine(label)}:\n${fence}${oneLine(languageId ?? '')}\n${text}${end}${fence}\n\n`;
	});
	return blocks.join('') + message;
}

/** Characters that attachments add to a message, not counting their fences. */
export function attachedLength(attachments: readonly Attachment[]): number {
	return attachments.reduce((sum, { label, text }) => sum + label.length + text.length, 0);
}

function oneLine(text: string): string {
	return text.replace(/\s+/g, ' ').trim();
}
