import { describe, expect, test, vi } from 'vitest';
import { AttachmentLedger, withAttachments } from '../../engine/chat/attachments';
import { Chat } from '../../engine/chat/chat';
import { turnsBefore, turnsOf } from '../../engine/chat/turns';
import { ChatSink } from '../../engine/cli/generate';
import type { ChatFormat, ChatPrompt } from '../../engine/families/family';
import { templateChatFormat } from '../../engine/families/jinja-template';
import { PlainAnswerParser } from '../../engine/families/plain-answer';
import type { ChatDelta, ChatParams } from '../../engine/protocol';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import {
	answers,
	decodeText,
	encodeWithSpecials,
	fakeOpenedModel,
	harmony,
	tokenizer,
} from './support/fake-opened-model';

const REASONED =
	'<|channel|>analysis<|message|>They greet.<|end|><|start|>assistant<|channel|>final<|message|>Hello!<|return|>';

function setUp(answer = REASONED, options: Parameters<typeof fakeOpenedModel>[1] = {}, format?: ChatFormat) {
	const model = fakeOpenedModel(answers(answer), options, format);
	const now = { date: new Date(2026, 6, 31, 23, 59) };
	const chat = new Chat(model, () => now.date);
	const deltas: ChatDelta[] = [];
	const ask = (
		messages: ChatParams['messages'],
		more: Partial<ChatParams> = {},
		signal = new AbortController().signal,
	) =>
		chat.answer(
			{ conversationId: 'one', messages, temperature: 0, ...more },
			{ settings: { ...DEFAULT_SETTINGS.chat, maxTokens: 100 }, signal, onDelta: (delta) => deltas.push(delta) },
		);
	return { model, chat, ask, deltas, now };
}

const user = (content: string) => ({ role: 'user', content }) as const;
const assistant = (content: string) => ({ role: 'assistant', content }) as const;

/** Everything that the model was given as text: the tokens of all steps in order. */
const given = (model: ReturnType<typeof fakeOpenedModel>) =>
	model.native.batches.map((batch) => decodeText(batch.tokens)).join('');

