// The benchmark's report page.
//
// What tests may rely on:
//   #report  data-id      #results tbody tr[data-test]  .speed  .time  .bandwidth  .compute  .against
//   .chart .bar.this-run, .bar.baseline
//   #compare (select)     #copy-markdown  #copy-json  #run-again  #open-file
import type { BenchmarkReport } from '../../engine/protocol';
import type { BenchmarkToHost, HostToBenchmark, SavedRun } from '../messages';
import { confirmOn, element, icon } from '../shared/dom';
import { connectHost } from '../shared/host';
import './benchmark.css';
import { speedChart } from './chart';
import { arithmeticOf, hasShares, meanText, ratioText, reportFacts, reportMarkdown, reportRows } from './report';

/** Repeated runs differ by up to this share, so a smaller change is not shown as one. */
const NOTABLE_CHANGE = 0.03;

const host = connectHost<BenchmarkToHost, HostToBenchmark>();
const page = element('main', { id: 'report' });
document.body.append(page);

let report: BenchmarkReport | undefined;
let earlier: SavedRun[] = [];
let baseline: { id: string; report: BenchmarkReport } | undefined;
let copying: HTMLButtonElement | undefined;

function render(): void {
	if (!report) return;
	page.replaceChildren(
		element('h1', {}, `Benchmark of ${report.model.name}`),
		element('p', { class: 'when' }, new Date(report.createdAt).toLocaleString()),
		toolbar(report),
		comparison(),
		table(report),
		chart(report),
		element('h2', {}, 'About this run'),
		facts(report),
	);
}

function toolbar(shown: BenchmarkReport): HTMLElement {
	return element(
		'div',
		{ class: 'toolbar', role: 'toolbar', 'aria-label': 'Report' },
		copyButton('copy-markdown', 'Copy as Markdown', () => reportMarkdown(shown, baseline?.report)),
		copyButton('copy-json', 'Copy as JSON', () => JSON.stringify(shown, null, 2)),
		actionButton('run-again', 'refresh', 'Run Again', () => host.post({ type: 'run-again' })),
		actionButton('open-file', 'file-code', 'Open Saved File', () => host.post({ type: 'open-file' })),
	);
}

function comparison(): HTMLElement {
	const select = element(
		'select',
		{ id: 'compare', disabled: earlier.length === 0 },
		element('option', { value: '' }, earlier.length === 0 ? 'no other run saved yet' : 'nothing'),
		...earlier.map((run) =>
			element(
				'option',
				{ value: run.id, selected: run.id === baseline?.id },
				`${new Date(run.createdAt).toLocaleString()}: ${run.model}, ${run.kernels}`,
			),
		),
	);
	select.addEventListener('change', () => {
		baseline = undefined;
		if (select.value === '') render();
		else host.post({ type: 'compare', id: select.value });
	});
	return element('p', { class: 'compare' }, element('label', { for: 'compare' }, 'Compare with'), select);
}

function table(shown: BenchmarkReport): HTMLElement {
	const rows = reportRows(shown, baseline?.report);
	const compared = baseline !== undefined;
	const shares = hasShares(rows);
	const heading = (text: string, numeric = false) =>
		element('th', { scope: 'col', class: numeric ? 'number' : undefined }, text);
	return element(
		'table',
		{ id: 'results' },
		element(
			'thead',
			{},
			element(
				'tr',
				{},
				heading('Test'),
				heading('Measures'),
				heading('Tokens a second', true),
				heading('Milliseconds', true),
				shares && heading('Of bandwidth', true),
				shares && heading(`Of ${arithmeticOf(shown)} peak`, true),
				compared && heading('Against', true),
			),
		),
		element(
			'tbody',
			{},
			...rows.map((row) =>
				element(
					'tr',
					{ 'data-test': row.test },
					element('th', { scope: 'row' }, row.test),
					element('td', {}, row.description),
					element('td', { class: 'number speed' }, row.tokensPerSecond ? meanText(row.tokensPerSecond) : '–'),
					element('td', { class: 'number time' }, meanText(row.milliseconds)),
					shares && element('td', { class: 'number bandwidth' }, row.bandwidth ?? '–'),
					shares && element('td', { class: 'number compute' }, row.compute ?? '–'),
					compared && againstCell(row.ratio),
				),
			),
		),
	);
}

function againstCell(ratio: number | undefined): HTMLElement {
	if (ratio === undefined) return element('td', { class: 'number against' }, '–');
	const change = ratio > 1 + NOTABLE_CHANGE ? 'faster' : ratio < 1 - NOTABLE_CHANGE ? 'slower' : 'same';
	return element(
		'td',
		{ class: `number against ${change}` },
		icon(change === 'faster' ? 'arrow-up' : change === 'slower' ? 'arrow-down' : 'dash'),
		ratioText(ratio),
		element('span', { class: 'visually-hidden' }, ` ${change}`),
	);
}

function chart(shown: BenchmarkReport): HTMLElement {
	const drawn = speedChart(reportRows(shown, baseline?.report));
	return element(
		'figure',
		{},
		drawn,
		baseline !== undefined &&
			element(
				'figcaption',
				{},
				element('span', { class: 'key this-run' }),
				'this run',
				element('span', { class: 'key baseline' }),
				new Date(baseline.report.createdAt).toLocaleString(),
			),
	);
}

function facts(shown: BenchmarkReport): HTMLElement {
	return element(
		'dl',
		{},
		...reportFacts(shown).flatMap(([label, value]) => [element('dt', {}, label), element('dd', {}, value)]),
	);
}

function copyButton(id: string, label: string, text: () => string): HTMLButtonElement {
	const button = actionButton(id, 'copy', label, () => {
		copying = button;
		host.post({ type: 'copy', text: text() });
	});
	return button;
}

function actionButton(id: string, symbol: string, label: string, onClick: () => void): HTMLButtonElement {
	const button = element('button', { id, type: 'button', class: 'text-button' }, icon(symbol), label);
	button.addEventListener('click', onClick);
	return button;
}

host.onMessage((message) => {
	switch (message.type) {
		case 'report':
			report = message.report;
			earlier = message.earlier;
			page.setAttribute('data-id', message.id);
			render();
			return;
		case 'baseline':
			baseline = message.report && { id: message.id, report: message.report };
			render();
			return;
		case 'copied':
			if (copying && message.ok) confirmOn(copying);
			copying = undefined;
			return;
	}
});
host.post({ type: 'ready' });
