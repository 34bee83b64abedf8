import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BenchmarkReport, type CompletionReport, type EngineStatus, ErrorCode } from '../../engine/protocol';
import { ReportStore } from '../../extension/benchmark/reportStore';
import { languageEnabled, toggleLanguage } from '../../extension/completion/enablement';
import { type CompletionFacts, explainCompletion } from '../../extension/completion/explain';
import { engineSettings } from '../../extension/connection/settings';
import { describeError } from '../../extension/errors';
import { addRecent, cleanPath } from '../../extension/model/recentModels';
import { formatBytes, statusDetails, statusText } from '../../extension/status/statusText';
import { createNonce, webviewPage } from '../../extension/webviewPage';

const manifest = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../package.json'), 'utf8'));

/** `hearth.*` defaults as VS Code would hand them out. */
const defaults: Record<string, unknown> = Object.fromEntries(
	manifest.contributes.configuration.flatMap((section: { properties: Record<string, { default: unknown }> }) =>
		Object.entries(section.properties).map(([key, { default: value }]) => [key.replace(/^hearth\./, ''), value]),
	),
);

describe('settings', () => {
	it('sends the defaults of the manifest, which the fallbacks agree with', () => {
		const sent = engineSettings((key) => defaults[key], '/home/ann');
		expect(sent).toEqual(engineSettings(() => undefined, '/home/ann'));
		expect(sent.modelPath).toBe('');
		expect(sent.completion.maxTokens).toBe(defaults['completions.maxTokens']);
	});

	it('brings values edited by hand into their range', () => {
		const edited: Record<string, unknown> = {
			modelPath: '  ~/models/m.gguf ',
			threads: -3,
			contextTokens: 'many',
			kernels: 'gpu',
			speculation: 'no',
			repackWeights: false,
			'completions.maxTokens': 12.6,
			'chat.temperature': 7,
			'chat.topP': Number.NaN,
			'chat.reasoningEffort': 'high',
			'chat.instructions': ['no'],
		};
		const sent = engineSettings((key) => edited[key], '/home/ann');
		expect(sent).toMatchObject({
			modelPath: '/home/ann/models/m.gguf',
			threads: 0,
			contextTokens: 8192,
			kernels: 'auto',
			speculation: true,
			repackWeights: false,
		});
		expect(sent.completion.maxTokens).toBe(13);
		expect(sent.chat).toMatchObject({ temperature: 2, topP: null, reasoningEffort: 'high', instructions: '' });
	});
});

describe('manifest', () => {
	const sources = readdirSync(path.resolve(import.meta.dirname, '../../extension'), {
		recursive: true,
		encoding: 'utf8',
	})
		.filter((name) => name.endsWith('.ts'))
		.map((name) => readFileSync(path.resolve(import.meta.dirname, '../../extension', name), 'utf8'))
		.join('\n');
	const commands: string[] = manifest.contributes.commands.map(({ command }: { command: string }) => command);

	it('contributes no command that the extension does not register', () => {
		for (const command of commands) expect(sources).toContain(`registerCommand('${command}'`);
	});

	it('refers to contributed commands only', () => {
		const text = JSON.stringify(manifest.contributes);
		const named = [...text.matchAll(/"command":"(hearth\.\w+)"|command:(hearth\.\w+)/g)].map((m) => m[1] ?? m[2]);
		expect(named.length).toBeGreaterThan(20);
		for (const command of named) expect(commands).toContain(command);
	});

	it('reads every setting it contributes', () => {
		for (const key of Object.keys(defaults)) {
			const last = key.slice(key.lastIndexOf('.') + 1);
			expect(sources).toMatch(new RegExp(`'(?:${key.replaceAll('.', '\\.')}|${last})'`));
		}
	});

	it('names files that are there', () => {
		const text = JSON.stringify(manifest);
		for (const [file] of text.matchAll(/media\/[\w./-]+\.(?:svg|png|md)/g)) {
			expect(readFileSync(path.resolve(import.meta.dirname, '../..', file)).length).toBeGreaterThan(0);
		}
	});
});

describe('languages', () => {
	it('follows the own entry, then the star, then yes', () => {
		expect(languageEnabled({}, 'rust')).toBe(true);
		expect(languageEnabled({ '*': false }, 'rust')).toBe(false);
		expect(languageEnabled({ '*': false, rust: true }, 'rust')).toBe(true);
	});

	it('toggles one language and keeps the rest', () => {
		expect(toggleLanguage({ '*': true, c: false }, 'rust')).toEqual({ '*': true, c: false, rust: false });
		expect(toggleLanguage({ '*': false }, 'rust')).toEqual({ '*': false, rust: true });
	});
});

