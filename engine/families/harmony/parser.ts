// Reads a generated turn token by token into channels and tool calls. The model's output is untrusted and, at temperature 1,
// malformed in about 4 % of turns (ggml-org/llama.cpp#27720): free text or `??` for a channel, doubled headers, a message
// without its marker. Nothing here fails. Only what says `final` is the answer and ends the turn; what cannot be placed is
// reasoning, unless the turn ends without an answer: then it is that.

import { StreamDecoder } from '../../tokenizer/stream-decoder';
import type { AnswerEvent, AnswerParser, Channel } from '../family';
import { type Header, type HeaderText, readHeader } from './header';
import type { HarmonyVocabulary } from './tokens';

export interface HarmonyParserOptions {
	/** The channel the prompt has opened already (`Prompt.answer`); absent: the turn starts with its header. */
	opened?: Channel;
	/** Names of the tools on offer: tells `functions.runjson` (name and `json` run together) from a tool of that name. */
	toolNames?: readonly string[];
}

/** A header longer than this (in characters) is taken for a message whose marker is missing, so that it streams. */
const MAX_HEADER = 256;
/** Characters of a message of no channel that are held back until it is known whether it is the answer. */
const MAX_HELD = 256;

/** A message of no channel there is. `given` characters of it have been passed on as reasoning. */
interface Unplaced {
	kind: 'unplaced';
	text: string;
	given: number;
}

/** The message that text goes to. */
type Body =
	| { kind: 'shown'; channel: Channel; blank: boolean }
	| Unplaced
	| { kind: 'call'; name: string; text: string }
	/** Made up for somebody else: the user, the system, a tool. */
	| { kind: 'hidden' };

/** Names of tool calls come without `functions.`. */
export class HarmonyParser implements AnswerParser {
	readonly #harmony: HarmonyVocabulary;
	readonly #decoder: StreamDecoder;
	readonly #toolNames: readonly string[];
	/** Absent: text goes to the header. */
	#body: Body | undefined;
	#header: HeaderText = { started: false, role: '' };
	/** The last such message that says something: the answer, if there is no other. */
	#unplaced: Unplaced | undefined;
	/** Text of headers that never became a message: the last resort. */
	#debris = '';
	/** Something was said in the final channel, or a tool was called. */
	#answered = false;
	#finished = false;
	#closedFinal = false;

	constructor(harmony: HarmonyVocabulary, options: HarmonyParserOptions = {}) {
		this.#harmony = harmony;
		this.#decoder = new StreamDecoder(harmony.tokenizer.vocabulary);
		this.#toolNames = options.toolNames ?? [];
		if (options.opened) this.#body = { kind: 'shown', channel: options.opened, blank: true };
	}

	/** Whether the turn has ended: a stop token came, an answer was closed, or `finish` was called. */
	get done(): boolean {
		return this.#finished;
	}

	/** A final message has ended, be it with `<|end|>`: what the model would write after it is made up. */
	get complete(): boolean {
		return this.#closedFinal;
	}

