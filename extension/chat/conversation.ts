// One chat conversation and how it changes: what was asked, what was answered and what is sent to the engine next. This
// file does not use VS Code.
import { randomUUID } from 'node:crypto';
import type { ChatContext, ChatDelta, ChatMessage, ChatParams, ChatResult } from '../../engine/protocol';
import type { AnswerTexts, AssistantEntry, Attachment, ChatEntry, ShownError, UserEntry } from '../../webview/messages';

/** A file or selection as it was when the user attached it. */
export interface AttachedText extends Attachment {
	text: string;
}

/** What is kept of a conversation between sessions. */
export interface SavedConversation {
	id: string;
	createdAt: number;
	entries: ChatEntry[];
	/** The attached texts by attachment id. */
	texts: Record<string, string>;
}

export class Conversation {
	readonly id: string;
	readonly createdAt: number;
	#entries: ChatEntry[];
	#texts: Map<string, string>;
	#pending: AttachedText[] = [];
	#reasoningStartedAt: number | undefined;

	constructor(saved?: SavedConversation) {
		this.id = saved?.id ?? randomUUID();
		this.createdAt = saved?.createdAt ?? Date.now();
		this.#texts = new Map(Object.entries(saved?.texts ?? {}));
		this.#entries = (saved?.entries ?? []).map(restored);
	}

	get entries(): readonly ChatEntry[] {
		return this.#entries;
	}

