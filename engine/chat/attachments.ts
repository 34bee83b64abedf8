// Files and selections a user attached to a conversation, as text of the message they came with.
import type { ChatContext } from './messages';

export type Attachment = ChatContext;

/**
 * Remembers with which message each attachment came, for clients that send all of a conversation's with every turn and do not
 * say: keeping each where it first appeared keeps earlier turns, and so their cache, as they were.
 */
export class AttachmentLedger {
	readonly #firstSeen = new Map<string, number>();

	/**
	 * Sorts attachments by message.
	 * @param lastMessage index of the message now being answered, which new ones belong to
	 */
	place(attachments: readonly Attachment[], lastMessage: number): Map<number, Attachment[]> {
		const placed = new Map<number, Attachment[]>();
		for (const attachment of attachments) {
			const { label, languageId, text } = attachment;
			const key = `${label.length},${languageId?.length ?? ''},${label}${languageId ?? ''}${text}`;
			const seen = this.#firstSeen.get(key);
			// A message the user has since taken back no longer carries it.
			const index = seen !== undefined && seen <= lastMessage ? seen : lastMessage;
			this.#firstSeen.set(key, index);
			const there = placed.get(index);
			if (there) there.push(attachment);
			else placed.set(index, [attachment]);
		}
		return placed;
	}
}

/** A message's text with its attachments before it, each in a fence longer than any in its text. */
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

/** Characters that attachments add to a message, but for their fences. */
export function attachedLength(attachments: readonly Attachment[]): number {
	return attachments.reduce((sum, { label, text }) => sum + label.length + text.length, 0);
}

function oneLine(text: string): string {
	return text.replace(/\s+/g, ' ').trim();
}
