// Tables of text for reports in a terminal and in Markdown.

/** Lines of a Markdown table; the first row is its head. */
export function table(rows: string[][]): string[] {
	const columns = [...rows[0]!.keys()];
	const widths = columns.map((column) => Math.max(1, ...rows.map((row) => [...row[column]!].length)));
	const line = (row: string[]) =>
		`| ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join(' | ')} |`;
	const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
	return [line(rows[0]!), line(rule), ...rows.slice(1).map(line)];
}
