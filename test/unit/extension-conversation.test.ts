import { describe, expect, it } from 'vitest';
import type { ChatResult } from '../../engine/protocol';
import { Conversation, type SavedConversation } from '../../extension/chat/conversation';
import { ConversationStore, type KeyValueStore } from '../../extension/chat/conversationStore';
import type { UserEntry } from '../../webview/messages';

const result: ChatResult = {
	content: 'Hello.',
	reasoning: 'greet',
	stopReason: 'stop',
	reasoningMilliseconds: 700,
	usage: {
		promptTokens: 50,
		cachedTokens: 40,
		generatedTokens: 10,
		contextTokens: 8192,
		drafts: { proposed: 6, accepted: 4 },
	},
	timings: { firstTokenMilliseconds: 100, milliseconds: 900, decodeTokensPerSecond: 12 },
};

function asked(...questions: string[]): Conversation {
	const conversation = new Conversation();
	for (const question of questions) {
		const { answer } = conversation.ask(question);
		conversation.finish(answer.id, { ...result, content: `re: ${question}` });
	}
	return conversation;
}

/** The names of what the request attaches to each message of the user. */
const attachedIn = (conversation: Conversation) =>
	conversation.params().messages.flatMap(({ role, context = [] }) => (role === 'user' ? [context] : []));

const contents = (conversation: Conversation) => conversation.entries.map(({ content }) => content);

