// Amounts as people read them, the same in the terminal, the editor and its pages: like engine/protocol.ts this file depends on
// nothing, and all of them may import it.

/** 12.1 GB, 604 MB… in decimal units, as file managers and memory vendors count. */
export function formatBytes(bytes: number): string {
	const units = ['B', 'KB', 'MB', 'GB', 'TB'];
	let value = bytes;
	let unit = 0;
	while (value >= 1000 && unit < units.length - 1) {
		value /= 1000;
		unit++;
	}
	return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Tokens a second, with the digits that mean something. */
export function formatRate(tokensPerSecond: number): string {
	return tokensPerSecond >= 100 ? String(Math.round(tokensPerSecond)) : tokensPerSecond.toFixed(1);
}
