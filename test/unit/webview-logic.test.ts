import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BenchmarkReport } from '../../engine/protocol';
import { formatRate } from '../../engine/units';
import { describeTest, meanText, reportMarkdown, reportRows } from '../../webview/benchmark/report';
import { engineNotice } from '../../webview/chat/engineNotice';
import { hasLinkDefinitions, renderMarkdown, stableLength } from '../../webview/chat/markdown';
import { formatDuration, formatTokens } from '../../webview/shared/format';

describe('markdown', () => {
	it('lets no HTML of the source through', () => {
		const html = renderMarkdown('<script>alert(1)</script> <b onclick="x">b</b>\n\n<iframe src="x"></iframe>\n\n`<i>`');
		expect(html).not.toMatch(/<(script|b|iframe|i)\b/);
		expect(html).toContain('&lt;script&gt;');
	});

	it('makes links of web addresses only, and none of file names', () => {
		const html = renderMarkdown(
			'[x](javascript:alert(1)) [y](data:text/html,z) <https://a.example/> main.rs README.md',
		);
		expect([...html.matchAll(/href="([^"]*)"/g)].map((match) => match[1])).toEqual(['https://a.example/']);
	});

	it('keeps links to files as they are meant', () => {
		const html = renderMarkdown('[a](src/a.ts:12) [b](./b.ts#L3) [c](file:///c.ts) [d](<my d.ts>) [e](C:\\\\e.ts)');
		expect([...html.matchAll(/href="([^"]*)"/g)].map((match) => match[1])).toEqual([
			...['src/a.ts:12', './b.ts#L3', 'file:///c.ts', 'my%20d.ts', 'C:%5Ce.ts'],
		]);
	});

	it('shows a picture as a link, so that its server is not asked', () => {
		const html = renderMarkdown('![a "chart"](https://evil.example/p.png?q=1&r=2)');
		expect(html).toContain('<a href="https://evil.example/p.png?q=1&amp;r=2">a &quot;chart&quot;</a>');
		expect(html).not.toContain('<img');
	});

	it('colours known languages and escapes the rest', () => {
		expect(renderMarkdown('```js\nconst a = "<b>";\n```')).toMatch(/hljs-keyword.*&lt;b&gt;/s);
		expect(renderMarkdown('```nolang"><x\n<b>\n```')).toContain(
			'<code class="language-nolang&quot;&gt;&lt;x">&lt;b&gt;\n</code>',
		);
		expect(renderMarkdown('```js\nconst a = 1;\n```', { plainCode: true })).not.toContain('hljs');
		expect(renderMarkdown('    indented <b>')).toContain('<pre><code class="language-text">indented &lt;b&gt;');
	});

	it('aligns table cells without inline styles', () => {
		const html = renderMarkdown('| a | b |\n|:--|--:|\n| 1 | 2 |');
		expect(html).not.toContain('style=');
		expect(html).toContain('<td class="align-right">2</td>');
	});
});

describe('formulas', () => {
	/** The text that a reader sees on the page. */
	const text = (source: string) =>
		renderMarkdown(source)
			.replace(/<[^>]*>/g, '')
			.replaceAll('&lt;', '<')
			.replaceAll('&gt;', '>')
			.replaceAll('&amp;', '&')
			.trim();

	it.each([
		['so \\(x_1 * y_2\\) and \\(a*b*c\\).'],
		['so \\[x = \\frac{a}{b} \\\\ y\\] holds'],
		['so $$a_1 * b * c_1$$ holds'],
		['so $\\{a_1 * b\\} * c_1$ holds'],
		['\\[\nx = \\{1\\}\n\\]'],
		['\\[ x = _1_ \\]'],
		['$$\nx = *1*\n+ 2\n- 3\n=\n4 \\\\\n# 5\n$$'],
		['$$x^*_1 + y^*_1$$'],
		['Text:\n\\[\n- x_1\n\\]\nand *more*'],
		['\\begin{a}\n\\[\n\\end{a}\n\\]'],
		['\\[\nnever *closed*\n1. one'],
		['\\(a < b & c > d\\)'],
		['\\(\n  a\n\\)'],
	])('are shown as they were written: %j', (source) => {
		const squeezed = (given: string) => given.replace(/[ \t]*\n[ \t]*/g, '\n').replaceAll('*more*', 'more');
		expect(squeezed(text(source))).toBe(squeezed(source));
		expect(renderMarkdown(source)).not.toMatch(/<(?:code|pre|em|strong|li|ul|ol|h1|h2|a)\b(?!>more)/);
	});

	it('are text, not markup, and no code', () => {
		expect(renderMarkdown('\\[\n<b onclick="x">\n\\]')).toBe(
			'<p class="formula">\\[\n&lt;b onclick=&quot;x&quot;&gt;\n\\]</p>\n',
		);
		expect(renderMarkdown('- a\n\n  $$\n  x_1\n  $$\n\n- b')).toContain('<p class="formula">$$\nx_1\n$$</p>');
		expect(renderMarkdown('> \\[ x \\]')).toContain('<p class="formula">\\[ x \\]</p>');
	});

	it.each([
		['`\\(x\\)`', '<code>\\(x\\)</code>'],
		['```\n\\[\nx\n\\]\n```', '<code class="language-text">\\[\nx\n\\]\n</code>'],
		['    $$\n    x\n    $$', '<code class="language-text">$$\nx\n$$\n</code>'],
		['it costs $5 or *$10*', 'it costs $5 or <em>$10</em>'],
		['$5-$10 *now*', '$5-$10 <em>now</em>'],
		['$HOME and *$PATH*', '$HOME and <em>$PATH</em>'],
		['a \\*star\\* and \\[x](y)', 'a *star* and [x](y)'],
		['\\[x\\](y) and *z*', '\\[x\\](y) and <em>z</em>'],
		['\\( alone and *z*', '( alone and <em>z</em>'],
		['$$ alone and *z*', '$$ alone and <em>z</em>'],
	])('leave the rest alone: %j', (source, html) => {
		expect(renderMarkdown(source)).toContain(html);
	});
});

