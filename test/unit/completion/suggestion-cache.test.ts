import { describe, expect, test } from 'vitest';
import { SuggestionCache, type SuggestionKey } from '../../../engine/completion/suggestion-cache';
import { cutWindow } from '../../../engine/completion/window';

const key = (text: string, document = 'file:///a.ts'): SuggestionKey => {
	const [before = '', after = ''] = text.split('‸');
	return { document, window: cutWindow({ before, after }, { prefixTokens: 1000, suffixTokens: 1000 }) };
};

function cacheWith(text: string, suggestion: string): SuggestionCache {
	const cache = new SuggestionCache();
	cache.add(key(text), { text: suggestion });
	return cache;
}

describe('SuggestionCache', () => {
	test.each([
		['the same place', 'const a = ‸;', 'const a = ‸;', 'b + c', 'b + c'],
		['typing along it', 'x‸', 'x = 1‸', ' = 12;', '2;'],
		['over a line', 'if (a) {‸\n}', 'if (a) {\n  b‸\n}', '\n  b();', '();'],
		['with a bracket the editor closed', 'f‸', 'f(‸)', '(a, b)', 'a, b)'],
		['with a bracket typed over', 'f(‸)', 'f(a)‸', 'a).then', '.then'],
	])('answers at %s', (_, made, now, suggestion, rest) => {
		expect(cacheWith(made, suggestion).find(key(now))).toEqual({ text: rest });
	});

	test.each([
		['something else was typed', 'x‸', 'xy‸', ' = 1'],
		['the text after the cursor changed', 'x‸\na', 'x‸\nb', ' = 1'],
		['the rest of the line changed', 'x‸ y', 'x‸ z', ' = 1'],
		['something before was deleted', 'xy‸', 'x‸', ' = 1'],
		['it was typed to its end', 'x‸', 'x = 1‸', ' = 1'],
	])('does not answer where %s', (_, made, now, suggestion) => {
		expect(cacheWith(made, suggestion).find(key(now))).toBeUndefined();
	});

	test('does not answer for another document', () => {
		expect(cacheWith('x‸', 'y').find(key('x‸', 'file:///b.ts'))).toBeUndefined();
	});

	test('remembers that there was nothing to suggest, at that place only', () => {
		const cache = new SuggestionCache();
		cache.add(key('x‸'), { text: '', reason: 'nothing' });
		expect(cache.find(key('x‸'))).toEqual({ text: '', reason: 'nothing' });
		expect(cache.find(key('xy‸'))).toBeUndefined();
	});

	test('the newest suggestion wins, the least recently used goes', () => {
		const cache = new SuggestionCache();
		cache.add(key('first‸'), { text: 'a' });
		for (let i = 0; i < 199; i++) cache.add(key(`n${i} ‸`), { text: 'b' });
		expect(cache.find(key('first‸'))).toEqual({ text: 'a' });
		cache.add(key('more‸'), { text: 'c' });
		expect(cache.find(key('first‸'))).toEqual({ text: 'a' });
		expect(cache.find(key('n0 ‸'))).toBeUndefined();
		cache.add(key('first‸'), { text: 'd' });
		expect(cache.find(key('first‸'))).toEqual({ text: 'd' });
	});
});