const report: CompletionReport = {
	outcome: 'empty',
	reason: 'the suggestion only repeated the text after the cursor',
	promptTokens: 120,
	cachedTokens: 100,
	generatedTokens: 8,
	milliseconds: 240.4,
};
const status: EngineStatus = {
	state: 'ready',
	processId: 42,
	version: '0.1.0',
	active: { completion: 0, chat: 0, benchmark: 0 },
	memory: { residentBytes: 1.5e9, peakBytes: 2e9, mappedBytes: 12.1e9, cacheBytes: 1e8 },
	model: {
		path: '/m.gguf',
		name: 'gpt-oss-20b',
		architecture: 'gpt-oss',
		fileBytes: 12.1e9,
		parameterCount: 20.9e9,
		contextLength: 131072,
		kernels: 'avx512',
		threads: 8,
		completionFormat: 'continuation',
		loadMilliseconds: 900,
	},
	speed: { prefill: 91.2, decode: 12.34 },
	cache: { usedTokens: 1000, capacityTokens: 8192 },
};

describe('why no suggestion', () => {
	const facts: CompletionFacts = {
		document: { languageId: 'typescript', scheme: 'file', schemeSupported: true },
		inlineSuggestEnabled: true,
		enabled: true,
		languageEnabled: true,
		engine: { state: 'ready', status: { ...status, lastCompletion: report } },
		pending: false,
	};

	it('gives the model’s own reason when nothing before it stands in the way', () => {
		const { text } = explainCompletion(facts);
		expect(text).toContain('only repeated the text after the cursor');
		expect(text).toContain('120 prompt tokens (100 cached), 8 generated, 240 ms');
	});

	it('names the first thing that stands in the way, with what to do', () => {
		const { document: _, ...none } = facts;
		expect(explainCompletion(none).text).toMatch(/No text editor/);
		expect(explainCompletion({ ...facts, inlineSuggestEnabled: false, enabled: false }).action).toBe(
			'enable-inline-suggest',
		);
		expect(
			explainCompletion({ ...facts, document: { languageId: 'log', scheme: 'output', schemeSupported: false } }).text,
		).toContain('output:');
		expect(explainCompletion({ ...facts, enabled: false, languageEnabled: false }).action).toBe('toggle-completions');
		expect(explainCompletion({ ...facts, languageEnabled: false })).toMatchObject({ action: 'toggle-language' });
		expect(explainCompletion({ ...facts, engine: { state: 'no-model' } }).action).toBe('select-model');
		expect(explainCompletion({ ...facts, engine: { state: 'failed', message: 'no addon' } })).toEqual({
			text: 'The engine is not running: no addon',
			action: 'restart-engine',
		});
		expect(explainCompletion({ ...facts, engine: { state: 'loading' } }).text).toMatch(/loading/);
		expect(explainCompletion({ ...facts, pending: true }).text).toMatch(/still working/);
		expect(explainCompletion({ ...facts, lastError: 'overloaded' }).text).toContain('overloaded');
		expect(explainCompletion({ ...facts, engine: { state: 'ready', status } }).action).toBe('trigger');
	});
});

describe('status', () => {
	it('shows the model and its speed, and whether completions are on', () => {
		const engine = { state: 'ready' as const, status };
		expect(statusText({ engine, completionsEnabled: true }).text).toBe('$(flame) gpt-oss-20b  12.3 tok/s');
		expect(statusText({ engine, completionsEnabled: false }).text).toMatch(/circle-slash/);
		expect(statusText({ engine: { ...engine, state: 'busy' }, completionsEnabled: true }).text).toMatch(/sync~spin/);
	});

	it('cuts a long name short', () => {
		const model = { ...status.model!, name: 'A very long name of a model file, quantised' };
		const { text } = statusText({ engine: { state: 'ready', status: { ...status, model } }, completionsEnabled: true });
		expect(text).toBe('$(flame) A very long name of a m…  12.3 tok/s');
	});

	it('says that it is loading, and colours what needs the user', () => {
		expect(statusText({ engine: { state: 'loading', status }, completionsEnabled: true }).text).toBe(
			'$(loading~spin) Hearth: loading',
		);
		expect(statusText({ engine: { state: 'off' }, completionsEnabled: true }).severity).toBe('warning');
		expect(statusText({ engine: { state: 'failed' }, completionsEnabled: true }).severity).toBe('error');
	});

	it('lists what the engine knows of itself', () => {
		const details = Object.fromEntries(statusDetails(status));
		expect(details['Memory']).toBe('1.5 GB (peak 2.0 GB), of a mapped file of 12.1 GB');
		expect(details['KV cache']).toBe('1,000 of 8,192 tokens, 100 MB');
		expect(details['Engine']).toBe('0.1.0, process 42');
	});

	it('writes bytes as people read them', () => {
		expect([0, 999, 1000, 12_104_873_792, 5e15].map(formatBytes)).toEqual([
			'0 B',
			'999 B',
			'1.0 KB',
			'12.1 GB',
			'5000 TB',
		]);
	});
});

describe('errors', () => {
	const failure = (code: number) => Object.assign(new Error('as the engine says'), { code });

	it('offers what helps', () => {
		expect(describeError(failure(ErrorCode.noModel)).actions).toEqual(['select-model', 'retry']);
		expect(describeError(failure(ErrorCode.contextOverflow))).toEqual({
			message: 'As the engine says.',
			actions: ['new-chat', 'open-settings'],
		});
		expect(describeError(failure(-32097)).message).toMatch(/stopped while it was answering/);
		expect(describeError('What?')).toEqual({ message: 'What?', actions: ['retry', 'show-log', 'restart-engine'] });
	});
});