describe('conversation', () => {
	it('streams reasoning, then the answer, and measures how long it reasoned', () => {
		const conversation = new Conversation();
		const { answer } = conversation.ask('hi');
		expect(conversation.append(answer.id, { channel: 'analysis', text: 'gre' }, 1000)).toEqual({
			reasoning: 'gre',
			content: '',
		});
		expect(conversation.shown(1500).at(-1)).toMatchObject({ reasoning: 'gre', thinkingMilliseconds: 500 });
		conversation.append(answer.id, { channel: 'analysis', text: 'et' }, 2000);
		expect(conversation.append(answer.id, { channel: 'final', text: 'Hel' }, 3500)).toEqual({
			reasoning: '',
			content: 'Hel',
		});
		expect(conversation.entries.at(-1)).toMatchObject({
			content: 'Hel',
			reasoning: 'greet',
			reasoningMilliseconds: 2500,
			state: 'streaming',
		});
		expect(conversation.shown(9000).at(-1)).not.toHaveProperty('thinkingMilliseconds');
		expect(conversation.finish(answer.id, result)).toMatchObject({
			content: 'Hello.',
			state: 'done',
			reasoningMilliseconds: 700,
			stats: { decodeTokensPerSecond: 12, contextTokens: 8192 },
		});
	});

	it('takes nothing more into an answer that has ended', () => {
		const conversation = new Conversation();
		const { answer } = conversation.ask('hi');
		conversation.append(answer.id, { channel: 'final', text: 'Hel' }, 0);
		expect(conversation.interrupt(answer.id, 10)).toMatchObject({ state: 'stopped', content: 'Hel' });
		expect(conversation.append(answer.id, { channel: 'final', text: 'lo' }, 20)).toBeUndefined();
		expect(conversation.finish(answer.id, result)).toBeUndefined();
		expect(conversation.append('unknown', { channel: 'final', text: 'x' }, 20)).toBeUndefined();
	});

	it('tells apart why an answer ended', () => {
		const states = (['stop', 'length', 'context', 'canceled'] as const).map((stopReason) => {
			const conversation = new Conversation();
			return conversation.finish(conversation.ask('q').answer.id, { ...result, stopReason })?.state;
		});
		expect(states).toEqual(['done', 'length', 'length', 'stopped']);
	});

	it('sends earlier turns with the question, and never reasoning or the answer that is being written', () => {
		const conversation = asked('one');
		const { answer } = conversation.ask('two');
		conversation.append(answer.id, { channel: 'final', text: 'partial' }, 0);
		expect(conversation.params().messages).toEqual([
			{ role: 'user', content: 'one' },
			{ role: 'assistant', content: 're: one' },
			{ role: 'user', content: 'two' },
		]);
		expect(JSON.stringify(conversation.params())).not.toContain('greet');
	});

	it('leaves out answers that failed before they said anything', () => {
		const conversation = new Conversation();
		const { answer } = conversation.ask('one');
		conversation.interrupt(answer.id, 0, { message: 'no', actions: ['retry'] });
		conversation.ask('two');
		expect(conversation.params().messages.map(({ role }) => role)).toEqual(['user', 'user']);
	});

	it('sends everything attached so far, in order, each once per message', () => {
		const conversation = new Conversation();
		conversation.attach({ id: 'a', label: 'a.ts', languageId: 'typescript', text: 'old' });
		conversation.attach({ id: 'b', label: 'a.ts', languageId: 'typescript', text: 'new' });
		conversation.attach({ id: 'c', label: 'c.ts', languageId: 'typescript', text: 'gone' });
		conversation.detach('c');
		expect(conversation.attachments).toEqual([{ id: 'b', label: 'a.ts', languageId: 'typescript' }]);
		conversation.finish(conversation.ask('one').answer.id, result);
		expect(conversation.attachments).toEqual([]);
		conversation.attach({ id: 'd', label: 'd.rs', languageId: 'rust', text: 'fn' });
		conversation.ask('two');
		expect(attachedIn(conversation)).toEqual([
			[{ label: 'a.ts', languageId: 'typescript', text: 'new' }],
			[{ label: 'd.rs', languageId: 'rust', text: 'fn' }],
		]);
		expect(conversation.params().messages[1]).not.toHaveProperty('context');
	});

	it('keeps a preamble apart from the answer, and sends it only where there is no answer', () => {
		const conversation = new Conversation();
		const { answer } = conversation.ask('one');
		expect(conversation.append(answer.id, { channel: 'commentary', text: 'I look.' }, 0)).toEqual({
			reasoning: '',
			preamble: 'I look.',
			content: '',
		});
		conversation.append(answer.id, { channel: 'final', text: 'Done.' }, 0);
		expect(conversation.entries.at(-1)).toMatchObject({ preamble: 'I look.', content: 'Done.', reasoning: '' });
		expect(conversation.finish(answer.id, { ...result, content: 'Done.', preamble: 'I look.' })).toMatchObject({
			preamble: 'I look.',
			content: 'Done.',
		});
		const stopped = conversation.ask('two').answer;
		conversation.append(stopped.id, { channel: 'commentary', text: 'I look again.' }, 0);
		conversation.interrupt(stopped.id, 0);
		conversation.ask('three');
		expect(conversation.params().messages.map(({ content }) => content)).toEqual([
			...['one', 'Done.', 'two', 'I look again.', 'three'],
		]);
		const alone = new Conversation();
		const only = alone.ask('one').answer;
		alone.append(only.id, { channel: 'commentary', text: 'I look.' }, 0);
		expect(alone.finish(only.id, { ...result, content: 'I look.' })).not.toHaveProperty('preamble');
	});

	it('says that an answer has no text, offers to try again, and leaves it out of what is sent', () => {
		const conversation = new Conversation();
		const { answer } = conversation.ask('one');
		conversation.append(answer.id, { channel: 'analysis', text: 'Hm.' }, 0);
		const empty = 'The model ended its turn without an answer.';
		expect(conversation.finish(answer.id, { ...result, content: '', empty })).toMatchObject({
			state: 'done',
			notice: { message: empty, actions: ['retry'] },
		});
		expect(new Conversation(JSON.parse(JSON.stringify(conversation))).entries.at(-1)).toHaveProperty('notice');
		const again = conversation.askAgain();
		expect(again).not.toHaveProperty('notice');
		expect(conversation.params().messages).toEqual([{ role: 'user', content: 'one' }]);
	});

	it('takes what turned out to be the answer out of the reasoning', () => {
		const conversation = new Conversation();
		const { answer } = conversation.ask('one');
		conversation.append(answer.id, { channel: 'analysis', text: 'All of it.' }, 0);
		conversation.append(answer.id, { channel: 'final', text: 'All of it.' }, 10);
		const entry = conversation.finish(answer.id, { ...result, content: 'All of it.', reasoning: '' });
		expect(entry).toMatchObject({ content: 'All of it.', reasoning: '' });
		expect(entry).not.toHaveProperty('reasoningMilliseconds');
	});

	it('answers the last question again', () => {
		const conversation = asked('one');
		const before = conversation.entries.at(-1)?.id;
		const again = conversation.askAgain();
		expect(again?.id).not.toBe(before);
		expect(contents(conversation)).toEqual(['one', '']);
		expect(new Conversation().askAgain()).toBeUndefined();
	});

	it('replaces an edited message and all that followed it, and keeps what was attached to it', () => {
		const conversation = new Conversation();
		conversation.attach({ id: 'a', label: 'a.ts', languageId: 'typescript', text: 'A' });
		const { user } = conversation.ask('one');
		conversation.finish(conversation.entries.at(-1)?.id ?? '', result);
		conversation.finish(conversation.ask('two').answer.id, result);
		conversation.ask('one, better', user.id);
		expect(contents(conversation)).toEqual(['one, better', '']);
		expect(attachedIn(conversation)).toEqual([[{ label: 'a.ts', languageId: 'typescript', text: 'A' }]]);
		expect(conversation.ask('x', 'unknown id').user.content).toBe('x');
		expect(conversation.entries).toHaveLength(4);
	});

	it('comes back as it was, but for an answer that will not go on', () => {
		const conversation = asked('one');
		conversation.attach({ id: 'a', label: 'a.ts', languageId: 'typescript', text: 'A' });
		const { answer } = conversation.ask('two');
		conversation.append(answer.id, { channel: 'final', text: 'half' }, 0);
		const saved: SavedConversation = JSON.parse(JSON.stringify(conversation));
		const restored = new Conversation(saved);
		expect(restored.id).toBe(conversation.id);
		expect(contents(restored)).toEqual(['one', 're: one', 'two', 'half']);
		expect(restored.entries.at(-1)).toMatchObject({ state: 'stopped' });
		expect(attachedIn(restored)).toEqual([[], [{ label: 'a.ts', languageId: 'typescript', text: 'A' }]]);
	});

	it('comes back with what each message had attached, whichever version saved it', () => {
		const conversation = new Conversation();
		conversation.attach({ id: 'a', label: 'a.ts', languageId: 'typescript', text: 'A' });
		conversation.finish(conversation.ask('one').answer.id, result);
		conversation.finish(conversation.ask('two').answer.id, result);
		conversation.attach({ id: 'b', label: 'b.ts', languageId: 'typescript', text: 'B' });
		conversation.ask('three');
		const saved: SavedConversation = JSON.parse(JSON.stringify(conversation));
		const texts = (given: Conversation) => attachedIn(given).map((context) => context.map(({ text }) => text));
		expect(texts(new Conversation(saved))).toEqual([['A'], [], ['B']]);
		expect(new Conversation(saved).params()).toEqual(conversation.params());
		// One attachment has lost its text, and one entry is from before there were attachments.
		expect(texts(new Conversation({ ...saved, texts: { b: 'B' } }))).toEqual([[], [], ['B']]);
		const old = saved.entries.map((entry) => ({ ...entry, attachments: undefined }) as unknown as UserEntry);
		expect(texts(new Conversation({ ...saved, entries: old }))).toEqual([[], [], []]);
	});

	it('is named by its first question', () => {
		expect(new Conversation().title).toBe('New chat');
		expect(asked('  How?\nmore', 'two').title).toBe('How?');
		expect(asked('x'.repeat(100)).title).toHaveLength(80);
	});
});

