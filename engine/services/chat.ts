// Chat with whichever model chats.
import type { ChatOptions } from '../chat/chat';
import type { ChatQuestion, ChatResult } from '../chat/messages';
import type { Activity } from './activity';
import type { Models } from './models';

export class ChatService {
	readonly #models: Models;
	readonly #activity: Activity;

	constructor(models: Models, activity: Activity) {
		this.#models = models;
		this.#activity = activity;
	}

	/**
	 * Answers the conversation's last message, as `Chat.answer` does.
	 * @throws NoModelError, or what loading or `Chat.answer` throws.
	 */
	async answer(question: ChatQuestion, options: ChatOptions): Promise<ChatResult> {
		const { chat } = await this.#models.modelFor('chat');
		return this.#activity.run('chat', () => chat.answer(question, options));
	}

	/** Frees a conversation's cache. Unknown conversations are no error. */
	forget(conversationId: string): void {
		for (const { chat } of this.#models.loaded) chat.forget(conversationId);
	}
}
