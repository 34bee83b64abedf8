// Text from files, networks and command lines in messages: it stays on the message's line, shows what it is and does nothing to
// the terminal it is printed on.

/** Characters of a quotation that are shown. */
const MOST_QUOTED = 120;
const MOST_MESSAGE = 4000;
/** What is not seen, or changes how the text around it is seen: controls, direction marks, line separators, halves of pairs. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** A text in quotation marks, short and with escapes, as JavaScript would write it. */
export function quote(text: string): string {
	const short = text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text;
	return JSON.stringify(short).replace(UNSEEN, escaped);
}

/** A text from elsewhere as one line of a table or message, without quotation marks. */
export function printable(text: string): string {
	return text.replace(UNSEEN, escaped);
}

/** What an error says, on one line whatever is quoted in it. */
export function messageOf(error: unknown): string {
	const message = error instanceof Error ? error.message : String(error);
	const line = printable(message.replace(/\s*[\n\r\u2028\u2029]\s*/g, ' ').trim());
	return (line.length > MOST_MESSAGE ? `${line.slice(0, MOST_MESSAGE)}…` : line) || 'unknown error';
}

function escaped(character: string): string {
	const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
	return short ?? `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
