// Ids of special tokens that name no token. Files with such ids are in use, so they run, and the user is told what was
// ignored.
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { familyOf } from '../../engine/families/choose';
import { specialIds } from '../../engine/gguf/special-ids';
import type { GgufValue } from '../../engine/gguf/writer';
import { openModel } from '../../engine/loading/open-model';
import { describeModel } from '../../engine/models/describe';
import { readHeader } from '../../engine/models/header';
import { vocabularyHeader } from '../../engine/synth/vocabulary';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import type { MetadataValue } from '../../native/index';
import { bundleCli } from '../support/cli';
import { temporaryFolder } from '../support/models';
import { set, vocabularySize as size, vocabulary, writeSmall } from '../support/small-gguf';

const folder = temporaryFolder();

function header(metadata: Record<string, MetadataValue>, pre = 'qwen2') {
	const made = vocabularyHeader(vocabulary, pre);
	made.metadata.delete('tokenizer.ggml.bos_token_id');
	for (const [key, value] of Object.entries(metadata)) made.metadata.set(key, value);
	return made;
}

describe('an id of a special token', () => {
	const OUTSIDE = new RegExp(`outside the vocabulary of ${size} tokens, and is ignored`);
	const NONE = /is −1, which names no token, and is ignored/;
	it.each<[string, MetadataValue, RegExp]>([
		['the vocabulary’s size', size, OUTSIDE],
		['99999', 99_999, OUTSIDE],
		['−1', -1, NONE],
		['2^32 − 1', 2 ** 32 - 1, NONE],
		['2^64 − 1', 2n ** 64n - 1n, NONE],
		['2^63 − 1', 2n ** 63n - 1n, OUTSIDE],
		['−2', -2, OUTSIDE],
		['1.5', 1.5, OUTSIDE],
		['NaN', Number.NaN, OUTSIDE],
		['a text', '<|end|>', /is no number, and is ignored/],
		['a flag', true, /is no number/],
		['an array', Int32Array.of(3), /is no number/],
	])('is ignored, and a note says so, where it is %s', (_, value, note) => {
		const kinds = ['bos', 'eos', 'eot', 'eom', 'unknown', 'seperator', 'padding', 'cls', 'mask', 'fim_pre', 'fim_suf'];
		for (const kind of [...kinds, 'fim_mid', 'fim_pad', 'fim_rep', 'fim_sep', 'prefix', 'suffix', 'middle']) {
			const key = `tokenizer.ggml.${kind}_token_id`;
			const made = header({ [key]: value, 'tokenizer.ggml.add_bos_token': true });
			expect(specialIds(made).notes).toEqual([expect.stringMatching(note)]);
			expect(specialIds(made).notes[0]).toContain(`${key} is `);
			const tokenizer = Tokenizer.fromGguf(made);
			expect(tokenizer.bosId).toBeUndefined();
			const { endOfText, completion } = familyOf(made, tokenizer);
			for (const id of endOfText) expect(id).toBeLessThan(size);
			expect(completion.shared.every((id) => id >= 0 && id < size)).toBe(true);
		}
	});

	it('is taken where it names a token, in whatever type', () => {
		for (const value of [5, 5n]) {
			const { ids, notes } = specialIds(header({ 'tokenizer.ggml.eot_token_id': value }));
			expect([...ids]).toEqual([['eot', 5]]);
			expect(notes).toEqual([]);
		}
	});

	it('is of the newer key where both are there, and of the older one where that names no token', () => {
		const both = (pre: number, prefix: number) =>
			specialIds(header({ 'tokenizer.ggml.fim_pre_token_id': pre, 'tokenizer.ggml.prefix_token_id': prefix })).ids;
		expect(both(7, 8).get('fim_pre')).toBe(7);
		expect(both(-1, 8).get('fim_pre')).toBe(8);
	});
});

describe('a model with ids that name no token', () => {
	const given: [string, GgufValue][] = [
		['eos', { type: 'u32', value: size }],
		['eot', { type: 'u32', value: 99_999 }],
		['fim_pre', { type: 'u32', value: 2 ** 32 - 1 }],
		['padding', { type: 'i32', value: -1 }],
		['bos', { type: 'u64', value: 2 ** 40 }],
	];
	const all = (parts: Parameters<ReturnType<typeof set>>[0]) => {
		set('tokenizer.ggml.add_bos_token', { type: 'bool', value: true })(parts);
		for (const [kind, value] of given) set(`tokenizer.ggml.${kind}_token_id`, value)(parts);
	};

	it('runs, and its description has a note on each', async () => {
		const file = await writeSmall(folder, 'ids', all);
		const { problem, notes } = describeModel(await readHeader(file));
		expect(problem).toBeUndefined();
		expect(notes).toHaveLength(given.length);
		const { engine, tokenizer, family } = await openModel(file);
		const result = await engine.generate({
			tokens: tokenizer.encode('the cat'),
			priority: 'chat',
			maxTokens: 3,
			stopIds: family.endOfText,
		});
		expect(result.tokens.length).toBeLessThanOrEqual(3);
		const window = { prefix: '', prefixIsWhole: true, linePrefix: '', lineSuffix: '', suffix: '' };
		const built = family.completion.build({ label: 'a.ts', languageId: 'typescript', related: [] }, window);
		expect(built.tokens.length).toBeGreaterThan(0);
		await engine.close();
	});

	it('has the notes in "hearth info"', async () => {
		const file = await writeSmall(folder, 'info', all);
		const cli = await bundleCli(folder);
		const native = (await import('node:path')).resolve('dist', 'native', 'hearth.node');
		const run = (...args: string[]) =>
			execFileSync(process.execPath, [cli, 'info', file, ...args], {
				encoding: 'utf8',
				env: { ...process.env, HEARTH_NATIVE: native },
			});
		const lines = run()
			.split('\n')
			.filter((line) => line.startsWith('note'));
		expect(lines).toHaveLength(given.length);
		expect(lines.join('\n')).toContain(
			`tokenizer.ggml.eos_token_id is ${size}, outside the vocabulary of ${size} tokens`,
		);
		expect(JSON.parse(run('--json'))).toMatchObject({
			notes: expect.arrayContaining([expect.stringContaining('padding')]),
		});
	});
});
