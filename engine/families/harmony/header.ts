// Reads the header of a message that a model wrote: `assistant to=functions.NAME<|channel|>commentary
// <|constrain|>json` and its malformed variants. openai/harmony's own parser refuses a header that it does not know.
// This one reads it in the way that does the least harm.
import type { Channel } from '../family';

/** The texts of a header as the model wrote them, without the special tokens between them. */
export interface HeaderText {
	/** Whether `<|start|>` came before the header. Only then its first word is meant as a role. */
	started: boolean;
	role: string;
	/** The text behind `<|channel|>`. It is absent until that token has come. */
	channel?: string;
	/** The text behind `<|constrain|>`. */
	type?: string;
}

export interface Header {
	/** `unknown` means a role that does not exist, for example a misspelt one. */
	author: 'assistant' | 'other' | 'unknown';
	/** The channel. It is absent if the header names no channel or one that does not exist. */
	channel?: Channel;
	/** The tool that the message is addressed to, without `functions.`. */
	tool?: string;
	/** The rest of the header. It is the beginning of the message's text if the marker `<|message|>` is missing. */
	rest: string;
}

const CHANNELS: readonly Channel[] = ['analysis', 'commentary', 'final'];
const ROLES = ['assistant', 'user', 'system', 'developer', 'tool'];
/** Authors other than the assistant. Tools are called `functions.NAME`, `browser.NAME` and `python`. */
const OTHERS = /^(?:(?:user|system|developer|tool)(?::\S*)?|(?:functions|browser)\.\S+|browser|python)$/i;
const ASSISTANT = /^assistant(?::\S*)?$/i;
const RECIPIENTS = /\bto=([\w.-]+)/g;
const TYPES = /\s(?:json|code|text)$/;

/**
 * @param toolNames the names of the tools on offer. They decide whether `functions.runjson` is `run` with `json` or a
 * tool `runjson`.
 */
export function readHeader(header: HeaderText, toolNames: readonly string[]): Header {
	const author = authorOf(header);
	const tool = toolOf(`${header.role} ${header.channel ?? ''} ${header.type ?? ''}`, toolNames);
	const channel = channelOf(header.channel);
	return { author, ...(channel && { channel }), ...(tool !== undefined && { tool }), rest: restOf(header) };
}

function authorOf({ started, role }: HeaderText): Header['author'] {
	const words = role.replace(RECIPIENTS, ' ').trim().split(/\s+/);
	const [first = ''] = words;
	if (first === '' || ASSISTANT.test(first)) return 'assistant';
	if (OTHERS.test(first) && (started || words.length === 1)) return 'other';
	// A message to the assistant is the result of a tool, whatever the tool's name.
	if (/\bto=assistant\b/.test(role)) return 'other';
	return started ? 'unknown' : 'assistant';
}

/**
 * The channel of a header. Only an exact `final` is the final channel. A garbled name is reasoning if it contains
 * `analysis`, and else none.
 */
function channelOf(text = ''): Channel | undefined {
	const name = text.replace(RECIPIENTS, ' ').trim().replace(TYPES, '').trim();
	const words = name.split(/\s+/).filter((word) => !word.startsWith('functions.'));
	const exact = CHANNELS.find((channel) => words.length === 1 && words[0] === channel);
	return exact ?? (name.includes('analysis') ? 'analysis' : undefined);
}

/** The last recipient that is a tool, without `functions.`. */
function toolOf(header: string, toolNames: readonly string[]): string | undefined {
	const recipients = [...header.matchAll(/\bto=([\w.-]+)|(?<=\s)(functions\.[\w.-]+)/g)].map(
		([, to, bare]) => to ?? bare!,
	);
	const last = recipients.findLast((name) => !['assistant', 'user', 'all'].includes(name));
	if (last === undefined) return undefined;
	const name = last.replace(/^functions\./, '');
	const bare = name.replace(/json$/, '');
	return !toolNames.includes(name) && toolNames.includes(bare) ? bare : name;
}

/**
 * The part of a header that is none. It is the beginning of a text whose marker is missing. A header that was cut off
 * has no such part.
 */
function restOf({ started, role, channel = '', type = '' }: HeaderText): string {
	const cutOff = (names: readonly string[], text: string) => names.some((name) => name.startsWith(text.trim()));
	const author = started && cutOff(ROLES, role) ? '' : started ? role.replace(/^\s*assistant\b/i, '') : role;
	const behind =
		type === '' && cutOff(CHANNELS, channel) ? '' : channel.replace(/^\s*(?:analysis|commentary|final)/, '');
	const contentType = /^\s*[\w/+-]*\s*$/.test(type) ? '' : ` ${type}`;
	const text = withoutRecipients(behind).replace(/^\s*(?:json\b|js?o?$)/, '');
	return `${withoutRecipients(author)}${text}${contentType}`.trimStart();
}

/** The text without the recipients at its beginning. Later ones may be prose. */
function withoutRecipients(text: string): string {
	return text.replace(/^(?:\s*\bto=[\w.-]*)+/, '').replace(/^\s*to?$/, '');
}
