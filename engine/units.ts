// Amounts and names as people read them, the same in the terminal, the editor and its pages. All of them may import this file,
// which depends on nothing.

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

const GPU_NAMES = new Map([['metal', 'Metal']]);

/** What people call a GPU's interface, by the id of the device in settings and reports; undefined: the CPU computes. */
export function gpuName(id: string | undefined): string | undefined {
	return id === undefined || id === 'cpu' ? undefined : (GPU_NAMES.get(id) ?? id);
}