describe('stable blocks', () => {
	const sources = [
		'Sum:\n\\[\nx\n- y\n\\]\nthen\n\n\\[\nnever closed\n\nmore\n\n$$\na\n\nb\n$$\n\n- c\n  $$\n  d\n  $$\n\nend\n\\[ x \\] y\nlast\n',
		'One.\n\nTwo *and*\nmore.\n\n- a\n- b\n\n  c\n\n1. x\n2. y\n\n```ts\nconst a = 1;\n\nconst b = 2;\n```\n\nLast.',
		'para\n#tag is no heading\n\nTitle\n=====\n\na | b\n--|--\n1 | 2\n\n> quote\nlazy\n\n***\n\n**bold**\n',
		'~~~\nopen fence\n\n```\nnot closed\n\n# no heading',
		'- a\n\n  ```js\n  x\n\n  y\n  ```\n\n- b\n\nend\n\n    code\n\n    more\n\ntext\n***bold*** and\n1. list\n',
		readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8'),
	];

	it('rendering stable parts as they come gives what rendering the whole gives', () => {
		for (const source of sources) {
			if (hasLinkDefinitions(source)) continue;
			for (const step of [1, 2, 7, 50]) {
				let html = '';
				let stable = 0;
				for (let length = 0; length < source.length; length += step) {
					const tail = source.slice(stable, length);
					const more = stableLength(tail);
					html += renderMarkdown(tail.slice(0, more));
					stable += more;
				}
				expect(html + renderMarkdown(source.slice(stable))).toBe(renderMarkdown(source));
			}
		}
	});

	it('does find parts that are stable', () => {
		expect(stableLength('One.\n\nTwo.\n\nThree.\n')).toBe('One.\n\nTwo.\n\n'.length);
		expect(stableLength('One.\n\nTwo')).toBe(0);
		expect(stableLength('```\na\n\nb\n')).toBe(0);
	});

	it('knows sources whose links are defined elsewhere in them', () => {
		expect(hasLinkDefinitions('see [a]\n\n[a]: https://x.example')).toBe(true);
		expect(hasLinkDefinitions('a [b](c): d\n- [ ] todo')).toBe(false);
	});
});

describe('engine notice', () => {
	it('is silent when the engine can answer, and else says what to do', () => {
		expect(engineNotice({ state: 'ready' }).text).toBeUndefined();
		expect(engineNotice({ state: 'busy' }).text).toBeUndefined();
		expect(engineNotice({ state: 'failed', message: 'It is gone.' })).toEqual({
			text: 'It is gone.',
			actions: ['restart-engine', 'show-log'],
			busy: false,
		});
		expect(engineNotice({ state: 'starting' })).toMatchObject({ actions: [], busy: true });
		expect(engineNotice({ state: 'no-model' }).actions).toEqual(['select-model']);
	});
});

