// Harmony, gpt-oss's conversation format (https://cookbook.openai.com/articles/openai-harmony): prompts as token ids. Special
// tokens are put between the parts by id; every part is encoded as text, so nothing in it can become one.
import type { Tokenizer } from '../tokenizer/tokenizer';
import { type FunctionTool, renderTools } from './tools';

export type Channel = 'analysis' | 'commentary' | 'final';
export type ReasoningEffort = 'low' | 'medium' | 'high';

export type Turn =
	| { role: 'user'; content: string }
	/** A past answer: its final channel only. */
	| { role: 'assistant'; content: string }
	/** A call the model made. Its reasoning is shown again only while no final answer has followed. */
	| { role: 'toolCall'; name: string; arguments: string; analysis?: string }
	| { role: 'toolResult'; name: string; content: string };

export interface Prompt {
	/** As YYYY-MM-DD. */
	currentDate: string;
	reasoningEffort: ReasoningEffort;
	/** The developer message's instructions; empty or absent: none. */
	instructions?: string;
	tools?: readonly FunctionTool[];
	turns: readonly Turn[];
	/** Opens the answer in the final channel with this text, so that the model reasons not at all and continues it. */
	answer?: string;
}

/** Ids of the special tokens, from the vocabulary by name. */
export interface HarmonyTokens {
	start: number;
	message: number;
	channel: number;
	end: number;
	return: number;
	/** −1 where the vocabulary lacks one of these. */
	call: number;
	constrain: number;
	endOfText: number;
}

export class Harmony {
	readonly tokens: HarmonyTokens;
	/** Generation ends with one of these; `<|end|>` is none, since the next message of the turn follows it. */
	readonly stopIds: ReadonlySet<number>;

	/** Throws where the vocabulary lacks a special token that every message needs. */
	constructor(readonly tokenizer: Tokenizer) {
		const optional = (name: string) => tokenizer.findSpecial(name) ?? -1;
		this.tokens = {
			start: tokenizer.specialId('<|start|>'),
			message: tokenizer.specialId('<|message|>'),
			channel: tokenizer.specialId('<|channel|>'),
			end: tokenizer.specialId('<|end|>'),
			return: tokenizer.specialId('<|return|>'),
			call: optional('<|call|>'),
			constrain: optional('<|constrain|>'),
			endOfText: optional('<|endoftext|>'),
		};
		const { return: return_, call, endOfText } = this.tokens;
		this.stopIds = new Set([return_, call, endOfText].filter((id) => id >= 0));
	}

	/** The ids of a whole prompt, up to where the model's turn goes on. */
	encode(prompt: Prompt): Int32Array {
		const { start, message, channel, end } = this.tokens;
		const ids = new IdBuffer();
		const text = (value: string) => ids.append(this.tokenizer.encode(value));

		ids.push(start);
		text('system');
		ids.push(message);
		text(systemText(prompt));
		ids.push(end);

		const developer = developerText(prompt);
		if (developer) {
			ids.push(start);
			text('developer');
			ids.push(message);
			text(developer);
			ids.push(end);
		}

		const lastAnswer = prompt.turns.findLastIndex((turn) => turn.role === 'assistant');
		for (const [i, turn] of prompt.turns.entries()) {
			switch (turn.role) {
				case 'user':
					ids.push(start);
					text('user');
					ids.push(message);
					text(turn.content);
					ids.push(end);
					break;
				case 'assistant':
					this.openAnswer(ids, turn.content);
					ids.push(end);
					break;
				case 'toolCall':
					if (turn.analysis && i > lastAnswer) {
						ids.push(start);
						text('assistant');
						ids.push(channel);
						text('analysis');
						ids.push(message);
						text(turn.analysis);
						ids.push(end);
					}
					ids.push(start);
					text(`assistant to=functions.${turn.name}`);
					ids.push(channel);
					text('commentary json');
					ids.push(message);
					text(turn.arguments);
					ids.push(this.tokens.call >= 0 ? this.tokens.call : end);
					break;
				case 'toolResult':
					ids.push(start);
					text(`functions.${turn.name} to=assistant`);
					ids.push(channel);
					text('commentary');
					ids.push(message);
					text(turn.content);
					ids.push(end);
					break;
			}
		}

		if (prompt.answer === undefined) {
			ids.push(start);
			text('assistant');
		} else {
			this.openAnswer(ids, prompt.answer);
		}
		return ids.take();
	}

	/** Appends an answer in the final channel, without its end. */
	private openAnswer(ids: IdBuffer, content: string): void {
		const { start, message, channel } = this.tokens;
		ids.push(start);
		ids.append(this.tokenizer.encode('assistant'));
		ids.push(channel);
		ids.append(this.tokenizer.encode('final'));
		ids.push(message);
		ids.append(this.tokenizer.encode(content));
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

/** Token ids appended part by part. */
class IdBuffer {
	private ids = new Int32Array(1024);
	private length = 0;

	push(id: number): void {
		this.reserve(1);
		this.ids[this.length++] = id;
	}

	append(ids: Int32Array): void {
		this.reserve(ids.length);
		this.ids.set(ids, this.length);
		this.length += ids.length;
	}

	take(): Int32Array {
		return this.ids.slice(0, this.length);
	}

	private reserve(more: number): void {
		if (this.length + more <= this.ids.length) return;
		const grown = new Int32Array(2 * (this.length + more));
		grown.set(this.ids);
		this.ids = grown;
	}
}
