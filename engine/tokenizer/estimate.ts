/** Rough number of tokens of `text`, from its length alone: code runs near 3.5 ASCII characters a token, other scripts near 1.5. */
export function estimateTokens(text: string): number {
	let other = 0;
	for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) other++;
	return Math.ceil((text.length - other) / 3.5 + other / 1.5);
}
