// Conversations that are longer than the context: which turns are left out, how much work that takes, and who waits
// meanwhile.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { withAttachments } from '../../engine/chat/attachments';
import { Chat } from '../../engine/chat/chat';
import { fitPrompt } from '../../engine/chat/fit-prompt';
import { Pace } from '../../engine/chat/pace';
import { TextTokens } from '../../engine/chat/text-tokens';
import { familyOf } from '../../engine/families/choose';
import { type ChatFormat, type ChatTurn, requireChat } from '../../engine/families/family';
import { templateChatFormat } from '../../engine/families/jinja-template';
import type { ChatParams } from '../../engine/protocol';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import { rankedVocabulary, vocabularyHeader } from '../../engine/synth/vocabulary';
import { byteToCodePoint } from '../../engine/tokenizer/byte-level';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { answers, fakeOpenedModel, harmony, tokenizer as harmonyTokenizer } from './support/fake-opened-model';

afterEach(() => vi.restoreAllMocks());

const NEVER = new AbortController().signal;
const CORPUS = 'what does the function return and why is the value not in the list of names\n'.repeat(5);

/**
 * The vocabulary has all bytes and the beginnings of the corpus's words, so that each word grows out of a shorter one.
 */
const WORDS = CORPUS.split(/(?= )/).flatMap((word) => Array.from(word, (_letter, i) => word.slice(0, i + 1)));
const RANKS = [
	...Array.from(byteToCodePoint, (_, byte) => [byte]),
	...new Set(WORDS.filter((word) => word.length > 1)),
];

function native(specials: string[]): { format: ChatFormat; tokenizer: Tokenizer } {
	const all = ['<|startoftext|>', '<|endoftext|>', ...specials];
	const header = vocabularyHeader(rankedVocabulary(RANKS, all), 'qwen2');
	const tokenizer = Tokenizer.fromGguf(header);
	return { format: requireChat(familyOf(header, tokenizer)), tokenizer };
}

const chatml = native(['<|im_start|>', '<|im_end|>']);
const template = (text: string) => ({
	tokenizer: chatml.tokenizer,
	format: templateChatFormat(text, chatml.tokenizer, { stopIds: new Set([0]), bosToken: '', eosToken: '<|im_end|>' }),
});
const FORMATS: [string, { format: ChatFormat; tokenizer: Tokenizer }][] = [
	['Harmony', { format: harmony, tokenizer: harmonyTokenizer }],
	['ChatML', chatml],
	['Llama 3', native(['<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'])],
	[
		'a template',
		template('{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}answer:'),
	],
	[
		'a template that says much to each turn and more to the first',
		template(
			'You are a helpful assistant of many words.\n{% for m in messages %}{% if loop.first %}This is the first message.{% endif %}' +
				'The {{ m.role }} has said the following, which matters: {{ m.content }}{% if not loop.last %} And then,{% endif %}{% endfor %}',
		),
	],
];

/** Random numbers that are the same in each run. */
function random(seed: number): (below: number) => number {
	let state = seed;
	return (below) => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return Math.floor((state / 2 ** 32) * below);
	};
}

function conversation(turns: number, length: (turn: number) => number, seed = 1): ChatTurn[] {
	const next = random(seed);
	const words = CORPUS.split(/\s+/);
	return Array.from({ length: turns }, (_, i) => ({
		role: (turns - i) % 2 === 1 ? ('user' as const) : ('assistant' as const),
		content: Array.from({ length: length(i) }, () => words[next(words.length)]).join(' '),
	}));
}

const promptOf = (turns: readonly ChatTurn[]) => ({
	...{ currentDate: '2026-03-09', reasoningEffort: 'medium' as const, instructions: 'Be brief.', turns },
});

