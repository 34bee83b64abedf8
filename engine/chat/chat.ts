// Chat. A conversation becomes a prompt in the format of the model's family. The answer streams back as deltas by
// channel.
import { type ChatFormat, requireChat } from '../families/family';
import type { OpenedModel } from '../loading/open-model';
import type { EngineSettings } from '../settings';
import { Answer } from './answer';
import { AttachmentLedger } from './attachments';
import { type FittedPrompt, fitPrompt } from './fit-prompt';
import { localDate } from './local-date';
import type { ChatDelta, ChatQuestion, ChatResult } from './messages';
import { Pace } from './pace';
import { TextTokens } from './text-tokens';
import { turnsBefore, turnsOf } from './turns';

export interface ChatOptions {
	settings: EngineSettings['chat'];
	signal: AbortSignal;
	onDelta: (delta: ChatDelta) => void;
}

/** How many conversations are remembered with their attachments and cached prompts. */
const MAX_CONVERSATIONS = 64;

/** `forget` drops the cache of so many last turns. The parts that only older turns had were evicted long before. */
const MAX_TIMELINES = 32;

/** The share of the context that even a long conversation leaves to the answer, unless the answer's limit is lower. */
const ANSWER_SHARE = 1 / 4;

/**
 * When old turns are dropped, the prompt is cut to this share of its room. The next turns then extend it without
 * another cut.
 */
const REFILL_SHARE = 1 / 2;

interface Conversation {
	/** The date in the system message. It stays the same, so that midnight does not invalidate the cache. */
	currentDate: string;
	attachments: AttachmentLedger;
	/** How many leading messages are left out because they no longer fit. */
	dropped: number;
	/** The tokens of its last turns, prompt and answer. `forget` drops their cache. */
	timelines: Int32Array[];
}

/** The conversations with one model. */
export class Chat {
	readonly #model: OpenedModel;
	readonly #now: () => Date;
	readonly #tokens: TextTokens;
	/** The conversations by id, the least recently used one first. */
	readonly #conversations = new Map<string, Conversation>();

	constructor(model: OpenedModel, now: () => Date = () => new Date()) {
		this.#model = model;
		this.#now = now;
		this.#tokens = new TextTokens(model.tokenizer);
	}

	/**
	 * Answers the conversation's last message. If it is cancelled, it resolves with the text so far. A conversation that
	 * is longer than the context loses its oldest turns, and `usage.droppedMessages` reports how many. Its instructions
	 * stay.
	 * @throws ContextOverflowError if the last message alone is too long.
	 * @throws OverloadedError if too many requests are waiting.
	 * @throws Error if the request is unusable.
	 */
	async answer(params: ChatQuestion, options: ChatOptions): Promise<ChatResult> {
		const { engine, family } = this.#model;
		const { settings } = options;
		const format = requireChat(family);
		checkMessages(params);
		const conversation = this.#conversation(params.conversationId);
		const maxTokens = params.maxTokens ?? settings.maxTokens;
		let fitted: FittedPrompt;
		try {
			fitted = await this.#prompt(format, params, conversation, options, maxTokens);
		} catch (error) {
			if (options.signal.aborted) return nothingSaid(engine.contextTokens);
			throw error;
		}
		const { prompt, dropped } = fitted;

		const answer = new Answer(options.onDelta);
		const parser = format.parser(prompt);
		const room = engine.contextTokens - prompt.length;
		const result = await engine.generate({
			tokens: prompt,
			priority: 'chat',
			sampling: {
				temperature: params.temperature ?? settings.temperature ?? format.sampling.temperature,
				topK: 0,
				topP: settings.topP ?? format.sampling.topP,
				minP: 0,
				seed: params.seed ?? Math.floor(Math.random() * 2 ** 32),
			},
			maxTokens: Math.min(maxTokens, room),
			stopIds: format.stopIds,
			signal: options.signal,
			onToken: (token) => {
				answer.take(parser.push(token));
				return parser.complete ? 'stop' : undefined;
			},
		});
		answer.take(parser.finish());
		conversation.timelines.push(Int32Array.from([...prompt, ...result.tokens]));
		if (conversation.timelines.length > MAX_TIMELINES) conversation.timelines.shift();

		const full = result.stopReason === 'length' && room <= maxTokens;
		const stopReason = full ? 'context' : result.stopReason;
		const empty = answer.emptyBecause(stopReason);
		return {
			...answer.spoken,
			reasoning: answer.reasoning,
			stopReason,
			...(empty !== undefined && { empty }),
			reasoningMilliseconds: answer.reasoningMilliseconds,
			usage: {
				promptTokens: result.promptTokens,
				cachedTokens: result.cachedTokens,
				generatedTokens: result.tokens.length,
				contextTokens: engine.contextTokens,
				drafts: result.drafts,
				...(dropped > 0 && { droppedMessages: dropped }),
			},
			timings: {
				firstTokenMilliseconds: result.timings.firstTokenMilliseconds,
				milliseconds: result.timings.milliseconds,
				decodeTokensPerSecond: result.timings.decodeTokensPerSecond,
			},
		};
	}