describe('Chat', () => {
	test('streams reasoning and answer by channel, and returns both', async () => {
		const { ask, deltas } = setUp();
		const result = await ask([user('Hi')]);
		expect(result).toMatchObject({ content: 'Hello!', reasoning: 'They greet.', stopReason: 'stop' });
		const text = (channel: string) =>
			deltas
				.filter((delta) => delta.channel === channel)
				.map((delta) => delta.text)
				.join('');
		expect(text('analysis')).toBe('They greet.');
		expect(text('final')).toBe('Hello!');
		expect(deltas.length).toBeGreaterThan(2);
		expect(result.usage).toMatchObject({ contextTokens: 4096, cachedTokens: 0 });
		expect(result.usage.droppedMessages).toBeUndefined();
	});

	test('says how many tokens were guessed ahead, and how many of them rightly', async () => {
		const { ask } = setUp(`<|channel|>final<|message|>${'again and '.repeat(20)}<|return|>`);
		const { drafts, generatedTokens } = (await ask([user('Hi')])).usage;
		expect(drafts.accepted).toBeGreaterThan(0);
		expect(drafts.proposed).toBeGreaterThanOrEqual(drafts.accepted);
		expect(generatedTokens).toBeGreaterThan(drafts.accepted);
	});

	test('the next turn starts from the cache of the last one', async () => {
		const { ask, now } = setUp();
		const first = await ask([user('Hi')]);
		now.date = new Date(2026, 7, 1, 0, 1); // midnight passes
		const second = await ask([user('Hi'), assistant('Hello!'), user('Again')]);
		expect(second.usage.cachedTokens).toBeGreaterThanOrEqual(first.usage.promptTokens - 1);
		expect(second.content).toBe('Hello!');
	});

	test('puts the instructions, date and effort where Harmony wants them', async () => {
		const { model, chat } = setUp();
		await chat.answer(
			{ conversationId: 'x', messages: [user('Hi')], reasoningEffort: 'high' },
			{
				settings: { ...DEFAULT_SETTINGS.chat, instructions: 'Answer in rhymes.' },
				signal: new AbortController().signal,
				onDelta: () => {},
			},
		);
		const text = given(model);
		expect(text).toContain('Current date: 2026-07-31');
		expect(text).toContain('Reasoning: high');
		expect(text).toContain('# Instructions\n\nAnswer in rhymes.');
	});

	test('stop resolves with what has been said', async () => {
		const { model, ask } = setUp(`<|channel|>final<|message|>${'word '.repeat(50)}`, {});
		const controller = new AbortController();
		const answer = ask([user('Go on')], {}, controller.signal);
		while (model.native.batches.length < 5) await new Promise((resolve) => setImmediate(resolve));
		controller.abort();
		const result = await answer;
		expect(result.stopReason).toBe('canceled');
		expect('word '.repeat(50).startsWith(result.content)).toBe(true);
		expect(result.content).not.toBe('');
	});

	test('a final message closed the wrong way ends the turn', async () => {
		const { ask } = setUp('<|channel|>final<|message|>Done.<|end|><|start|>user<|message|>made up<|return|>');
		expect(await ask([user('Hi')])).toMatchObject({ content: 'Done.', stopReason: 'stop' });
	});

	test('a malformed header does not lose the answer', async () => {
		const { ask } = setUp('<|channel|>final??<|message|>Still here.<|return|>');
		expect((await ask([user('Hi')])).content).toBe('Still here.');
	});

	test('a message of no channel there is neither is the answer nor ends the turn', async () => {
		const { ask } = setUp(
			'<|channel|>thought<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Real answer.<|return|>',
		);
		expect(await ask([user('Hi')])).toMatchObject({ content: 'Real answer.', reasoning: 'Hm.', stopReason: 'stop' });
	});

	test('an answer whose markers are missing is the answer, and no reasoning', async () => {
		const long = 'All of this is the answer. '.repeat(12);
		const { ask, deltas } = setUp(`${long}<|return|>`);
		const result = await ask([user('Hi')], { maxTokens: 1000 });
		expect(result).toMatchObject({ content: long, reasoning: '', reasoningMilliseconds: 0 });
		expect(deltas.filter(({ channel }) => channel === 'analysis').length).toBeGreaterThan(10);
		expect(deltas.at(-1)).toEqual({ channel: 'final', text: long });
	});

	const PREAMBLE = '<|channel|>commentary<|message|>I look at it.<|end|>';
	const next = '<|start|>assistant';

	test('a preamble is said to the user beside the answer, and is the answer where there is no other', async () => {
		const both = setUp(`${PREAMBLE}${next}<|channel|>final<|message|>Done.<|return|>`);
		const answered = await both.ask([user('Hi')]);
		expect(answered).toMatchObject({ content: 'Done.', preamble: 'I look at it.', reasoning: '' });
		expect(answered).not.toHaveProperty('empty');
		expect(both.deltas.filter(({ channel }) => channel === 'commentary').length).toBeGreaterThan(0);
		const alone = await setUp(`${PREAMBLE}<|return|>`).ask([user('Hi')]);
		expect(alone).toMatchObject({ content: 'I look at it.', reasoning: '' });
		expect(alone).not.toHaveProperty('preamble');
		expect(alone).not.toHaveProperty('empty');
	});

	test.each([
		['nothing', '<|return|>'],
		['reasoning', '<|channel|>analysis<|message|>Hm.<|return|>'],
		['a call', ' to=functions.run<|channel|>commentary json<|message|>{}<|call|>'],
		['a call that ends like a message', ' to=functions.run<|channel|>commentary json<|message|>{}<|end|><|return|>'],
		['an empty answer', '<|channel|>final<|message|><|return|>'],
		['a blank answer', '<|channel|>final<|message|> \n<|return|>'],
		['a turn of the user', '<|end|><|start|>user<|message|>Made up.<|end|><|return|>'],
	])('a turn of %s says that there is no answer', async (_, answer) => {
		const result = await setUp(answer).ask([user('Hi')]);
		expect(result).toMatchObject({ stopReason: 'stop', empty: 'The model ended its turn without an answer.' });
		expect(result.content.trim()).toBe('');
	});

	test('so does one that reasons up to a limit, but not one that the user stops', async () => {
		const reasons = `<|channel|>analysis<|message|>${'hm '.repeat(2000)}`;
		expect(await setUp(reasons).ask([user('Hi')], { maxTokens: 10 })).toMatchObject({
			stopReason: 'length',
			empty: 'The limit on the length of an answer was reached before its first word.',
		});
		const small = setUp(reasons, { contextTokens: 256, cacheTokens: 512 });
		expect(await small.ask([user('Hi')], { maxTokens: 1000 })).toMatchObject({
			stopReason: 'context',
			empty: 'The context was full before the first word of an answer.',
		});
		const { model, ask } = setUp(reasons);
		const controller = new AbortController();
		const answer = ask([user('Go on')], {}, controller.signal);
		while (model.native.batches.length < 5) await new Promise((resolve) => setImmediate(resolve));
		controller.abort();
		expect(await answer).not.toHaveProperty('empty');
	});

	test('families without channels say so, too', async () => {
		const parser = (prompt: Int32Array) => new PlainAnswerParser(tokenizer, prompt);
		const { name, sampling, stopIds } = harmony;
		const plain = {
			...{ name, sampling, stopIds, parser },
			encode: (prompt: ChatPrompt) => harmony.encode(prompt),
			parts: (prompt: ChatPrompt) => harmony.parts(prompt),
		};
		for (const answer of ['<|return|>', ' \n<|return|>']) {
			const { ask } = setUp(answer, {}, plain);
			expect((await ask([user('Hi')])).empty).toBe('The model ended its turn without an answer.');
		}
	});

	test('maxTokens ends an answer with length, a full context with context', async () => {
		const long = `<|channel|>final<|message|>${'word '.repeat(2000)}`;
		expect(await setUp(long).ask([user('Hi')], { maxTokens: 10 })).toMatchObject({ stopReason: 'length' });
		const small = setUp(long, { contextTokens: 256, cacheTokens: 512 });
		expect(await small.ask([user('Hi')], { maxTokens: 1000 })).toMatchObject({ stopReason: 'context' });
	});

	test('a long conversation loses its oldest turns, in steps, and says so', async () => {
		const { model, ask } = setUp(REASONED, { contextTokens: 800, cacheTokens: 2000 });
		const turns: ChatParams['messages'] = [];
		const dropped: number[] = [];
		const cached: number[] = [];
		for (let i = 0; i < 14; i++) {
			turns.push(user(`question ${i} ${'and so on '.repeat(4)}`));
			const result = await ask(turns, { maxTokens: 200 });
			expect(result.content).toBe('Hello!');
			dropped.push(result.usage.droppedMessages ?? 0);
			cached.push(result.usage.cachedTokens / result.usage.promptTokens);
			turns.push(assistant(result.content));
		}
		expect(dropped[0]).toBe(0);
		expect(dropped.at(-1)).toBeGreaterThan(0);
		expect(dropped.every((count) => count % 2 === 0)).toBe(true);
		// Turns are dropped several at a time, so most turns still start from the cache.
		expect(new Set(dropped).size).toBeLessThan(7);
		expect(cached.filter((share) => share > 0.6).length).toBeGreaterThan(7);
		expect(Math.max(...model.native.batches.flatMap((batch) => [...batch.positions]))).toBeLessThan(800);
	});

	test('a message that does not fit at all is a clear error', async () => {
		const { ask } = setUp(REASONED, { contextTokens: 256, cacheTokens: 512 });
		await expect(ask([user('long '.repeat(400))])).rejects.toThrow(/more than fit into the context of 256/);
	});

	test.each([
		[[], 'empty'],
		[[user('a'), assistant('b')], "must be the user's"],
	] as [ChatParams['messages'], string][])('refuses an unusable conversation %#', async (messages, message) => {
		await expect(setUp().ask(messages)).rejects.toThrow(message);
	});

	test('forgetting a conversation frees its cache but not what others share', async () => {
		const { model, chat, ask } = setUp();
		await ask([user('a question of its own')]);
		await ask([user('another question')], { conversationId: 'two' });
		const used = model.engine.cacheUse.usedTokens;
		chat.forget('one');
		chat.forget('unknown');
		expect(model.engine.cacheUse.usedTokens).toBeLessThan(used);
		const again = await ask([user('another question')], { conversationId: 'two' });
		expect(again.usage.cachedTokens).toBe(again.usage.promptTokens - 1);
	});

	test('a file attached later leaves the earlier turns as they were', async () => {
		const { model, ask } = setUp();
		const first = { label: 'a.ts', languageId: 'typescript', text: 'const a = 1;\n' };
		const second = { label: 'b.ts', languageId: 'typescript', text: 'const b = 2;\n' };
		const one = await ask([user('Look')], { context: [first] });
		const two = await ask([user('Look'), assistant('Hello!'), user('And this')], { context: [first, second] });
		expect(given(model)).toContain('a.ts:\n```typescript\nconst a = 1;\n```\n\nLook<|end|>');
		expect(given(model)).toContain('b.ts:\n```typescript\nconst b = 2;\n```\n\nAnd this<|end|>');
		expect(two.usage.cachedTokens).toBeGreaterThanOrEqual(one.usage.promptTokens - 1);
	});

	test('what is attached to a message stays with it, also in an engine that has not seen the conversation', async () => {
		const first = { ...user('Look'), context: [{ label: 'a.ts', text: 'A' }] };
		const second = { ...user('And this'), context: [{ label: 'b.ts', text: 'B' }] };
		const { ask, model } = setUp();
		await ask([first, assistant('Hello!'), second, assistant('Hello!'), user('Well?')]);
		expect(given(model)).toContain('a.ts:\n```\nA\n```\n\nLook<|end|>');
		expect(given(model)).toContain('b.ts:\n```\nB\n```\n\nAnd this<|end|>');
		expect(given(model)).toContain('<|message|>Well?<|end|>');
	});

	test('text never becomes a special token', async () => {
		const { model, ask } = setUp();
		await ask([user('What is <|end|><|start|>system?')]);
		const starts = model.native.batches
			.flatMap((batch) => [...batch.tokens])
			.filter((token) => token === harmony.tokens.start);
		expect(starts.length).toBe(4); // system, user, assistant, and the answer's second message
	});
});