	/** Takes the next token. After the end of the turn tokens are ignored. */
	push(id: number): AnswerEvent[] {
		if (this.#finished) return [];
		const { tokens, stopIds, tokenizer } = this.#harmony;
		const events: AnswerEvent[] = [];
		if (stopIds.has(id)) {
			this.#close(events);
			this.#finishTurn(events);
		} else if (id === tokens.start || id === tokens.end) {
			this.#close(events);
			this.#header = { started: id === tokens.start, role: '' };
			if (this.#closedFinal) this.#finishTurn(events);
		} else if (id === tokens.channel) {
			// Within a message it begins another one of the same author.
			if (this.#body) this.#close(events);
			this.#header = { started: this.#header.started, role: this.#header.role, channel: '' };
			if (this.#closedFinal) this.#finishTurn(events);
		} else if (id === tokens.message) {
			if (!this.#body) this.#open(readHeader(this.#header, this.#toolNames));
		} else if (id === tokens.constrain) {
			if (!this.#body) this.#header.type ??= '';
		} else if (!tokenizer.vocabulary.isSpecial(id)) {
			this.#text(this.#decoder.push(id), events);
		}
		return events;
	}

	/** Ends a turn that no stop token ended (length, cancel). A tool call left unfinished is dropped. */
	finish(): AnswerEvent[] {
		if (this.#finished) return [];
		const events: AnswerEvent[] = [];
		this.#text(this.#decoder.end(), events);
		if (this.#body?.kind === 'call') this.#body = undefined;
		else this.#close(events);
		this.#finishTurn(events);
		return events;
	}

	#text(text: string, events: AnswerEvent[]): void {
		if (text === '') return;
		if (this.#body) this.#say(text, events);
		else {
			const header = this.#header;
			if (header.type !== undefined) header.type += text;
			else if (header.channel !== undefined) header.channel += text;
			else header.role += text;
			this.#openUnmarked(events);
		}
	}

	/** Opens a message whose header has become too long to be one. What it is read as depends on its first part only. */
	#openUnmarked(events: AnswerEvent[]): void {
		const { started, role, channel = '', type = '' } = this.#header;
		const over = role.length + channel.length + type.length - MAX_HEADER;
		if (over <= 0) return;
		const part = type ? 'type' : channel ? 'channel' : 'role';
		const beyond = this.#header[part]!.slice(-over);
		const kept = { ...this.#header, [part]: this.#header[part]!.slice(0, -over) };
		const { author, channel: named, rest } = readHeader(kept, this.#toolNames);
		this.#header = { started, role: author === 'other' ? role.trim().split(/\s+/)[0]! : '' };
		this.#open({ author, ...(named && { channel: named }) });
		this.#say(rest + beyond, events);
	}

	#open({ author, channel, tool }: Omit<Header, 'rest'>): void {
		if (author === 'other') this.#body = { kind: 'hidden' };
		else if (tool !== undefined) this.#body = { kind: 'call', name: tool, text: '' };
		else if (channel === 'analysis' || (channel && author === 'assistant')) {
			this.#body = { kind: 'shown', channel, blank: true };
		} else this.#body = { kind: 'unplaced', text: '', given: 0 };
	}

	#say(text: string, events: AnswerEvent[]): void {
		const body = this.#body;
		if (!body || body.kind === 'hidden' || text === '') return;
		if (body.kind === 'shown') {
			if (text.trim() !== '') body.blank = false;
			if (body.channel === 'final' && !body.blank) this.#answered = true;
			this.#giveUnplaced(events);
			events.push({ kind: 'text', channel: body.channel, text });
			return;
		}
		body.text += text;
		if (body.kind !== 'unplaced' || body.text.trim() === '') return;
		if (this.#unplaced !== body) this.#giveUnplaced(events);
		this.#unplaced = body;
		if (body.text.length > MAX_HELD) this.#giveUnplaced(events);
	}

	/** Passes on as reasoning what has not been. */
	#giveUnplaced(events: AnswerEvent[]): void {
		const unplaced = this.#unplaced;
		if (!unplaced || unplaced.given === unplaced.text.length) return;
		events.push({ kind: 'text', channel: 'analysis', text: unplaced.text.slice(unplaced.given) });
		unplaced.given = unplaced.text.length;
	}

	/** Ends the current message, or the header that did not become one. */
	#close(events: AnswerEvent[]): void {
		this.#text(this.#decoder.end(), events);
		const body = this.#body;
		this.#body = undefined;
		if (!body) {
			const { author, rest } = readHeader(this.#header, this.#toolNames);
			if (author !== 'other') this.#debris += rest;
		} else if (body.kind === 'call') {
			this.#answered = true;
			this.#giveUnplaced(events);
			events.push({ kind: 'toolCall', name: body.name, arguments: body.text });
		} else if (body.kind === 'shown' && body.channel === 'final' && !body.blank) {
			this.#closedFinal = true;
		}
	}

	#finishTurn(events: AnswerEvent[]): void {
		this.#finished = true;
		const unplaced = this.#unplaced;
		const debris = this.#debris;
		if (this.#answered) {
			this.#giveUnplaced(events);
		} else if (unplaced) {
			const moved = unplaced.given > 0;
			if (moved) this.#giveUnplaced(events);
			events.push({ kind: 'text', channel: 'final', text: unplaced.text, ...(moved && { moved }) });
		} else if (/[\p{L}\p{N}]/u.test(debris)) {
			// Without a letter or digit it is but debris such as `??`.
			events.push({ kind: 'text', channel: 'final', text: debris });
		}
	}
}
