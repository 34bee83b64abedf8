import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import {
	type BenchmarkReport,
	type CatalogueModel,
	type CompletionReport,
	type DownloadStatus,
	type EngineStatus,
	ErrorCode,
	type FoundModel,
	type MemoryNeed,
	type MemoryShortage,
} from '../../engine/protocol';
import { formatBytes } from '../../engine/units';
import { ReportStore } from '../../extension/benchmark/reportStore';
import { canAsk, languageEnabled, toggleLanguage } from '../../extension/completion/enablement';
import { type CompletionFacts, explainCompletion } from '../../extension/completion/explain';
import { engineSettings, modelFolders, networkSettings } from '../../extension/connection/settings';
import { describeError } from '../../extension/errors';
import { byUsefulness, downloadTerms, foundRow, memoryChoices, offeredRow } from '../../extension/model/modelItems';
import { addRecent, cleanPath } from '../../extension/model/recentModels';
import { downloadText, statusDetails, statusText } from '../../extension/status/statusText';
import { createNonce, webviewPage } from '../../extension/webviewPage';

const manifest = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../package.json'), 'utf8'));

/** The defaults of `hearth.*` as VS Code would hand them out. */
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
			backend: 'cuda',
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
			backend: 'auto',
			speculation: true,
			repackWeights: false,
		});
		expect(sent.completion.maxTokens).toBe(13);
		expect(sent.chat).toMatchObject({ temperature: 2, topP: null, reasoningEffort: 'high', instructions: '' });
	});
});

describe('settings of models and of the network', () => {
	it('folders are those of the user, with ~ for the home folder', () => {
		expect(modelFolders((key) => defaults[key], '/home/ann')).toEqual({ folders: [] });
		const edited: Record<string, unknown> = { modelFolders: ['~/models', '/big', 7, ''], downloadFolder: ' ~/got ' };
		expect(modelFolders((key) => edited[key], '/home/ann')).toEqual({
			folders: ['/home/ann/models', '/big'],
			downloadFolder: '/home/ann/got',
		});
		expect(modelFolders(() => 'text', '/home/ann').folders).toEqual([]);
	});

	it('VS Code’s proxy is followed, and nothing is said where it has none', () => {
		const network = (http: Record<string, unknown>) => networkSettings((key) => http[key]);
		expect(network({ proxy: '', proxySupport: 'override', noProxy: [], proxyStrictSSL: true })).toEqual({});
		expect(network({ proxySupport: 'off', proxy: 'http://p:1' })).toEqual({ proxy: '' });
		expect(
			network({ proxy: 'http://p:1', noProxy: ['a.example', 5], proxyStrictSSL: false, proxyAuthorization: 'Basic x' }),
		).toEqual({ proxy: 'http://p:1', noProxy: ['a.example'], strictTls: false, proxyAuthorization: 'Basic x' });
	});
});

test('an idle model can be asked, and still while it loads again; one that is loaded first cannot', () => {
	const asked = (...states: Parameters<typeof canAsk>[0][]) =>
		states.reduce((before, state) => canAsk(state, before), false);
	expect(asked('starting', 'loading')).toBe(false);
	expect(asked('starting', 'loading', 'ready')).toBe(true);
	expect(asked('ready', 'unloaded')).toBe(true);
	expect(asked('ready', 'unloaded', 'loading')).toBe(true);
	expect(asked('ready', 'unloaded', 'loading', 'error')).toBe(false);
	expect(asked('ready', 'restarting', 'loading')).toBe(false);
});