describe('benchmark report', () => {
	const run = (pp: number, load: number, createdAt: string): BenchmarkReport => ({
		createdAt,
		version: '0.1.0',
		machine: { cpu: 'A | B', cores: 2, memoryBytes: 24e9, platform: 'linux', features: ['avx2'] },
		model: { name: 'gpt-oss', path: '/m', fileBytes: 12.1e9, parameterCount: 20.9e9, bytesPerToken: 2.575e9 },
		backend: 'cpu',
		kernels: 'avx2',
		threads: 2,
		results: [
			{ test: 'load', engine: 'hearth', milliseconds: { mean: load, stddev: 0, samples: [load] } },
			{
				test: 'pp512',
				engine: 'hearth',
				tokensPerSecond: { mean: pp, stddev: 0.5, samples: [pp] },
				milliseconds: { mean: 512_000 / pp, stddev: 1, samples: [] },
			},
			{
				test: 'pp512',
				engine: 'llama.cpp',
				tokensPerSecond: { mean: 16.7, stddev: 0, samples: [16.7] },
				milliseconds: { mean: 30_659, stddev: 0, samples: [] },
			},
		],
		memory: { peakBytes: 3e9, averageBytes: 2e9, mappedBytes: 12.1e9 },
	});

	it('compares speeds, and times where there is no speed, so that above one is better', () => {
		const rows = reportRows(run(80, 500, 'now'), run(40, 1000, 'then'));
		expect(rows.map(({ test, ratio }) => [test, ratio])).toEqual([
			['load', 2],
			['pp512', 2],
			['pp512 (llama.cpp)', 1],
		]);
		expect(rows[1]?.baseline?.tokensPerSecond).toBe(40);
	});

	it('leaves the comparison out where the other run lacks the test', () => {
		const other = run(40, 1000, 'then');
		other.results = other.results.slice(0, 1);
		const rows = reportRows(run(80, 500, 'now'), other);
		expect(rows[1]).not.toHaveProperty('ratio');
		expect(reportRows(run(80, 500, 'now'))[0]).not.toHaveProperty('baseline');
	});

	it('shows what part of the ceilings a test reached, where the report tells', () => {
		const report = run(80, 500, 'now');
		expect(reportMarkdown(report)).not.toContain('% of bandwidth');
		report.machine = { ...report.machine, readBytesPerSecond: 27e9, multiplyAddsPerSecond: 195e9 };
		report.results[1] = { ...report.results[1]!, bytesPerToken: 5e6, bandwidthShare: 0.0468, computeShare: 0.712 };
		report.ratios = { 'edit / edit-plain': 2.5 };
		expect(reportRows(report)[1]).toMatchObject({ bandwidth: '4.7 %', compute: '71.2 %' });
		const text = reportMarkdown(report, run(40, 1000, 'then'));
		expect(text).toContain('| pp512 | 80.00 ± 0.50 | 6400 ± 1 | 4.7 % | 71.2 % | 2.00× |');
		expect(text).toContain('- Measured ceilings of the CPU: reads 27.0 GB a second, 195 G int8 multiply-adds a second');
		expect(text).toContain(' % of bandwidth | % of int8 peak |');
		const metal = {
			...report,
			backend: 'metal' as const,
			machine: { ...report.machine, arithmetic: 'float' as const },
		};
		expect(reportMarkdown(metal)).toContain('- Measured ceilings of the GPU: reads 27.0 GB a second, 195 G float');
		const tiles = { ...report, machine: { ...report.machine, tileMultiplyAddsPerSecond: 1500e9 } };
		expect(reportMarkdown(tiles)).toContain(
			'195 G int8 multiply-adds a second by vectors (what shares are of), 1500 G by tiles',
		);
		expect(reportMarkdown(metal)).toContain(' % of bandwidth | % of float peak |');
		expect(text).toContain('- Ratios: edit / edit-plain: 2.50×');
		const table = text.split('\n').filter((line) => /^\|(?!.*A \\\|)/.test(line));
		expect(new Set(table.map((line) => line.split('|').length)).size).toBe(1);
	});

	it('describes tests in words', () => {
		expect(['load', 'pp512', 'tg128', 'b20x100', 'odd'].map(describeTest)).toEqual([
			'Load the model',
			'Read a prompt of 512 tokens',
			'Write 128 tokens',
			'20 streams at once, 100 tokens each',
			'odd',
		]);
	});

	it('copies as a Markdown table whose cells hold together', () => {
		const text = reportMarkdown(run(80, 500, 'now'), run(40, 1000, 'then'));
		expect(text).toContain('- Processor: A \\| B, 2 cores, 24.0 GB memory');
		expect(text).toContain('| pp512 | 80.00 ± 0.50 | 6400 ± 1 | 2.00× |');
		const table = text.split('\n').filter((line) => line.startsWith('|'));
		expect(new Set(table.map((line) => line.replaceAll('\\|', '').split('|').length)).size).toBe(1);
		expect(reportMarkdown(run(80, 500, 'now'))).not.toContain('against');
	});

	it('gives means the digits that mean something', () => {
		expect(meanText({ mean: 12.345, stddev: 0.056 })).toBe('12.35 ± 0.06');
		expect(meanText({ mean: 123.45, stddev: 0 })).toBe('123.5');
	});
});

describe('numbers', () => {
	it('are written as people read them', () => {
		expect([0, 999, 1000, 12_345, 131_072].map(formatTokens)).toEqual(['0', '999', '1.0k', '12.3k', '131k']);
		expect([1.234, 99.96, 123.4].map(formatRate)).toEqual(['1.2', '100.0', '123']);
		expect([820, 12_400, 65_000, 119_900].map(formatDuration)).toEqual(['0.8 s', '12 s', '1 min 5 s', '2 min 0 s']);
	});
});
