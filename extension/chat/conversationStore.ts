// Keeps the workspace's conversations between sessions. No VS Code in here: it stores through the narrow face of a Memento.
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

	/** The conversation that was open last; a new one where there is none. */
	latest(): Conversation {
		return new Conversation(this.#saved()[0]);
	}

	/** All conversations but empty ones, the latest first. */
	list(): Conversation[] {
		return this.#saved().map((saved) => new Conversation(saved));
	}

	/** Saves it where it stands in the list; a conversation not in the list yet becomes the latest. */
	async save(conversation: Conversation): Promise<void> {
		const saved = this.#saved();
		const index = saved.findIndex(({ id }) => id === conversation.id);
		if (index < 0) return this.open(conversation);
		await this.#write(saved.with(index, copyOf(conversation)));
	}

	/** Saves it as the latest: the one that is open when the window comes back. */
	async open(conversation: Conversation): Promise<void> {
		const others = this.#saved().filter(({ id, entries }) => id !== conversation.id && entries.length > 0);
		await this.#write([copyOf(conversation), ...others].slice(0, MAX_CONVERSATIONS));
	}

	/** Removes it from the list for good. */
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