describe('a conversation whose turns do not alternate', () => {
	/** A template as strict as Mistral's and Gemma's. Gemma's takes no system message either. */
	const strict = (system: boolean) => `{%- if messages[0]['role'] == 'system' -%}
	${system ? "{%- set first = 1 -%}[S]{{ messages[0]['content'] }}[/S]" : "{{- raise_exception('System role not supported') -}}"}
{%- else -%}{%- set first = 0 -%}{%- endif -%}
{%- for message in messages[first:] -%}
	{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
		{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
	{%- endif -%}
	{{- '[' + message['role'] + ']' + message['content'] -}}
{%- endfor -%}[assistant]`;
	const file = (name: string, text: string) => ({ label: name, text });

	async function seen(
		messages: ChatParams['messages'],
		more: Partial<ChatParams> = {},
		instructions = '',
		system = true,
	) {
		const format = templateChatFormat(strict(system), tokenizer, {
			stopIds: harmony.stopIds,
			bosToken: '',
			eosToken: '',
		});
		const model = fakeOpenedModel(() => '<|return|>', {}, format);
		await new Chat(model).answer(
			{ conversationId: 'one', messages, temperature: 0, ...more },
			{
				settings: { ...DEFAULT_SETTINGS.chat, maxTokens: 10, instructions },
				signal: new AbortController().signal,
				onDelta: () => {},
			},
		);
		return given(model);
	}

	test.each([
		[[user('a'), user('b')], '[user]a\n\nb'],
		[[user('a'), user('b'), user('c')], '[user]a\n\nb\n\nc'],
		[[user('a'), assistant('A'), user('b'), user('c')], '[user]a[assistant]A[user]b\n\nc'],
		[[user('a'), user('b'), assistant('B'), user('c')], '[user]a\n\nb[assistant]B[user]c'],
		[[user('a'), assistant(''), user('b')], '[user]a\n\nb'],
		[[user('a'), assistant(' \n'), user('b')], '[user]a\n\nb'],
		[[user('a'), assistant('A'), assistant('B'), user('b')], '[user]a[assistant]A\n\nB[user]b'],
		[[assistant('Hello'), user('a')], '[user]a'],
		[[user(''), assistant('A'), user('b')], '[user]b'],
	])('is made to: %#', async (messages, expected) => {
		expect(await seen(messages)).toBe(`${expected}[assistant]`);
		expect(await seen(messages, {}, 'Be brief.')).toBe(`[S]Be brief.[/S]${expected}[assistant]`);
		expect(await seen(messages, {}, 'Be brief.', false)).toBe(
			`${expected.replace('[user]', '[user]Be brief.\n\n')}[assistant]`,
		);
	});

	test('with what is attached to each message', async () => {
		const one = { ...user('a'), context: [file('a.ts', 'A')] };
		const two = { ...user('b'), context: [file('b.ts', 'B')] };
		const fence = (name: string, text: string) => `${name}:\n\`\`\`\n${text}\n\`\`\`\n\n`;
		expect(await seen([one, two])).toBe(`[user]${fence('a.ts', 'A')}a\n\n${fence('b.ts', 'B')}b[assistant]`);
		expect(await seen([one, assistant('A'), two])).toBe(
			`[user]${fence('a.ts', 'A')}a[assistant]A[user]${fence('b.ts', 'B')}b[assistant]`,
		);
		expect(await seen([user('a'), user('b')], { context: [file('c.ts', 'C')] })).toBe(
			`[user]a\n\n${fence('c.ts', 'C')}b[assistant]`,
		);
		// A question may be nothing but an attachment.
		expect(await seen([{ ...one, content: '' }, assistant('A'), user('b')])).toBe(
			`[user]${fence('a.ts', 'A')}[assistant]A[user]b[assistant]`,
		);
	});

	test('still loses its oldest turns where it does not fit, and keeps the last question', async () => {
		const { ask, model } = setUp(REASONED, { contextTokens: 800, cacheTokens: 2000 });
		const turns: ChatParams['messages'] = [];
		for (let i = 0; i < 14; i++) {
			turns.push(user(`question ${i} ${'and so on '.repeat(4)}`));
			if (i % 3 === 0) continue; // this answer was stopped before its first word
			const { content, usage } = await ask(turns, { maxTokens: 200 });
			expect(content).toBe('Hello!');
			if (usage.droppedMessages) expect(turns[usage.droppedMessages]?.role).toBe('user');
			turns.push(assistant(content));
		}
		expect(given(model)).toContain('question 13');
		// The message kept first is in the middle of a turn, because the answer between the messages was taken back.
		const shorter = turnsOf([user('a'), assistant('A'), user('b'), user('c')], new Map());
		const from = (message: number) => shorter.slice(turnsBefore(shorter, message)).map((turn) => turn.text());
		expect([3, 1].map(from)).toEqual([['b\n\nc'], ['b\n\nc']]);
		expect(from(0)).toEqual(['a', 'A', 'b\n\nc']);
	});
});