/** The rule itself, applied turn by turn. */
function oneByOne(format: ChatFormat, turns: readonly ChatTurn[], from: number, limit: number, refill: number) {
	let dropped = from;
	let prompt = format.encode(promptOf(turns));
	prompt = format.encode(promptOf(turns.slice(dropped)));
	if (prompt.length > limit) {
		while (prompt.length > refill) {
			const next = turns.findIndex((turn, index) => index > dropped && turn.role === 'user');
			if (next === -1) break;
			dropped = next;
			prompt = format.encode(promptOf(turns.slice(dropped)));
		}
	}
	return { prompt, dropped };
}

/** Counts what is encoded and rendered while `cut` runs. */
function counted(format: ChatFormat, tokenizer: Tokenizer, context = 2 ** 31) {
	const work = { characters: 0, renders: 0, turns: 0 };
	const tokens = new TextTokens({
		longestToken: tokenizer.longestToken,
		encodeInSteps: (text, stepBytes) => {
			work.characters += text.length;
			return tokenizer.encodeInSteps(text, stepBytes);
		},
	});
	const cut = (turns: readonly ChatTurn[], from: number, limit: number, signal = NEVER) =>
		fitPrompt(
			{
				turns,
				length: (turn) => turns[turn]!.content.length,
				text: (turn) => turns[turn]!.content,
				parts: (dropped) => {
					work.renders++;
					work.turns += turns.length - dropped;
					return format.parts(promptOf(turns.slice(dropped)));
				},
			},
			{ dropped: from, limit, refill: limit / 2, context },
			tokens,
			new Pace(signal),
		);
	return { work, cut };
}

const characters = (turns: readonly ChatTurn[]) => turns.reduce((sum, { content }) => sum + content.length, 0);

test('the formats are those', () => {
	expect(FORMATS.map(([, { format }]) => format.name)).toEqual([
		...['Harmony', 'ChatML', 'Llama 3', 'its own template', 'its own template'],
	]);
});

describe.each(FORMATS)('%s', (_name, { format, tokenizer }) => {
	test.each(['a', ' ', '漢', '\n'])(
		'refuses megabytes that cannot fit before it renders or encodes them: %j',
		async (text) => {
			const { work, cut } = counted(format, tokenizer, 8192);
			const turns = [{ role: 'user' as const, content: text.repeat(2 ** 23) }];
			await expect(cut(turns, 0, 6000)).rejects.toThrow(
				/^the prompt has \d+ tokens, more than fit into the context of 8192; .*least/,
			);
			expect(work).toEqual({ characters: 0, renders: 0, turns: 0 });
		},
	);

	test('does not encode megabytes of an earlier turn to leave them out', async () => {
		const { work, cut } = counted(format, tokenizer, 8192);
		const turns = [
			{ role: 'user' as const, content: 'a'.repeat(2 ** 23) },
			{ role: 'assistant' as const, content: 'Long.' },
			{ role: 'user' as const, content: 'Shorter?' },
		];
		expect((await cut(turns, 0, 6000)).dropped).toBe(2);
		expect(work.characters).toBeLessThan(10_000);
	});

	test('keeps the turns that dropping them one by one keeps, and the same prompt', async () => {
		const next = random(7);
		for (let round = 0; round < 60; round++) {
			const most = 1 + next(30);
			const turns = conversation(1 + next(60), () => next(most), round);
			const from = next(4) === 0 ? next(turns.length) : 0;
			const limit = 40 + next(600);
			const { cut } = counted(format, tokenizer);
			const { prompt, dropped } = await cut(turns, from, limit);
			const expected = oneByOne(format, turns, from, limit, limit / 2);
			expect({ round, dropped, prompt: [...prompt] }).toEqual({
				...{ round, dropped: expected.dropped, prompt: [...expected.prompt] },
			});
		}
	});

	test('keeps them where one turn is much longer than all the others, or has no text', async () => {
		for (const at of [0, 1, 10, 19, 20]) {
			for (const [long, short] of [
				[400, 3],
				[400, 0],
				[2000, 1],
			] as const) {
				const turns = conversation(21, (turn) => (turn === at ? long : short));
				const { cut } = counted(format, tokenizer);
				const { prompt, dropped } = await cut(turns, 0, 300);
				const expected = oneByOne(format, turns, 0, 300, 150);
				expect([dropped, ...prompt]).toEqual([expected.dropped, ...expected.prompt]);
			}
		}
	});

	test.each([301, 20_000])('encodes each text once or twice and renders little, with %d turns', async (count) => {
		const all = conversation(count + 40, () => 30);
		const { work, cut } = counted(format, tokenizer);
		let dropped = 0;
		const limit = 4000;
		for (let turns = count - (count % 2) + 1; turns <= count + 40; turns += 2) {
			const before = { ...work };
			const fitted = await cut(all.slice(0, turns), dropped, limit);
			({ dropped } = fitted);
			expect(fitted.prompt.length).toBeLessThanOrEqual(limit);
			expect(work.turns - before.turns).toBeLessThanOrEqual(8 * limit);
			expect(work.characters - before.characters).toBeLessThanOrEqual(8 * 6 * limit);
		}
		// In a prompt that is one text, each further word may change the tokens of the whole.
		const apart = (await format.parts(promptOf(all.slice(-3)))).length > 1;
		if (apart) expect(work.characters).toBeLessThanOrEqual(3 * characters(all) + 10_000);
		// Turns that were dropped long ago cost nothing.
		if (count === 20_000) expect(work.characters).toBeLessThan(characters(all) / 10);
		expect(work.renders).toBeLessThan(20 + 20 * 2);
	});
});

