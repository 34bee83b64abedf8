/**
 * Estimates the number of tokens of `text` by its characters: about 3.5 ASCII characters of code a token, and about 1.5
 * others.
 */
export function estimateTokens(text: string): number {
	let other = 0;
	for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) other++;
	return Math.ceil((text.length - other) / 3.5 + other / 1.5);
}
