// Reads a generated turn token by token into channels and tool calls. The model's output is untrusted and, at
// temperature 1, malformed in about 4 % of turns (ggml-org/llama.cpp#27720): free text or `??` for a channel, doubled
// headers, a message without its marker. The parser never fails. Only a message in the channel `final` is the answer
// and ends the turn. A message without a known channel counts as reasoning. If the turn ends without an answer, the
// last such message becomes the answer.

import { StreamDecoder } from '../../tokenizer/stream-decoder';
import type { AnswerEvent, AnswerParser, Channel } from '../family';
import { type Header, type HeaderText, readHeader } from './header';
import type { HarmonyVocabulary } from './tokens';

export interface HarmonyParserOptions {
	/** The channel that the prompt has opened already (`Prompt.answer`). Without it the turn starts with a header. */
	opened?: Channel;
	/**
	 * The names of the tools on offer. They decide whether `functions.runjson` is `run` with `json` or a tool `runjson`.
	 */
	toolNames?: readonly string[];
}

/** A header with more characters is taken for a message whose marker is missing, so that its text streams. */
const MAX_HEADER = 256;
/** So many characters of a message without a known channel are held back, because it may turn out to be the answer. */
const MAX_HELD = 256;

/** A message without a known channel. The first `given` characters of it have been passed on as reasoning. */
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
	/** A message that the model made up in the name of the user, the system or a tool. */
	| { kind: 'hidden' };

/** Reads the turn that answers a Harmony prompt. Tool calls have names without `functions.`. */
export class HarmonyParser implements AnswerParser {
	readonly #harmony: HarmonyVocabulary;
	readonly #decoder: StreamDecoder;
	readonly #toolNames: readonly string[];
	/** The current message. If it is absent, text goes to the header. */
	#body: Body | undefined;
	#header: HeaderText = { started: false, role: '' };
	/** The last message with text but without a known channel. It is the answer if there is no other. */
	#unplaced: Unplaced | undefined;
	/** The text of headers that never became a message. It is the answer if there is no message at all. */
	#debris = '';
	/** Whether the final channel has text or a tool was called. */
	#answered = false;
	#finished = false;
	#closedFinal = false;

	constructor(harmony: HarmonyVocabulary, options: HarmonyParserOptions = {}) {
		this.#harmony = harmony;
		this.#decoder = new StreamDecoder(harmony.tokenizer.vocabulary);
		this.#toolNames = options.toolNames ?? [];
		if (options.opened) this.#body = { kind: 'shown', channel: options.opened, blank: true };
	}

	/** Whether the turn has ended. A stop token, the end of an answer or `finish` ends it. */
	get done(): boolean {
		return this.#finished;
	}

	/**
	 * Whether a final message has ended, be it with `<|end|>` only. The model would make up whatever it writes after that.
	 */
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
			// Within a message, this token begins another message of the same author.
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

	/**
	 * Opens a message if the header has become too long to be one. Only its first MAX_HEADER characters decide how it is
	 * read.
	 */
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

	/** Passes on as reasoning the text of `#unplaced` that has been held back. */
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
			// A text without letters and digits, such as `??`, is no answer.
			events.push({ kind: 'text', channel: 'final', text: debris });
		}
	}
}
