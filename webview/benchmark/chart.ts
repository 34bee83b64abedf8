// A bar chart of tokens a second as SVG in the theme's colours. Each test has one group of bars.
import { meanText, type ReportRow } from './report';

const WIDTH = 680;
const LABEL_WIDTH = 130;
const VALUE_WIDTH = 160;
const BAR_HEIGHT = 18;
const GROUP_GAP = 12;

/** Draws the bars of all rows that have a speed. Returns undefined when no row has one. */
export function speedChart(rows: ReportRow[]): SVGSVGElement | undefined {
	const shown = rows.filter((row) => row.tokensPerSecond);
	if (shown.length === 0) return undefined;
	const compared = shown.some((row) => row.baseline?.tokensPerSecond !== undefined);
	const groupHeight = BAR_HEIGHT * (compared ? 2 : 1) + GROUP_GAP;
	const height = shown.length * groupHeight;
	const largest = Math.max(
		...shown.map((row) => Math.max(row.tokensPerSecond?.mean ?? 0, row.baseline?.tokensPerSecond ?? 0)),
	);
	const scale = (value: number) => (largest > 0 ? (value / largest) * (WIDTH - LABEL_WIDTH - VALUE_WIDTH) : 0);

	const chart = svg('svg', {
		class: 'chart',
		viewBox: `0 0 ${WIDTH} ${height}`,
		role: 'img',
		'aria-label': `Tokens a second: ${shown.map((row) => `${row.test} ${meanText(row.tokensPerSecond ?? { mean: 0, stddev: 0 })}`).join(', ')}`,
	});
	shown.forEach((row, index) => {
		const top = index * groupHeight + GROUP_GAP / 2;
		const middle = top + (groupHeight - GROUP_GAP) / 2;
		chart.append(label(row.test, LABEL_WIDTH - 10, middle, 'end'));
		const speed = row.tokensPerSecond ?? { mean: 0, stddev: 0 };
		chart.append(bar('this-run', scale(speed.mean), top));
		chart.append(label(`${meanText(speed)} tok/s`, LABEL_WIDTH + scale(speed.mean) + 6, top + BAR_HEIGHT / 2, 'start'));
		const before = row.baseline?.tokensPerSecond;
		if (before === undefined) return;
		chart.append(bar('baseline', scale(before), top + BAR_HEIGHT));
		chart.append(
			label(
				`${meanText({ mean: before, stddev: 0 })} tok/s`,
				LABEL_WIDTH + scale(before) + 6,
				top + BAR_HEIGHT * 1.5,
				'start',
			),
		);
	});
	return chart;
}

function bar(name: string, width: number, y: number): SVGElement {
	return svg('rect', {
		class: `bar ${name}`,
		x: LABEL_WIDTH,
		y: y + 1,
		width: Math.max(1, width),
		height: BAR_HEIGHT - 2,
		rx: 2,
	});
}

function label(text: string, x: number, y: number, anchor: 'start' | 'end'): SVGElement {
	const node = svg('text', { x, y, 'text-anchor': anchor, 'dominant-baseline': 'central' });
	node.textContent = text;
	return node;
}

function svg<Tag extends keyof SVGElementTagNameMap>(
	tag: Tag,
	attributes: Record<string, string | number>,
): SVGElementTagNameMap[Tag] {
	const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
	return node;
}
