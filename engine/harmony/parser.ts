// Reads a generated turn token by token into channels and tool calls. The model's output is untrusted and, at temperature 1,
// malformed in about 4 % of turns (ggml-org/llama.cpp#27720): free text or `??` for a channel, doubled headers, a message
// without its marker. Nothing here fails; what cannot be placed becomes the answer if there is no other.
import type { AnswerEvent, AnswerParser, Channel } from '../families/family';
import { StreamDecoder } from '../tokenizer/stream-decoder';
import type { Harmony } from './harmony';

export interface HarmonyParserOptions {
	/** The channel the prompt has opened already (`Prompt.answer`); absent: the turn starts with its header. */
	opened?: Channel;
	/** Names of the tools on offer: tells `functions.runjson` (name and `json` run together) from a tool of that name. */
	toolNames?: readonly string[];
}

/** A header longer than this (in characters) is taken for a message whose marker is missing, so that it streams. */
const MAX_HEADER = 256;

const channels: readonly Channel[] = ['analysis', 'commentary', 'final'];

/** Names of tool calls come without `functions.`. */
export class HarmonyParser implements AnswerParser {
	private readonly decoder: StreamDecoder;
	private readonly toolNames: readonly string[];
	/** Where text goes: into a header, or into the body of a message. */
	private inBody: boolean;
	private roleText = '';
	private channelText: string | undefined;
	private channel: Channel = 'final';
	/** Tool that the current message is addressed to, and its text so far. */
	private recipient: string | undefined;
	private toolText = '';
	/** Text of headers that never became a message. */
	private unplaced = '';
	private answered = false;
	private finished = false;
	private saidFinal = false;
	private closedFinal = false;

	constructor(
		private readonly harmony: Harmony,
		options: HarmonyParserOptions = {},
	) {
		this.decoder = new StreamDecoder(harmony.tokenizer);
		this.toolNames = options.toolNames ?? [];
		this.inBody = options.opened !== undefined;
		if (options.opened) this.channel = options.opened;
	}

	/** Whether the turn has ended: a stop token came, or `finish` was called. */
	get done(): boolean {
		return this.finished;
	}

	/**
	 * A final message has ended, be it with `<|end|>`: what the model would write after it is made up.
	 */
	get complete(): boolean {
		return this.closedFinal;
	}

	/** Takes the next token. After the end of the turn tokens are ignored. */
	push(id: number): AnswerEvent[] {
		if (this.finished) return [];
		const { tokens, stopIds, tokenizer } = this.harmony;
		const events: AnswerEvent[] = [];
		if (stopIds.has(id)) {
			this.close(events);
			this.finishTurn(events);
		} else if (id === tokens.start || id === tokens.end) {
			this.close(events);
			if (id === tokens.end && this.saidFinal) this.closedFinal = true;
		} else if (id === tokens.channel) {
			if (this.inBody) this.close(events);
			this.channelText = '';
		} else if (id === tokens.message) {
			if (!this.inBody) this.openMessage();
		} else if (id === tokens.constrain) {
			if (!this.inBody) this.header(' ');
		} else if (!tokenizer.isSpecial(id)) {
			this.text(this.decoder.push(id), events);
		}
		return events;
	}

	/** Ends a turn that no stop token ended (length, cancel). A tool call left unfinished is dropped. */
	finish(): AnswerEvent[] {
		if (this.finished) return [];
		const events: AnswerEvent[] = [];
		this.text(this.decoder.end(), events);
		if (this.recipient === undefined) this.close(events);
		this.finishTurn(events);
		return events;
	}

	private text(text: string, events: AnswerEvent[]): void {
		if (text === '') return;
		if (this.inBody) this.body(text, events);
		else {
			this.header(text);
			if (this.roleText.length + (this.channelText?.length ?? 0) <= MAX_HEADER) return;
			const rest = this.headerRest();
			this.openMessage();
			this.recipient = undefined;
			this.body(rest, events);
		}
	}

	private header(text: string): void {
		if (this.channelText === undefined) this.roleText += text;
		else this.channelText += text;
	}

	private body(text: string, events: AnswerEvent[]): void {
		if (text === '') return;
		if (this.recipient !== undefined) {
			this.toolText += text;
			return;
		}
		if (this.channel === 'final') {
			this.answered = true;
			this.saidFinal = true;
		}
		events.push({ kind: 'text', channel: this.channel, text });
	}

	/** The header is complete: reads channel and recipient from it. */
	private openMessage(): void {
		this.channel = channelOf(this.channelText ?? '');
		this.recipient = this.toolOf(`${this.roleText} ${this.channelText ?? ''}`);
		this.toolText = '';
		this.inBody = true;
	}

	/** Ends the current message, or the header that did not become one. */
	private close(events: AnswerEvent[]): void {
		this.text(this.decoder.end(), events);
		if (this.inBody && this.recipient !== undefined) {
			this.answered = true;
			events.push({ kind: 'toolCall', name: this.recipient, arguments: this.toolText });
		} else if (!this.inBody) {
			this.unplaced += this.headerRest();
		}
		this.inBody = false;
		this.roleText = '';
		this.channelText = undefined;
		this.recipient = undefined;
	}

	private finishTurn(events: AnswerEvent[]): void {
		this.finished = true;
		// Without a letter or digit it is but debris such as `??`.
		if (!this.answered && /[\p{L}\p{N}]/u.test(this.unplaced)) {
			events.push({ kind: 'text', channel: 'final', text: this.unplaced });
		}
	}

	/** What a header says beyond role, channel, recipient and content type. */
	private headerRest(): string {
		const role = this.roleText.replace(/^\s*assistant\b/, '').replace(/\s*to=\S*/g, '');
		let channel = this.channelText ?? '';
		if (channels.some((name) => name.startsWith(channel))) channel = ''; // cut off within its name
		channel = channel
			.replace(/^\s*(?:analysis|commentary|final)/, '')
			.replace(/\s*to=\S*/g, '')
			.replace(/^\s*json\b/, '');
		return (role + channel).trim() === '' ? '' : (role + channel).trimStart();
	}

	/** The tool that a header addresses: the last `to=` that is not the assistant itself. */
	private toolOf(header: string): string | undefined {
		const recipients = [...header.matchAll(/to=([\w.-]+)/g)].map((match) => match[1]!);
		const last = recipients.findLast((name) => name !== 'assistant' && name !== 'user');
		if (last === undefined) return undefined;
		const name = last.replace(/^functions\./, '');
		const bare = name.replace(/json$/, '');
		return !this.toolNames.includes(name) && this.toolNames.includes(bare) ? bare : name;
	}
}

/** The channel that a header names, however garbled; a message of no known channel is shown as the answer. */
function channelOf(header: string): Channel {
	const named = header.match(/analysis|commentary|final/);
	return (named?.[0] as Channel | undefined) ?? 'final';
}
