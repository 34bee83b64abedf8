// Collects an answer while it streams, by channel: the text for the user, and the reasoning behind it.
import type { AnswerEvent, Channel } from '../families/family';
import type { ChatResult } from './messages';

export class Answer {
	readonly #onText: (text: { channel: Channel; text: string }) => void;
	reasoning = '';
	#final = '';
	#preamble = '';
	#reasoningStartedAt: number | undefined;
	#reasoningEndedAt = 0;

	/** @param onText is called with each piece of text as it comes */
	constructor(onText: (text: { channel: Channel; text: string }) => void) {
		this.#onText = onText;
	}

	take(events: readonly AnswerEvent[]): void {
		for (const event of events) {
			// No tools are offered, so a tool call is ignored.
			if (event.kind !== 'text') continue;
			const { channel, text, moved } = event;
			if (channel === 'final') {
				if (moved) this.#takeBack(text);
				this.#final += text;
			} else if (channel === 'commentary') {
				this.#preamble += text;
			} else {
				this.#reasoningStartedAt ??= performance.now();
				this.#reasoningEndedAt = performance.now();
				this.reasoning += text;
			}
			this.#onText({ channel, text });
		}
	}

	get reasoningMilliseconds(): number {
		if (this.reasoning === '' || this.#reasoningStartedAt === undefined) return 0;
		return this.#reasoningEndedAt - this.#reasoningStartedAt;
	}

	/** The text that the user sees. If there is no final message, it is the preamble. */
	get spoken(): Pick<ChatResult, 'content' | 'preamble'> {
		if (this.#final.trim() === '') return { content: this.#preamble || this.#final };
		return { content: this.#final, ...(this.#preamble.trim() !== '' && { preamble: this.#preamble }) };
	}

	/** One sentence that says why there is no text. It is undefined if there is text or the user stopped the answer. */
	emptyBecause(stopReason: ChatResult['stopReason']): string | undefined {
		if (this.spoken.content.trim() !== '') return undefined;
		switch (stopReason) {
			case 'stop':
				return 'The model ended its turn without an answer.';
			case 'length':
				return 'The limit on the length of an answer was reached before its first word.';
			case 'context':
				return 'The context was full before the first word of an answer.';
			case 'canceled':
				return undefined;
		}
	}

	#takeBack(text: string): void {
		const at = this.reasoning.lastIndexOf(text);
		if (at >= 0) this.reasoning = this.reasoning.slice(0, at) + this.reasoning.slice(at + text.length);
	}
}
