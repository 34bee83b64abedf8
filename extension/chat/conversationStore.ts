// Keeps the conversations of the workspace between sessions. This file does not use VS Code: it stores through two
// methods of a Memento.
import { Conversation, type SavedConversation } from './conversation';

export interface KeyValueStore {
	get<T>(key: string): T | undefined;
	update(key: string, value: unknown): PromiseLike<void>;
}

const KEY = 'hearth.conversations';
const MAX_CONVERSATIONS = 30;

export class ConversationStore {
	readonly #store: KeyValueStore;

	constructor(store: KeyValueStore) {
		this.#store = store;
	}

	/** The conversation that was open last, or a new one when there is none. */
	latest(): Conversation {
		return new Conversation(this.#saved()[0]);
	}

	/** All conversations that are not empty, the latest first. */
	list(): Conversation[] {
		return this.#saved().map((saved) => new Conversation(saved));
	}

	/** Saves the conversation at its place in the list. A conversation that is not in the list yet becomes the latest. */
	async save(conversation: Conversation): Promise<void> {
		const saved = this.#saved();
		const index = saved.findIndex(({ id }) => id === conversation.id);
		if (index < 0) return this.open(conversation);
		await this.#write(saved.with(index, copyOf(conversation)));
	}

	/** Saves the conversation as the latest. The latest conversation is open when the window comes back. */
	async open(conversation: Conversation): Promise<void> {
		const others = this.#saved().filter(({ id, entries }) => id !== conversation.id && entries.length > 0);
		await this.#write([copyOf(conversation), ...others].slice(0, MAX_CONVERSATIONS));
	}

	/** Removes a conversation from the list for good. */
	async remove(id: string): Promise<void> {
		await this.#write(this.#saved().filter((saved) => saved.id !== id));
	}

	async #write(saved: SavedConversation[]): Promise<void> {
		await this.#store.update(KEY, saved);
	}

	#saved(): SavedConversation[] {
		const saved = this.#store.get<SavedConversation[]>(KEY);
		return Array.isArray(saved) ? saved : [];
	}
}

/** A copy, because a Memento hands out the very object it was given. */
function copyOf(conversation: Conversation): SavedConversation {
	return structuredClone(conversation.toJSON());
}