	/** Frees the part of a conversation's cache that no other conversation shares. An unknown conversation is no error. */
	forget(conversationId: string): void {
		const conversation = this.#conversations.get(conversationId);
		if (!conversation) return;
		this.#conversations.delete(conversationId);
		for (const timeline of conversation.timelines.reverse()) this.#model.engine.forget(timeline);
	}

	#conversation(id: string): Conversation {
		const conversation = this.#conversations.get(id) ?? {
			currentDate: localDate(this.#now()),
			attachments: new AttachmentLedger(),
			dropped: 0,
			timelines: [],
		};
		this.#conversations.delete(id);
		this.#conversations.set(id, conversation);
		if (this.#conversations.size > MAX_CONVERSATIONS)
			this.#conversations.delete(this.#conversations.keys().next().value!);
		return conversation;
	}

	/**
	 * Builds the prompt and counts the leading messages that it leaves out. It works in slices, and other windows have
	 * their turn between them.
	 * @throws the signal's reason once the signal is aborted.
	 */
	async #prompt(
		format: ChatFormat,
		params: ChatQuestion,
		conversation: Conversation,
		{ settings, signal }: ChatOptions,
		maxTokens: number,
	): Promise<FittedPrompt> {
		const { contextTokens } = this.#model.engine;
		const { messages } = params;
		const last = messages.length - 1;
		const attachments = conversation.attachments.place(params.context ?? [], last);
		const turns = turnsOf(messages, attachments);

		const reserve = Math.min(maxTokens, Math.ceil(contextTokens * ANSWER_SHARE));
		const limit = contextTokens - reserve;
		const fitted = await fitPrompt(
			{
				turns,
				length: (turn) => turns[turn]!.length,
				text: (turn) => turns[turn]!.text(),
				parts: (dropped) =>
					format.parts({
						currentDate: conversation.currentDate,
						reasoningEffort: params.reasoningEffort ?? settings.reasoningEffort,
						...(settings.instructions !== '' && { instructions: settings.instructions }),
						turns: turns.slice(dropped).map((turn) => ({ role: turn.role, content: turn.text() })),
					}),
			},
			{
				// If the conversation became shorter because an earlier message was edited, it starts over.
				dropped: conversation.dropped <= last ? turnsBefore(turns, conversation.dropped) : 0,
				...{ limit, refill: limit * REFILL_SHARE, context: contextTokens },
			},
			this.#tokens,
			new Pace(signal),
		);
		conversation.dropped = fitted.dropped > 0 ? turns[fitted.dropped]!.message : 0;
		return { prompt: fitted.prompt, dropped: conversation.dropped };
	}
}

/** The result of a turn that was cancelled before its prompt was built. */
function nothingSaid(contextTokens: number): ChatResult {
	return {
		...{ content: '', reasoning: '', stopReason: 'canceled', reasoningMilliseconds: 0 },
		usage: {
			promptTokens: 0,
			cachedTokens: 0,
			generatedTokens: 0,
			contextTokens,
			drafts: { proposed: 0, accepted: 0 },
		},
		timings: { firstTokenMilliseconds: 0, milliseconds: 0, decodeTokensPerSecond: 0 },
	};
}

function checkMessages({ messages }: ChatQuestion): void {
	if (messages.length === 0) throw new Error('the conversation is empty');
	if (messages.at(-1)!.role !== 'user') throw new Error("the conversation's last message must be the user's");
}
