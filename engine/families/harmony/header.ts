// The header of a message that a model wrote: `assistant to=functions.NAME<|channel|>commentary <|constrain|>json` and all that
// models make of it. openai/harmony's own parser refuses what it does not know; here it is read as what it cannot do harm as.
import type { Channel } from '../family';

/** A header's texts as they came, without its special tokens. */
export interface HeaderText {
	/** Whether `<|start|>` came before it: only then its first word is meant as a role. */
	started: boolean;
	role: string;
	/** Absent: no `<|channel|>` yet. */
	channel?: string;
	/** Behind `<|constrain|>`. */
	type?: string;
}

export interface Header {
	/** `unknown`: the role is none there is, e.g. a misspelt one. */
	author: 'assistant' | 'other' | 'unknown';
	/** Absent: none is named, or none there is. */
	channel?: Channel;
	/** The tool it is addressed to, without `functions.`. */
	tool?: string;
	/** What it says beyond all this, which is text where its message has no marker. */
	rest: string;
}

const CHANNELS: readonly Channel[] = ['analysis', 'commentary', 'final'];
const ROLES = ['assistant', 'user', 'system', 'developer', 'tool'];
/** Authors other than the assistant; tools write as `functions.NAME`, `browser.NAME` and `python`. */
const OTHERS = /^(?:(?:user|system|developer|tool)(?::\S*)?|(?:functions|browser)\.\S+|browser|python)$/i;
const ASSISTANT = /^assistant(?::\S*)?$/i;
const RECIPIENTS = /\bto=([\w.-]+)/g;
const TYPES = /\s(?:json|code|text)$/;

/** @param toolNames tells `functions.runjson` (name and `json` run together) from a tool of that name. */
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
	// A tool's result, whatever the tool.
	if (/\bto=assistant\b/.test(role)) return 'other';
	return started ? 'unknown' : 'assistant';
}

/** Final is only what says so; what is garbled is reasoning where that is recognised, else no channel. */
function channelOf(text = ''): Channel | undefined {
	const name = text.replace(RECIPIENTS, ' ').trim().replace(TYPES, '').trim();
	const words = name.split(/\s+/).filter((word) => !word.startsWith('functions.'));
	const exact = CHANNELS.find((channel) => words.length === 1 && words[0] === channel);
	return exact ?? (name.includes('analysis') ? 'analysis' : undefined);
}

/** The last recipient that is a tool. */
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

/** What of a header is none: a marker is missing, and this is the beginning of a text. Nothing of a header that was cut off is. */
function restOf({ started, role, channel = '', type = '' }: HeaderText): string {
	const cutOff = (names: readonly string[], text: string) => names.some((name) => name.startsWith(text.trim()));
	const author = started && cutOff(ROLES, role) ? '' : started ? role.replace(/^\s*assistant\b/i, '') : role;
	const behind =
		type === '' && cutOff(CHANNELS, channel) ? '' : channel.replace(/^\s*(?:analysis|commentary|final)/, '');
	const contentType = /^\s*[\w/+-]*\s*$/.test(type) ? '' : ` ${type}`;
	const text = withoutRecipients(behind).replace(/^\s*(?:json\b|js?o?$)/, '');
	return `${withoutRecipients(author)}${text}${contentType}`.trimStart();
}

/** Only those it begins with: later ones may be prose. */
function withoutRecipients(text: string): string {
	return text.replace(/^(?:\s*\bto=[\w.-]*)+/, '').replace(/^\s*to?$/, '');
}
