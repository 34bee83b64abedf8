// Numbers as people read them.

/** A count as model sizes are given: 20.9 B, 350 M… */
export function formatCount(count: number): string {
	if (count >= 1e9) return `${(count / 1e9).toFixed(2)} B`;
	if (count >= 1e6) return `${(count / 1e6).toFixed(1)} M`;
	if (count >= 1e3) return `${(count / 1e3).toFixed(1)} K`;
	return String(count);
}