describe('conversation store', () => {
	function memory(): KeyValueStore {
		const values = new Map<string, unknown>();
		return {
			get: <T>(key: string) => values.get(key) as T | undefined,
			update: async (key, value) => {
				values.set(key, value);
			},
		};
	}

	it('opens the one that was open last; saving another does not change that', async () => {
		const store = new ConversationStore(memory());
		expect(store.latest().isEmpty).toBe(true);
		const first = asked('one');
		const second = asked('two');
		await store.save(first);
		await store.open(second);
		await store.save(first);
		expect(store.latest().id).toBe(second.id);
		await store.open(first);
		expect(store.list().map(({ title }) => title)).toEqual(['one', 'two']);
	});

	it('keeps what was saved, not what became of it', async () => {
		const store = new ConversationStore(memory());
		const conversation = asked('one');
		await store.save(conversation);
		conversation.ask('two');
		expect(contents(store.latest())).toEqual(['one', 're: one']);
	});

	it('keeps thirty, without the empty ones, and forgets what is removed', async () => {
		const store = new ConversationStore(memory());
		for (let i = 0; i < 40; i++) {
			await store.open(asked(`question ${i}`));
			await store.open(new Conversation());
		}
		const list = store.list();
		expect(list).toHaveLength(30);
		expect(list.filter(({ isEmpty }) => isEmpty)).toHaveLength(1);
		expect(list[1]?.title).toBe('question 39');
		await store.remove(list[1]?.id ?? '');
		expect(store.list()[1]?.title).toBe('question 38');
	});

	it('starts anew when what was stored is of another shape', () => {
		const store = new ConversationStore({ get: <T>() => 'damaged' as T, update: async () => {} });
		expect(store.latest().isEmpty).toBe(true);
	});
});
