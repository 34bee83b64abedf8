// The tables of settings agree with themselves, and everything that is said of settings elsewhere agrees with them.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { BENCHMARK_DEFAULTS } from '../../engine/benchmark/options';
import { DEFAULT_SETTINGS, readSettings } from '../../engine/server/settings';
import { type EngineSettings, makeSettings, NAMED_SETTINGS, SETTINGS } from '../../engine/settings';
import { engineSettings } from '../../extension/connection/settings';
import { EDITOR_SETTINGS, editorName, settingSections } from '../../extension/settings';
import type { BackendChoice, CacheType, KernelSet, RopeMode } from '../../native/index';
import { dependents } from '../../scripts/settings.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const all = settingSections().flatMap(({ settings }) => settings);
const files = await dependents();

/** Values that people write into settings files. */
const WRITTEN = [
	undefined,
	null,
	true,
	'text',
	' ~/a ',
	'',
	-1e9,
	-1,
	0,
	0.4,
	0.5,
	3.7,
	512,
	1e9,
	Number.NaN,
	[],
	['a', 5, ''],
	{},
];

describe('every setting', () => {
	test('stands in one section', () => {
		const names = [...NAMED_SETTINGS.map(([name]) => editorName(name)), ...Object.keys(EDITOR_SETTINGS)];
		expect(all.map(([name]) => name).sort()).toEqual(names.sort());
		expect(new Set(names).size).toBe(names.length);
	});

	test.each(all)('%s allows its default', (name, setting) => {
		expect(setting.problem(setting.default, name)).toBeUndefined();
		expect(setting.nearest(setting.default)).toEqual(setting.default);
		expect(setting.nearest(undefined)).toEqual(setting.default);
	});

	test.each(all)('%s has words, and one word for each choice', (_name, setting) => {
		expect(setting.description).toMatch(/\.$/);
		expect(setting.summary).not.toBe('');
		const { enum: choices, enumDescriptions: meanings = choices } = setting.json as Record<
			string,
			string[] | undefined
		>;
		expect(meanings?.length).toBe(choices?.length);
	});
});

test('the engine takes whatever the editor sends, also of what was written by hand', () => {
	const { minimum: least, maximum: most } = SETTINGS.contextTokens.json as Record<string, number>;
	expect(engineSettings(() => -1e9, '/home/ann').contextTokens).toBe(least);
	expect(engineSettings(() => 1e9, '/home/ann').contextTokens).toBe(most);
	for (const written of WRITTEN) {
		const sent = engineSettings(() => written, '/home/ann');
		// The base differs from anything that is sent, so a value that the engine does not take would show.
		const base = makeSettings(() => undefined as never);
		expect(readSettings(JSON.parse(JSON.stringify(sent)), base), String(written)).toEqual(sent);
	}
});

test('other clients may send what the editor does not allow, within the ranges of the table', () => {
	const read = (given: object) => readSettings(given, DEFAULT_SETTINGS);
	expect(read({ contextTokens: 64 }).contextTokens).toBe(64);
	expect(read({ contextTokens: 262_144 }).contextTokens).toBe(262_144);
	expect(read({ contextTokens: 63 })).toEqual(DEFAULT_SETTINGS);
	expect(read({ completion: { maxTokens: 1025 } })).toEqual(DEFAULT_SETTINGS);
	expect(read({ completion: { maxTokens: 1024 } }).completion.maxTokens).toBe(1024);
});

test('a list of texts keeps what is allowed of what was written by hand, and is bounded', () => {
	const { exclude } = SETTINGS.completion;
	expect(exclude.nearest([' *.key ', 5, '', 'x'.repeat(257), 'a'])).toEqual(['*.key', 'a']);
	expect(exclude.nearest('*.key')).toEqual(exclude.default);
	expect(exclude.nearest(Array(300).fill('a'))).toHaveLength(200);
	expect(exclude.problem(Array(201).fill('a'), 'exclude')).toContain('at most 200');
	expect(exclude.problem(['x'.repeat(257)], 'exclude')).toContain('256');
	const sent = engineSettings((name) => (name === 'completions.exclude' ? ['secret/**'] : undefined), '/home/ann');
	expect(readSettings(sent, DEFAULT_SETTINGS).completion.exclude).toEqual(['secret/**']);
	// Whoever wrote a workspace that is not trusted must not decide which of the user's files a model sees.
	expect(exclude.restricted && SETTINGS.completion.excludeGitIgnored.restricted).toBe(true);
});

test('the type of the settings has their groups and their words', () => {
	// The compiler checks this test: the choices of the settings are those of the core, and nothing else is a setting.
	const settings: EngineSettings = {
		...DEFAULT_SETTINGS,
		kernels: 'auto' as KernelSet,
		backend: 'auto' as BackendChoice,
		rope: 'reference' as RopeMode,
		cacheType: 'f16' as Exclude<CacheType, 'f32'>,
		chat: { ...DEFAULT_SETTINGS.chat, topP: 0.5 },
	};
	// @ts-expect-error -- it is no choice of this setting
	settings.kernels = 'magic';
	// @ts-expect-error -- it is no setting
	settings.chat.topK = 5;
});

test('the editor measures with the sizes of the command line, unless it is told otherwise', () => {
	const size = (name: 'promptTokens' | 'generateTokens' | 'batchStreams' | 'batchTokens' | 'repetitions') =>
		EDITOR_SETTINGS[`benchmark.${name}`].default;
	expect(BENCHMARK_DEFAULTS).toMatchObject({
		...{ prompt: [size('promptTokens')], generate: size('generateTokens') },
		...{ batch: [size('batchStreams')], length: size('batchTokens'), repeat: size('repetitions') },
	});
});

describe.each([...files])('%s', (file, update) => {
	const text = readFileSync(path.join(root, file), 'utf8');

	test('says what the tables of settings say; `npm run format` writes it', () => {
		expect(update(text)).toBe(text);
	});

	test('is put right where it says something else', () => {
		// In these files only settings are named like this.
		const wrong = text
			.replaceAll('contextTokens` |', 'contextTokens` | `1` |')
			.replace('"default": 8192', '"default": 1');
		expect(wrong).not.toBe(text);
		expect(update(wrong)).toBe(text);
	});
});

test('a document without the marks of its table is refused', () => {
	expect(() => files.get('README.md')!('# Hearth')).toThrow('must hold this mark once');
});