describe('while a long conversation is read', () => {
	/** A clock that advances whenever it is read, so that a pause is due as often as possible. */
	const hurry = () => {
		let now = 0;
		vi.spyOn(performance, 'now').mockImplementation(() => {
			now += 10;
			return now;
		});
	};
	const ticksDuring = async (work: Promise<unknown>) => {
		let ticks = 0;
		let done = false;
		const tick = () => {
			ticks++;
			if (!done) setImmediate(tick);
		};
		setImmediate(tick);
		await work;
		done = true;
		return ticks;
	};

	test.each([
		['words', CORPUS.repeat(8000)],
		['one word', 'a'.repeat(600_000)],
		['one word without pairs', '\0'.repeat(600_000)],
		['spaces', ' '.repeat(600_000)],
	])('others have their turn every few thousand characters: %s', async (_what, text) => {
		hurry();
		const { cut } = counted(chatml.format, chatml.tokenizer);
		const ticks = await ticksDuring(cut([{ role: 'user', content: text }], 0, 1000));
		expect(ticks).toBeGreaterThan(text.length / 17_000);
	});

	test('others have their turn between many short turns', async () => {
		hurry();
		const { cut } = counted(chatml.format, chatml.tokenizer);
		expect(
			await ticksDuring(
				cut(
					conversation(2001, () => 1),
					0,
					100_000,
				),
			),
		).toBeGreaterThan(2000);
	});

	test('others may read another one, and both get what they would alone', async () => {
		hurry();
		const { cut } = counted(chatml.format, chatml.tokenizer);
		const texts = [`${'ab'.repeat(100_000)} end`, `${'ba'.repeat(90_000)} end`, CORPUS.repeat(500)];
		const fitted = await Promise.all(texts.map((content) => cut([{ role: 'user', content }], 0, 1000)));
		expect(fitted.map(({ prompt }) => [...prompt])).toEqual(
			texts.map((content) => [...chatml.format.encode(promptOf([{ role: 'user', content }]))]),
		);
	});

	test('nothing more is encoded once nobody waits', async () => {
		hurry();
		const stop = new AbortController();
		const { work, cut } = counted(chatml.format, chatml.tokenizer);
		const fitted = cut(
			conversation(2001, () => 50),
			0,
			100_000,
			stop.signal,
		);
		setImmediate(() => setImmediate(() => stop.abort(new Error('stop'))));
		await expect(fitted).rejects.toThrow('stop');
		expect(work.characters).toBeLessThan(20_000);
	});
});

