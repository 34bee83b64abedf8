import { describe, expect, test } from 'vitest';
import { documentLabel, documentLocation } from '../../../engine/server/document-label';
import { DEFAULT_SETTINGS, readSettings } from '../../../engine/server/settings';

describe('readSettings', () => {
	test.each([undefined, null, 5, 'x', [], {}])('%j gives the base', (given) => {
		expect(readSettings(given, DEFAULT_SETTINGS)).toEqual(DEFAULT_SETTINGS);
	});

	test('takes what is right and leaves what is not', () => {
		const settings = readSettings(
			{
				modelPath: '/a.gguf',
				threads: -1,
				contextTokens: 1e9,
				kernels: 'magic',
				backend: 'metal',
				rope: 'magic',
				speculation: false,
				repackWeights: 0,
				completion: { multiline: 'never', maxTokens: '5', suffixTokens: 0 },
				chat: { temperature: Number.NaN, topP: 0.5, instructions: 'x' },
			},
			DEFAULT_SETTINGS,
		);
		expect(settings).toEqual({
			...DEFAULT_SETTINGS,
			modelPath: '/a.gguf',
			backend: 'metal',
			speculation: false,
			completion: { ...DEFAULT_SETTINGS.completion, multiline: 'never', suffixTokens: 0 },
			chat: { ...DEFAULT_SETTINGS.chat, topP: 0.5, instructions: 'x' },
		});
	});
});

describe('documentLabel', () => {
	const folders = [{ uri: 'file:///home/me/project', name: 'project' }];

	test.each([
		['file:///home/me/project/src/a%20b.ts', 'src/a b.ts'],
		['file:///home/me/project-two/a.ts', 'a.ts'],
		['file:///elsewhere/c.py', 'c.py'],
		['untitled:Untitled-1', 'Untitled-1'],
		['vscode-notebook-cell:/home/me/project/n.ipynb#W0', 'n.ipynb'],
		['file:///home/me/project/bad%', 'bad%'],
		['file:///home/me/project/a%0A%3C%7Cend%7C%3E.ts', 'a <|end|>.ts'],
	])('%s is %s', (uri, label) => {
		expect(documentLabel(documentLocation(uri, folders))).toBe(label);
	});

	test.each([
		['file:///c%3A/Users/Ann%20%C3%84/work/src/%E6%96%87.ts', 'src/文.ts'],
		['file:///C:/Users/Ann%20%C3%84/work/src/a.ts', 'src/a.ts'],
		['file:///d%3A/Users/Ann%20%C3%84/work/src/a.ts', 'a.ts'],
	])('on Windows %s is %s', (uri, label) => {
		const workspace = { uri: 'file:///c%3A/Users/Ann%20%C3%84/work', name: 'work' };
		expect(documentLabel(documentLocation(uri, [workspace]))).toBe(label);
	});
});