test('a model that is there can be asked while the other one loads', () => {
	const status = (models: Partial<EngineStatus>) => models as EngineStatus;
	const small = status({ completionModel: { name: 'small' } as never, loading: ['chat'] });
	const large = status({ model: { name: 'large' } as never, loading: ['completion'] });
	expect(canAsk('loading', false, status({ loading: ['chat', 'completion'] }))).toBe(false);
	expect(canAsk('loading', false, small)).toBe(true);
	expect(canAsk('loading', false, large)).toBe(true);
	expect(canAsk('error', true, small)).toBe(false);
	const facts = { inlineSuggestEnabled: true, enabled: true, languageEnabled: true, pending: false };
	const document = { languageId: 'c', scheme: 'file', schemeSupported: true };
	const explain = (told: EngineStatus) =>
		explainCompletion({ ...facts, document, engine: { state: 'loading', status: told } }).text;
	expect(explain(status({ loading: ['chat', 'completion'] }))).toContain('still loading');
	expect(explain(small)).toContain('No suggestion has been asked for yet');
	const summary = (told: EngineStatus) =>
		statusText({ engine: { state: 'loading', status: told }, completionsEnabled: true } as never).text;
	expect(summary(small)).toContain('loading');
});

describe('models to choose from', () => {
	const memory = { totalBytes: 16e9, availableBytes: 9e9 };
	const need = { weightBytes: 12.1e9, cacheBytes: 0.5e9, scratchBytes: 0.4e9, totalBytes: 13e9 };
	const model: FoundModel = {
		...{ path: '/m/gpt-oss-20b.gguf', name: 'gpt-oss-20b', source: 'lm-studio', architecture: 'gpt-oss' },
		...{ fileBytes: 12.1e9, parameterCount: 20.9e9, quantisation: 'MXFP4', uses: ['chat', 'completion'] },
		...{ memory: need, fit: 'tight' },
	};

	it('say what they are, whether they fit and where they are from', () => {
		expect(foundRow(model, memory, false)).toEqual({
			label: 'gpt-oss-20b',
			description: 'gpt-oss · 20.9 B · MXFP4 · 12.1 GB',
			detail: 'tight: needs 13.0 GB, 9.0 GB are available now · chat, completions · LM Studio',
		});
		expect(foundRow(model, memory, true).label).toBe('$(check) gpt-oss-20b');
		expect(foundRow({ ...model, fit: 'too-large' }, memory, false).detail).toContain(
			'too large: needs 13.0 GB, this machine has 16.0 GB',
		);
		expect(foundRow({ ...model, fit: 'fits' }, memory, false).detail).toContain('fits: needs 13.0 GB of 9.0 GB');
		const broken: FoundModel = {
			path: '/x',
			name: 'x',
			source: 'ollama',
			fileBytes: 5,
			uses: [],
			problem: 'it is truncated',
		};
		expect(foundRow(broken, memory, false)).toEqual({
			label: '$(circle-slash) x',
			description: '5 B',
			detail: 'cannot be run: it is truncated · Ollama',
		});
		expect([broken, model, { ...model, fit: 'fits' as const }].sort(byUsefulness).map(({ fit }) => fit)).toEqual([
			'fits',
			'tight',
			undefined,
		]);
	});

	it('those to download say what is agreed to', () => {
		const offered: CatalogueModel = {
			...{ id: 'x', name: 'X', summary: 'an X', page: 'https://h.example/x', host: 'h.example', uses: ['chat'] },
			...{ license: 'Apache-2.0', fileBytes: 12.1e9, memory: need, fit: 'too-large', partialBytes: 2.1e9 },
		};
		expect(offeredRow(offered, memory)).toEqual({
			label: '$(cloud-download) X',
			description: '12.1 GB · Apache-2.0 · h.example · 2.1 GB are here already',
			detail: 'too large: needs 13.0 GB, this machine has 16.0 GB · chat · an X',
		});
		const where = { downloadFolder: '/d', freeDiskBytes: 50e9, memory };
		const terms = downloadTerms(offered, 12.1e9, where);
		expect(terms.button).toBe('Download Anyway');
		for (const part of [
			'10.0 GB of 12.1 GB are still to come from h.example',
			'Apache-2.0',
			'https://h.example/x',
			'/d, where 50.0 GB are free',
		])
			expect(terms.detail).toContain(part);
		const { license: _license, ...unlicensed } = { ...offered, fit: 'fits' as const, partialBytes: 0 };
		expect(downloadTerms(unlicensed, 5e9, where)).toMatchObject({
			button: 'Download',
			detail: expect.stringContaining('Licence: see its page'),
		});
		expect(offeredRow({ ...unlicensed, problem: 'no' }, memory)).toMatchObject({
			label: '$(circle-slash) X',
			detail: expect.stringContaining('cannot be run: no'),
		});
	});

	it('too much for the machine leaves a choice', () => {
		const shortage: MemoryShortage = {
			path: '/m/gpt.gguf',
			need,
			memory,
			alternatives: [{ contextTokens: 2048, cacheType: 'q8_0' }],
		};
		const { message, detail, choices } = memoryChoices(shortage);
		expect(message).toBe('gpt.gguf needs 13.0 GB of memory; 9.0 GB of 16.0 GB are available.');
		expect(detail).toContain('Weights 12.1 GB, cache 500 MB, computing 400 MB');
		expect(choices).toEqual([
			{
				label: 'Context of 2,048 tokens, q8_0 cache',
				load: { memoryLimit: 'machine', settings: { contextTokens: 2048, cacheType: 'q8_0' } },
			},
			{ label: 'Choose Another Model…' },
			{ label: 'Load Anyway', load: { memoryLimit: 'none' } },
		]);
	});

	it('a download says how far it is', () => {
		const at = (status: Partial<DownloadStatus>) =>
			downloadText({
				id: 'x',
				name: 'X',
				state: 'downloading',
				receivedBytes: 5e9,
				totalBytes: 10e9,
				bytesPerSecond: 0,
				...status,
			});
		expect(at({ bytesPerSecond: 50e6 })).toBe('50 % of 10.0 GB, 50.0 MB/s, 2 min left');
		expect(at({ bytesPerSecond: 500e6 })).toContain('10 s left');
		expect(at({ bytesPerSecond: 5e5 })).toContain('2.8 h left');
		expect(at({ state: 'waiting', error: 'h is busy (429)' })).toBe('50 % of 10.0 GB; h is busy (429); trying again…');
		expect(at({ state: 'paused' })).toBe('paused at 50 % of 10.0 GB');
		expect(at({ state: 'failed', error: 'why' })).toBe('stopped: why');
		const { totalBytes: _total, ...unknown } = { receivedBytes: 5e6, totalBytes: 0 };
		expect(downloadText({ id: 'x', name: 'X', state: 'downloading', bytesPerSecond: 1e6, ...unknown })).toBe(
			'5.0 MB, 1.0 MB/s',
		);
		const status = {
			...{ state: 'no-model', processId: 1, version: '1', active: { completion: 0, chat: 0, benchmark: 0 } },
			memory: { residentBytes: 1, peakBytes: 1, mappedBytes: 0, cacheBytes: 0 },
			downloads: [
				{ id: 'x', name: 'X', state: 'downloading', receivedBytes: 43, totalBytes: 100, bytesPerSecond: 1 },
				{ id: 'y', name: 'Y', state: 'done', receivedBytes: 1, totalBytes: 1, bytesPerSecond: 0 },
			],
		} as EngineStatus;
		const shown = statusText({ engine: { state: 'no-model', status }, completionsEnabled: true });
		expect(shown).toMatchObject({
			text: '$(flame) Hearth: no model  $(cloud-download) 43 %',
			summary: 'No model chosen, downloading X 43 %',
		});
		expect(statusDetails(status)).toContainEqual(['Y', 'complete']);
		expect(statusText({ engine: { state: 'unloaded' }, completionsEnabled: true }).summary).toContain(
			'idle (unloaded)',
		);
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

	it('reads every setting that it contributes', () => {
		const read = new Set<string>();
		const reader = (key: string) => void read.add(key);
		engineSettings(reader, '/home/ann');
		for (const [, name] of sources.matchAll(/\b(?:setting\(|editorSetting\(read, )'([\w.]+)'/g)) read.add(name!);
		expect([...read].sort()).toEqual(Object.keys(defaults).sort());
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
		backend: 'cpu',
		kernels: 'avx512',
		threads: 8,
		chatFormat: 'Harmony',
		chatText: 'Harmony',
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

	it('says that an excluded file was shown to no model', () => {
		const reason = 'files like this are excluded by hearth.completions.exclude';
		const lastCompletion = { ...report, outcome: 'excluded' as const, reason };
		const { text } = explainCompletion({ ...facts, engine: { state: 'ready', status: { ...status, lastCompletion } } });
		expect(text).toBe(`The model was not asked: ${reason}.`);
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

	it('leaves out how weights are kept, and a training run’s name, which the tooltip has', () => {
		const ownName = 'Smollm2 135M 8k Lc100K Mix1 Ep2';
		const model = { ...status.model!, name: 'SmolLM2-135M-Q8_0', ownName };
		const small = { ...status, model };
		const text = (given: EngineStatus) =>
			statusText({ engine: { state: 'ready', status: given }, completionsEnabled: true }).text;
		expect(text(small)).toBe('$(flame) SmolLM2-135M  12.3 tok/s');
		expect(statusDetails(small)[0]).toEqual(['Model', `SmolLM2-135M-Q8_0 (“${ownName}”, gpt-oss, 12.1 GB)`]);
		for (const name of ['x-mxfp4', 'x.Q4_K_M', 'x-IQ3_XS', 'x-BF16', 'x_f16']) {
			expect(text({ ...status, model: { ...model, name } })).toBe('$(flame) x  12.3 tok/s');
		}
		expect(text({ ...small, completionModel: { ...model, name: 'b-Q4_0' } })).toContain(' b + SmolLM2-135M  ');
	});

	it('says that it is loading, and colours what needs the user', () => {
		expect(statusText({ engine: { state: 'loading', status }, completionsEnabled: true }).text).toBe(
			'$(loading~spin) Hearth: loading',
		);
		expect(statusText({ engine: { state: 'off' }, completionsEnabled: true }).severity).toBe('warning');
		expect(statusText({ engine: { state: 'failed' }, completionsEnabled: true }).severity).toBe('error');
	});

	it('says what a model needs, and what of it is for guessing ahead', () => {
		const need = { weightBytes: 12.1e9, cacheBytes: 0.5e9, scratchBytes: 0.4e9, totalBytes: 13e9 };
		const needs = (of: MemoryNeed) => Object.fromEntries(statusDetails({ ...status, need: of }))['Needs'];
		expect(needs(need)).toBe('13.0 GB at most (weights 12.1 GB, cache 500 MB, computing 400 MB)');
		expect(needs({ ...need, draftBytes: 1.2e9 })).toMatch(/computing 400 MB; 1\.2 GB of it to guess ahead\)$/);
	});

	it('lists what the engine knows of itself', () => {
		const details = Object.fromEntries(statusDetails(status));
		expect(details['Chat format']).toBe('Harmony');
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
			"base-uri 'none'",
			"form-action 'none'",
		]);
		expect(html).toContain('<title>T &quot;&lt;1&gt;&quot;</title>');
		expect(html.match(/<script/g)).toHaveLength(1);
		expect(html).toContain(`<script nonce="${nonce}" src="https://x/chat.js?a&amp;b">`);
	});

	it('is what every page of the extension is loaded in', () => {
		const folder = path.resolve(import.meta.dirname, '../../extension');
		const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' })
			.filter((file) => file.endsWith('.ts'))
			.flatMap((file) => {
				const source = readFileSync(path.join(folder, file), 'utf8');
				if (file !== 'webviewPage.ts') expect(source, file).not.toMatch(/<html|<meta/i);
				return [...source.matchAll(/\.html\s*=\s*(\w+)/g)].map((match) => match[1]);
			});
		expect(pages).toEqual(pages.map(() => 'webviewPage'));
		expect(pages.length).toBeGreaterThanOrEqual(2);
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