describe('Chat', () => {
	const ask = (chat: Chat, params: Partial<ChatParams>, signal = NEVER) =>
		chat.answer(
			{ conversationId: 'one', messages: [{ role: 'user', content: 'Hi' }], temperature: 0, ...params },
			{ settings: { ...DEFAULT_SETTINGS.chat, maxTokens: 100 }, signal, onDelta: () => {} },
		);
	const setUp = () => {
		const model = fakeOpenedModel(answers('<|channel|>final<|message|>Hello!<|return|>'), {});
		let encoded = 0;
		const original = Tokenizer.prototype.encodeInSteps;
		vi.spyOn(Tokenizer.prototype, 'encodeInSteps').mockImplementation(function (this: Tokenizer, text, step) {
			// The toy model also encodes to write its answer. That does not count.
			if (Number.isFinite(step)) encoded += text.length;
			return original.call(this, text, step);
		});
		return { model, chat: new Chat(model), encoded: () => encoded };
	};

	test('that is stopped while it reads says nothing and is no error', async () => {
		const { chat, model } = setUp();
		const stop = new AbortController();
		// Encoding never ends here.
		model.tokenizer.encodeInSteps = function* () {
			for (;;) yield undefined;
		};
		const answer = ask(chat, { messages: [{ role: 'user', content: CORPUS }] }, stop.signal);
		setImmediate(() => stop.abort());
		expect(await answer).toMatchObject({ content: '', reasoning: '', stopReason: 'canceled' });
		expect(model.native.batches.length).toBe(0);
		Reflect.deleteProperty(model.tokenizer, 'encodeInSteps');
		expect(await ask(chat, { conversationId: 'two' })).toMatchObject({ content: 'Hello!' });
	});

	test('encodes attachments once, however many turns they come with', async () => {
		const { chat, encoded } = setUp();
		const context = Array.from({ length: 40 }, (_, i) => ({ label: `${i}.ts`, text: `// ${i}\n${CORPUS}` }));
		const messages: ChatParams['messages'] = [];
		for (let turn = 0; turn < 10; turn++) {
			messages.push({ role: 'user', content: `question ${turn}` });
			const { usage } = await ask(chat, { messages, context: context.slice(0, 4 * (turn + 1)) });
			expect(usage.promptTokens).toBeLessThan(4096);
			messages.push({ role: 'assistant', content: 'Hello!' });
		}
		const text = context.reduce((sum, attachment) => sum + attachment.text.length, 0);
		expect(encoded()).toBeLessThan(3 * text + 20_000);
	});

	test('a file of a million fences, and a hundred thousand files', () => {
		const text = '```\n'.repeat(1_000_000);
		expect(withAttachments('q', [{ label: 'a.md', text }]).startsWith('a.md:\n````\n')).toBe(true);
		const { chat } = setUp();
		const context = Array.from({ length: 100_000 }, (_, i) => ({ label: `${i}`, text: '' }));
		return expect(ask(chat, { context })).rejects.toThrow(/the prompt has \d+ tokens, more than fit/);
	});
});

test('text encoded in steps has the same tokens', () => {
	const next = random(3);
	const alphabet = ['a', 'b', 'the ', ' ', '\n', 'return', '🙂', 'é', '\ud800', '0', '    '];
	for (let round = 0; round < 200; round++) {
		const run = alphabet[next(alphabet.length)]!.repeat(next(200));
		const text = run + Array.from({ length: next(200) }, () => alphabet[next(alphabet.length)]).join('') + run;
		const steps = chatml.tokenizer.encodeInSteps(text, 1 + next(40));
		let step = steps.next();
		while (!step.done) step = steps.next();
		expect([...step.value]).toEqual([...chatml.tokenizer.encode(text)]);
	}
});
