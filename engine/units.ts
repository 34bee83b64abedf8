// Formats amounts and names as people read them: in the terminal, the editor and its pages. All of these may import
// this file, since it imports nothing.

/** Bytes in decimal units, as file managers and memory vendors count: "12.1 GB", "604 MB". */
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

const GPU_NAMES = new Map([['metal', 'Metal']]);

/**
 * The name that people know for a GPU's interface; undefined where the CPU computes.
 * @param id the device's id in settings and reports.
 */
export function gpuName(id: string | undefined): string | undefined {
	return id === undefined || id === 'cpu' ? undefined : (GPU_NAMES.get(id) ?? id);
}