	/** The entries as the page shows them at the time `now` (milliseconds). */
	shown(now: number): ChatEntry[] {
		const startedAt = this.#reasoningStartedAt;
		return this.#entries.map((entry) =>
			entry.role === 'assistant' &&
			entry.state === 'streaming' &&
			startedAt !== undefined &&
			entry.reasoningMilliseconds === undefined
				? { ...entry, thinkingMilliseconds: now - startedAt }
				: entry,
		);
	}

	get isEmpty(): boolean {
		return this.#entries.length === 0;
	}

	/** The first question, shortened. The list of conversations shows it as the name of this one. */
	get title(): string {
		const first = this.#entries.find((entry) => entry.role === 'user');
		const line = first?.content.trim().split('\n')[0] ?? 'New chat';
		return line.length > 80 ? `${line.slice(0, 79)}…` : line;
	}

	/** What the next message will carry. */
	get attachments(): Attachment[] {
		return this.#pending.map(withoutText);
	}

	/** Attaches a text to the next message. It replaces an earlier attachment of the same place. */
	attach(attachment: AttachedText): void {
		this.#pending = [...this.#pending.filter((other) => other.label !== attachment.label), attachment];
	}

	detach(id: string): void {
		this.#pending = this.#pending.filter((attachment) => attachment.id !== id);
	}

	/**
	 * Adds the user's message with its attachments, and an empty answer to it.
	 * @param replaces - id of an earlier user message that the new one replaces. That message and everything after it go;
	 *   its attachments move to the new message.
	 */
	ask(content: string, replaces?: string): { user: UserEntry; answer: AssistantEntry } {
		const index = this.#entries.findIndex((entry) => entry.id === replaces && entry.role === 'user');
		const replaced = this.#entries[index];
		const kept = replaced?.role === 'user' ? replaced.attachments : [];
		if (index >= 0) this.#entries = this.#entries.slice(0, index);
		for (const { id, text } of this.#pending) this.#texts.set(id, text);
		const user: UserEntry = {
			role: 'user',
			id: randomUUID(),
			content,
			attachments: [...kept, ...this.#pending.map(withoutText)],
		};
		this.#pending = [];
		this.#entries.push(user);
		return { user, answer: this.#startAnswer() };
	}

	/** Drops the last answer and starts another one to the same question. Returns undefined when there is no question. */
	askAgain(): AssistantEntry | undefined {
		const last = this.#entries.at(-1);
		if (last?.role === 'assistant') this.#entries = this.#entries.slice(0, -1);
		return this.#entries.at(-1)?.role === 'user' ? this.#startAnswer() : undefined;
	}

	/**
	 * The request for the answer that streams: the conversation up to the question, with the attachments of each message.
	 */
	params(): Pick<ChatParams, 'conversationId' | 'messages'> {
		const messages: ChatMessage[] = [];
		for (const entry of this.#entries) {
			if (entry.role === 'user') {
				const context = this.#attachedTo(entry);
				messages.push({ role: 'user', content: entry.content, ...(context.length > 0 && { context }) });
			} else if (entry.state !== 'streaming') {
				const content = entry.content || entry.preamble || '';
				if (content !== '') messages.push({ role: 'assistant', content });
			}
		}
		return { conversationId: this.id, messages };
	}

	/** Takes in a streamed piece and returns what the page has to append. */
	append(id: string, { channel, text }: ChatDelta, now: number): AnswerTexts | undefined {
		const entry = this.#streaming(id);
		if (!entry) return undefined;
		switch (channel) {
			case 'analysis':
				this.#reasoningStartedAt ??= now;
				entry.reasoning += text;
				return { reasoning: text, content: '' };
			case 'commentary':
				entry.preamble = (entry.preamble ?? '') + text;
				return { reasoning: '', preamble: text, content: '' };
			case 'final':
				this.#endReasoning(entry, now);
				entry.content += text;
				return { reasoning: '', content: text };
		}
	}

	/** Ends the answer as the engine reports it. */
	finish(id: string, result: ChatResult): AssistantEntry | undefined {
		const entry = this.#streaming(id);
		if (!entry) return undefined;
		entry.content = result.content;
		entry.reasoning = result.reasoning;
		if (result.preamble === undefined) delete entry.preamble;
		else entry.preamble = result.preamble;
		if (result.empty !== undefined) entry.notice = { message: result.empty, actions: ['retry'] };
		if (result.reasoning === '') delete entry.reasoningMilliseconds;
		else entry.reasoningMilliseconds = result.reasoningMilliseconds;
		entry.state = result.stopReason === 'canceled' ? 'stopped' : result.stopReason === 'stop' ? 'done' : 'length';
		const { usage, timings } = result;
		entry.stats = {
			decodeTokensPerSecond: timings.decodeTokensPerSecond,
			firstTokenMilliseconds: timings.firstTokenMilliseconds,
			milliseconds: timings.milliseconds,
			promptTokens: usage.promptTokens,
			cachedTokens: usage.cachedTokens,
			generatedTokens: usage.generatedTokens,
			contextTokens: usage.contextTokens,
			...(usage.droppedMessages !== undefined && { droppedMessages: usage.droppedMessages }),
		};
		return entry;
	}

	/** Ends the answer early: the user stopped it, or it failed with `error`. */
	interrupt(id: string, now: number, error?: ShownError): AssistantEntry | undefined {
		const entry = this.#streaming(id);
		if (!entry) return undefined;
		if (entry.reasoning !== '') this.#endReasoning(entry, now);
		entry.state = error ? 'error' : 'stopped';
		if (error) entry.error = error;
		return entry;
	}

	toJSON(): SavedConversation {
		const used = new Set(
			this.#entries.flatMap((entry) => (entry.role === 'user' ? entry.attachments.map(({ id }) => id) : [])),
		);
		return {
			id: this.id,
			createdAt: this.createdAt,
			entries: this.#entries,
			texts: Object.fromEntries([...this.#texts].filter(([id]) => used.has(id))),
		};
	}

	#attachedTo({ attachments }: UserEntry): ChatContext[] {
		return attachments.flatMap(({ id, label, languageId }) => {
			const text = this.#texts.get(id);
			return text === undefined ? [] : [{ label, languageId, text }];
		});
	}

	#startAnswer(): AssistantEntry {
		const answer: AssistantEntry = {
			role: 'assistant',
			id: randomUUID(),
			content: '',
			reasoning: '',
			state: 'streaming',
		};
		this.#entries.push(answer);
		this.#reasoningStartedAt = undefined;
		return answer;
	}

	#streaming(id: string): AssistantEntry | undefined {
		return this.#entries.find(
			(entry): entry is AssistantEntry => entry.role === 'assistant' && entry.id === id && entry.state === 'streaming',
		);
	}

	#endReasoning(entry: AssistantEntry, now: number): void {
		if (this.#reasoningStartedAt === undefined) return;
		entry.reasoningMilliseconds ??= now - this.#reasoningStartedAt;
	}
}

/** An entry as it was saved. An entry of an older version may lack fields that have been added since. */
function restored(entry: ChatEntry): ChatEntry {
	if (entry.role === 'user') return { ...entry, attachments: entry.attachments ?? [] };
	// The answer was still streaming when its window went away, and nothing will continue it.
	return entry.state === 'streaming' ? { ...entry, state: 'stopped' } : entry;
}

function withoutText({ id, label, languageId }: AttachedText): Attachment {
	return { id, label, languageId };
}
