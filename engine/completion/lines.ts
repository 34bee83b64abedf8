// Lines as the Language Server Protocol defines them: they end with \n, \r\n or \r alone.

/** The text with every line end as \n. */
export function withPlainLineEnds(text: string): string {
	return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
}

/**
 * The beginning of the line after the first line end at or after `from`. It is −1 if no line end comes before `limit`.
 */
export function nextLineStart(text: string, from: number, limit = text.length): number {
	for (let at = Math.max(0, from); at < limit; at++) {
		const unit = text.charCodeAt(at);
		if (unit === LINE_FEED) return at + 1;
		if (unit === CARRIAGE_RETURN) return text.charCodeAt(at + 1) === LINE_FEED ? at + 2 : at + 1;
	}
	return -1;
}

/** The beginning of the line that ends at `end`, but at most `limit` characters before `end`. */
export function lineStartBefore(text: string, end: number, limit: number): number {
	const lowest = Math.max(0, end - limit);
	for (let at = end; at > lowest; at--) if (isLineEnd(text, at - 1)) return at;
	return lowest;
}

/** The first line end at or after `from`. It is `limit`, or the end of the text, if none comes before. */
export function lineEndAfter(text: string, from: number, limit: number): number {
	const highest = Math.min(text.length, limit);
	for (let at = from; at < highest; at++) if (isLineEnd(text, at)) return at;
	return highest;
}

/** `offset`, or the beginning of the character if `offset` lies between its two halves. */
export function characterAt(text: string, offset: number): number {
	return splitsCharacter(text, offset) ? offset - 1 : offset;
}

/** Whether cutting at `index` would part the two halves of a surrogate pair. */
export function splitsCharacter(text: string, index: number): boolean {
	return isHighSurrogate(text.charCodeAt(index - 1)) && isLowSurrogate(text.charCodeAt(index));
}

export function isHighSurrogate(unit: number): boolean {
	return unit >= 0xd800 && unit <= 0xdbff;
}

export function isLowSurrogate(unit: number): boolean {
	return unit >= 0xdc00 && unit <= 0xdfff;
}

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

function isLineEnd(text: string, at: number): boolean {
	const unit = text.charCodeAt(at);
	return unit === LINE_FEED || unit === CARRIAGE_RETURN;
}