describe('models', () => {
	it('keeps the last ten, each once, the latest first', () => {
		const twelve = Array.from({ length: 12 }, (_, index) => `m${index}`);
		const recent = twelve.reduce<string[]>((list, file) => addRecent(list, file), []);
		expect(recent).toHaveLength(10);
		expect(addRecent(recent, 'm5').slice(0, 3)).toEqual(['m5', 'm11', 'm10']);
		expect(addRecent(recent, 'm5')).toHaveLength(10);
	});

	it('understands paths as they are pasted', () => {
		expect(cleanPath(' "/a b/m.gguf" ', '/home/ann')).toBe('/a b/m.gguf');
		expect(cleanPath('file:///a%20b/m.gguf', '/home/ann')).toBe('/a b/m.gguf');
		expect(cleanPath('file:///C:/m.gguf', 'C:\\Users\\ann')).toBe('C:/m.gguf');
		expect(cleanPath('file:///c%3A/Mod%C3%A8les%20%E6%A8%A1/m.gguf', 'C:\\Users\\ann')).toBe('c:/Modèles 模/m.gguf');
		expect(cleanPath('file://server/share/m.gguf', 'C:\\Users\\ann')).toBe('//server/share/m.gguf');
		expect(cleanPath('file:///a/100%/m.gguf', '/home/ann')).toBe('/a/100%/m.gguf');
		expect(cleanPath('"C:\\Users\\Ann Ä\\m.gguf"', 'C:\\Users\\Ann Ä')).toBe('C:\\Users\\Ann Ä\\m.gguf');
		expect(cleanPath('~\\m.gguf', 'C:\\Users\\Ann Ä')).toBe('C:\\Users\\Ann Ä\\m.gguf');
		expect(cleanPath('~/m.gguf', '/home/ann')).toBe('/home/ann/m.gguf');
		expect(cleanPath('/~/m.gguf', '/home/ann')).toBe('/~/m.gguf');
	});
});

describe('webview page', () => {
	it('allows its own script, styles and font and nothing else', () => {
		const nonce = createNonce();
		expect(nonce).not.toBe(createNonce());
		const html = webviewPage({
			title: 'T "<1>"',
			cspSource: 'https://*.cdn',
			scriptUri: 'https://x/chat.js?a&b',
			styleUri: 'https://x/chat.css',
			nonce,
		});
		const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(html)?.[1];
		expect(policy?.split('; ')).toEqual([
			"default-src 'none'",
			'style-src https://*.cdn',
			`script-src 'nonce-${nonce}'`,
			'font-src https://*.cdn',
			'img-src https://*.cdn data:',
		]);
		expect(html).toContain('<title>T &quot;&lt;1&gt;&quot;</title>');
		expect(html.match(/<script/g)).toHaveLength(1);
		expect(html).toContain(`<script nonce="${nonce}" src="https://x/chat.js?a&amp;b">`);
	});
});

describe('saved benchmark reports', () => {
	let folder: string;
	const benchmark = (createdAt: string): BenchmarkReport => ({
		createdAt,
		version: '0.1.0',
		machine: { cpu: 'Zen 4', cores: 2, memoryBytes: 24e9, platform: 'linux', features: [] },
		model: { name: '../gpt oss', path: '/m', fileBytes: 1, parameterCount: 1, bytesPerToken: 1 },
		backend: 'cpu',
		kernels: 'avx512',
		threads: 2,
		results: [{ test: 'pp512', engine: 'hearth', milliseconds: { mean: 10, stddev: 1, samples: [9, 11] } }],
		memory: { peakBytes: 1, averageBytes: 1, mappedBytes: 1 },
	});

	beforeEach(() => {
		folder = mkdtempSync(path.join(tmpdir(), 'hearth-reports-'));
	});
	afterEach(() => rmSync(folder, { recursive: true, force: true }));

	it('gives back what was saved, the latest first, and skips what is no report', async () => {
		const store = new ReportStore(path.join(folder, 'benchmarks'));
		expect(await store.list()).toEqual([]);
		const first = await store.save(benchmark('2026-01-02T03:04:05.678Z'));
		const second = await store.save(benchmark('2026-02-02T03:04:05.678Z'));
		expect(first).toBe('2026-01-02T03-04-05-678Z_.._gpt_oss');
		writeFileSync(path.join(store.directory, 'zz.json'), '{"results": 3}');
		writeFileSync(path.join(store.directory, 'zy.json'), 'half a fi');
		expect((await store.list()).map(({ id }) => id)).toEqual([second, first]);
		expect(await store.load(first)).toEqual(benchmark('2026-01-02T03:04:05.678Z'));
	});

	it('reads nothing outside its folder', async () => {
		const store = new ReportStore(path.join(folder, 'benchmarks'));
		await store.save(benchmark('2026-01-02T03:04:05.678Z'));
		writeFileSync(path.join(folder, 'outside.json'), JSON.stringify(benchmark('2026-01-02T03:04:05.678Z')));
		expect(await store.load('../outside')).toBeUndefined();
		expect(await store.load('missing')).toBeUndefined();
	});
});