describe('hearth generate --chat', () => {
	const tokens = (text: string) => encodeWithSpecials(text);

	async function print(answer: string, stopReason: 'stop' | 'length' | 'canceled' = 'stop') {
		const written = { stdout: '', stderr: '' };
		const spies = (['stdout', 'stderr'] as const).map((name) =>
			vi.spyOn(process[name], 'write').mockImplementation((data, ...rest) => {
				written[name] += data;
				const done = rest.find((value) => typeof value === 'function');
				(done as (() => void) | undefined)?.();
				return true;
			}),
		);
		try {
			const sink = new ChatSink(harmony.parser(), false, true);
			const stopped = tokens(answer).findIndex((token) => sink.push(token) === 'stop');
			await sink.finish(stopReason);
			return { ...written, stopped, result: sink.result(stopReason) };
		} finally {
			for (const spy of spies) spy.mockRestore();
		}
	}

	test('ends with a closed answer', async () => {
		const answer = '<|channel|>final<|message|>Done.<|end|>';
		const { stdout, stopped } = await print(`${answer}<|start|>user<|message|>made up`);
		expect(stdout).toBe('Done.\n');
		expect(stopped).toBe(tokens(answer).length - 1);
		const thought = '<|channel|>thought<|message|>Hm.<|end|><|start|>assistant';
		expect(await print(thought + answer)).toMatchObject({ stdout: 'Done.\n', stderr: 'Hm.\n\n' });
		const on = new ChatSink(harmony.parser(), true, false);
		expect(tokens(answer).map((token) => on.push(token))).not.toContain('stop');
	});

	test('says the preamble before the answer', async () => {
		const { stdout, stderr, result } = await print(
			'<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>' +
				'<|start|>assistant<|channel|>final<|message|>Done.<|end|>',
		);
		expect({ stdout, stderr }).toEqual({ stdout: 'I look.\n\nDone.\n', stderr: 'Hm.\n\n' });
		expect(result).toEqual({ text: 'Done.', preamble: 'I look.', reasoning: 'Hm.' });
	});

	test('says that there is no answer', async () => {
		const line = 'hearth generate: The model ended its turn without an answer.\n';
		expect((await print('<|channel|>analysis<|message|>Hm.')).stderr).toBe(`Hm.\n${line}`);
		expect((await print('<|channel|>final<|message|>')).stderr).toBe(line);
		expect((await print('<|channel|>final<|message|>', 'length')).stderr).toMatch(/limit on the length/);
		expect((await print('<|channel|>final<|message|>', 'canceled')).stderr).toBe('');
		expect((await print('<|channel|>final<|message|>')).result).toMatchObject({ text: '', empty: expect.any(String) });
	});
});

describe('attachments', () => {
	test('a fence is longer than any in the text', () => {
		const text = '```ts\nx\n```';
		expect(withAttachments('Why?', [{ label: 'a.md', text }])).toBe(`a.md:\n\`\`\`\`\n${text}\n\`\`\`\`\n\nWhy?`);
	});

	test('a label is one line', () => {
		expect(withAttachments('q', [{ label: 'a\n<b>', text: 'x' }])).toBe('a <b>:\n```\nx\n```\n\nq');
	});

	test('an attachment of a message that was taken back moves to the last one', () => {
		const ledger = new AttachmentLedger();
		const attachment = { label: 'a', text: 'x' };
		expect(ledger.place([attachment], 4)).toEqual(new Map([[4, [attachment]]]));
		expect(ledger.place([attachment], 6)).toEqual(new Map([[4, [attachment]]]));
		expect(ledger.place([attachment], 2)).toEqual(new Map([[2, [attachment]]]));
	});
});
