// Text from files, networks and command lines, for use in messages. It stays on the message's line, shows unusual
// characters as escapes, and cannot control the terminal that prints it.

/** The most characters of a quotation. */
const MOST_QUOTED = 120;
const MOST_MESSAGE = 4000;
/**
 * Characters that are invisible or change how the text around them looks: controls, direction marks, line separators,
 * single surrogates and characters for private use.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** A text in quotation marks, shortened, with escapes as JavaScript writes them. */
export function quote(text: string): string {
	const short = text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text;
	return JSON.stringify(short).replace(UNSEEN, escaped);
}

/** A text from elsewhere on one line of a table or message, without quotation marks. */
export function printable(text: string): string {
	return text.replace(UNSEEN, escaped);
}

/** The message of an error on one line, whatever the message quotes. */
export function messageOf(error: unknown): string {
	const message = error instanceof Error ? error.message : String(error);
	const line = printable(message.replace(/\s*[\n\r\u2028\u2029]\s*/g, ' ').trim());
	return (line.length > MOST_MESSAGE ? `${line.slice(0, MOST_MESSAGE)}…` : line) || 'unknown error';
}

function escaped(character: string): string {
	const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
	return short ?? `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
