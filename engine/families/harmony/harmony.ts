// Writes prompts in Harmony, gpt-oss's conversation format (https://cookbook.openai.com/articles/openai-harmony).
// Special tokens are added by id. Texts between them are encoded as text, so no text can become a special token.

import type { Tokenizer } from '../../tokenizer/tokenizer';
import type { ChatFormat, ChatPrompt } from '../family';
import { PromptBuilder, type PromptPart } from '../prompt-builder';
import { HarmonyParser } from './parser';
import type { HarmonyTokens, HarmonyVocabulary } from './tokens';
import { type FunctionTool, renderTools } from './tools';

export type Turn =
	| { role: 'user'; content: string }
	/** A past answer, with the text of its final channel only. */
	| { role: 'assistant'; content: string }
	/** A call that the model made. The model sees its reasoning again only as long as no final answer has followed. */
	| { role: 'toolCall'; name: string; arguments: string; analysis?: string }
	| { role: 'toolResult'; name: string; content: string };

/** A prompt. Its `instructions` go into the developer message. */
export interface Prompt extends Omit<ChatPrompt, 'turns'> {
	tools?: readonly FunctionTool[];
	turns: readonly Turn[];
	/** Opens the answer in the final channel with this text. The model then continues the text without reasoning. */
	answer?: string;
}

export class Harmony implements ChatFormat, HarmonyVocabulary {
	readonly tokenizer: Tokenizer;
	readonly name = 'Harmony';
	/** OpenAI's recommendation. */
	readonly sampling = { temperature: 1, topP: 1 };
	readonly tokens: HarmonyTokens;
	readonly stopIds: ReadonlySet<number>;

	/** @throws an error if the vocabulary lacks a special token that every message needs. */
	constructor(tokenizer: Tokenizer) {
		this.tokenizer = tokenizer;
		const { vocabulary } = tokenizer;
		const optional = (name: string) => vocabulary.findSpecial(name) ?? -1;
		this.tokens = {
			start: vocabulary.specialId('<|start|>'),
			message: vocabulary.specialId('<|message|>'),
			channel: vocabulary.specialId('<|channel|>'),
			end: vocabulary.specialId('<|end|>'),
			return: vocabulary.specialId('<|return|>'),
			call: optional('<|call|>'),
			constrain: optional('<|constrain|>'),
			endOfText: optional('<|endoftext|>'),
		};
		const { return: return_, call, endOfText } = this.tokens;
		this.stopIds = new Set([return_, call, endOfText].filter((id) => id >= 0));
	}

	/** The token ids of a whole prompt, up to the place where the model continues. */
	encode(prompt: Prompt): Int32Array {
		return this.#write(prompt).build();
	}

	parts(prompt: Prompt): readonly PromptPart[] {
		return this.#write(prompt).parts;
	}

	parser(): HarmonyParser {
		return new HarmonyParser(this);
	}

	#write(prompt: Prompt): PromptBuilder {
		const { start, message, channel, end } = this.tokens;
		const ids = new PromptBuilder(this.tokenizer);
		const text = (value: string) => ids.text(value);

		ids.special(start);
		text('system');
		ids.special(message);
		text(systemText(prompt));
		ids.special(end);

		const developer = developerText(prompt);
		if (developer) {
			ids.special(start);
			text('developer');
			ids.special(message);
			text(developer);
			ids.special(end);
		}

		const lastAnswer = prompt.turns.findLastIndex((turn) => turn.role === 'assistant');
		for (const [i, turn] of prompt.turns.entries()) {
			switch (turn.role) {
				case 'user':
					ids.special(start);
					text('user');
					ids.special(message);
					text(turn.content);
					ids.special(end);
					break;
				case 'assistant':
					this.#openAnswer(ids, turn.content);
					ids.special(end);
					break;
				case 'toolCall':
					if (turn.analysis && i > lastAnswer) {
						ids.special(start);
						text('assistant');
						ids.special(channel);
						text('analysis');
						ids.special(message);
						text(turn.analysis);
						ids.special(end);
					}
					ids.special(start);
					text(`assistant to=functions.${turn.name}`);
					ids.special(channel);
					text('commentary json');
					ids.special(message);
					text(turn.arguments);
					ids.special(this.tokens.call >= 0 ? this.tokens.call : end);
					break;
				case 'toolResult':
					ids.special(start);
					text(`functions.${turn.name} to=assistant`);
					ids.special(channel);
					text('commentary');
					ids.special(message);
					text(turn.content);
					ids.special(end);
					break;
			}
		}

		if (prompt.answer === undefined) {
			ids.special(start);
			text('assistant');
		} else {
			this.#openAnswer(ids, prompt.answer);
		}
		return ids;
	}

	/** Appends an answer in the final channel, without its end. */
	#openAnswer(ids: PromptBuilder, content: string): void {
		const { start, message, channel } = this.tokens;
		ids.special(start).text('assistant').special(channel).text('final').special(message).text(content);
	}
}

function systemText({ currentDate, reasoningEffort, tools }: Prompt): string {
	const lines = [
		'You are ChatGPT, a large language model trained by OpenAI.',
		'Knowledge cutoff: 2024-06',
		`Current date: ${currentDate}`,
		'',
		`Reasoning: ${reasoningEffort}`,
		'',
		'# Valid channels: analysis, commentary, final. Channel must be included for every message.',
	];
	if (tools?.length) lines.push("Calls to these tools must go to the commentary channel: 'functions'.");
	return lines.join('\n');
}

function developerText({ instructions, tools }: Prompt): string {
	const parts: string[] = [];
	if (instructions) parts.push(`# Instructions\n\n${instructions}\n\n`);
	if (tools?.length) parts.push(renderTools(tools));
	return parts.join('');
}
