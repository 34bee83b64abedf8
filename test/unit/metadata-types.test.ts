// Metadata of every type under every key that is read. Each gives a clear line or a model that works, and never ends
// the process.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ModelShape } from '../../engine/synth/architecture';
import { loadNative } from '../../native/index';
import { runChild } from '../support/child';
import { makeDraftHead } from '../support/draft-head';
import { arrayOf, type RawValue, type ScalarType, scalar, scalarTypes } from '../support/gguf-edit';
import { makeModel, temporaryFolder } from '../support/models';
import type { MetadataCase, MetadataOutcome } from '../support/open-metadata';

const folder = temporaryFolder();
const root = path.resolve(import.meta.dirname, '..', '..');
const small: Partial<ModelShape> = {
	...{ layers: 1, embedding: 32, feedForward: 32, experts: 2, expertsUsed: 1 },
	...{ heads: 2, headsKv: 1, headLength: 16 },
};

/**
 * The keys that the native core reads of an architecture, and the keys that anything reads, as the sources name them.
 */
function keysRead(): { ofArchitecture: string[]; ofDraftHead: string[]; general: string[] } {
	const core = ['model.cpp', 'gguf.cpp'].map((file) => readFileSync(path.join(root, 'native', 'core', file), 'utf8'));
	const scripts = readdirSync(path.join(root, 'engine'), { recursive: true, encoding: 'utf8' })
		.filter((file) => file.endsWith('.ts') && !/^(synth|convert)\b/.test(file))
		.map((file) => readFileSync(path.join(root, 'engine', file), 'utf8'));
	const found = (texts: string[], pattern: RegExp) =>
		texts.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1]!));
	return {
		ofArchitecture: [
			...new Set([
				...found(core, /\b(?:key|number)\("([\w.]+)"/g),
				...found(scripts, /`\$\{architecture\}\.([\w.]+)`/g),
				...['expert_feed_forward_length', 'feed_forward_length', 'pooling_type', 'vocab_size'],
			]),
		],
		ofDraftHead: [...new Set(found(core, /"(eagle3\.[\w.]+)"/g))],
		general: [
			...new Set([
				...found([...core, ...scripts], /['"]((?:general|tokenizer|split)\.[\w.]+)['"]/g),
				...'bos eos eot eom unknown seperator padding mask cls fim_pre fim_suf fim_mid fim_pad fim_rep fim_sep'
					.split(' ')
					.map((kind) => `tokenizer.ggml.${kind}_token_id`),
			]),
		],
	};
}

const numbers: Partial<Record<ScalarType, (number | string)[]>> = {
	...{ u8: [0, 255], i8: [-1, 1], u16: [0, 65535], i16: [-32768, 2], u32: [0, 1, 2 ** 32 - 1], i32: [-1, 3] },
	...{ f32: [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 3e38], bool: [0, 1, 255] },
	...{ string: ['', 'x', 'é\u0000\n', 'a'.repeat(5000)] },
	...{ u64: [0, '9007199254740993', '18446744073709551615'], i64: ['-9223372036854775808', -1] },
	...{ f64: [Number.NaN, Number.NEGATIVE_INFINITY, 1e300, 0.5] },
};

/** One value of each type and each telling number, and arrays of each type, empty and not. */
const values: [string, RawValue][] = (Object.keys(scalarTypes) as ScalarType[]).flatMap((type) => [
	...numbers[type]!.map((value): [string, RawValue] => {
		const whole = typeof value === 'string' && type !== 'string' ? BigInt(value) : value;
		return [`${type} ${String(value).slice(0, 24)}`, scalar(type, whole as number)];
	}),
	[`no ${type}s`, arrayOf(type, [])] as [string, RawValue],
	[`${type}s`, arrayOf(type, type === 'string' ? ['a', '', 'b'] : [1, 0, 1])] as [string, RawValue],
]);

async function openEach(file: string, cases: MetadataCase[], target?: string): Promise<MetadataOutcome[]> {
	const scratch = path.join(folder, 'metadata.gguf');
	const child = await runChild('open-metadata.ts', [file, scratch, ...(target ? [target] : [])], JSON.stringify(cases));
	const lines = child.stdout.trim().split('\n');
	if (child.code !== 0 || lines.length !== cases.length) {
		const culprit = JSON.stringify(cases[lines.length])?.slice(0, 300);
		expect.fail(`the process ended with ${child.signal ?? child.code} at ${culprit}: ${child.stderr}`);
	}
	return lines.map((line) => JSON.parse(line) as MetadataOutcome);
}

/** Checks that a message has no words of the machinery. A message of the addon must be one line about the file. */
function expectClear(message: string | null, context: string, ofAddon = true): void {
	if (message === null) return;
	expect(message, context).not.toMatch(/std::|bad_alloc|undefined|\[object|is not a function|Cannot read/);
	if (!ofAddon) return;
	// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
	expect(message, context).not.toMatch(/[\x00-\x1f\x7f]/);
	expect(message, context).toContain('metadata.gguf');
}

describe.each(['gpt-oss', 'llama', 'qwen3'] as const)('%s', (architecture) => {
	let file: string;
	let cases: { name: string; changes: MetadataCase }[];

	beforeAll(async () => {
		const wide = { ...small, embedding: 64, feedForward: 64, headLength: 32 };
		file = await makeModel(folder, architecture, { ...wide, architecture, ropeScaling: 'yarn' });
		const { ofArchitecture, general } = keysRead();
		// Keys that are read of every file are tried with one architecture only.
		const keys = [
			...ofArchitecture.map((key) => `${architecture}.${key}`),
			...(architecture === 'gpt-oss' ? general : ['general.name']),
		];
		cases = keys.flatMap((key) => [
			{ name: `${key} missing`, changes: { [key]: null } },
			...values.map(([name, value]) => ({ name: `${key} = ${name}`, changes: { [key]: value.toString('hex') } })),
		]);
	});

	test('every type of value under every key', async () => {
		expect(cases.length).toBeGreaterThan(700);
		const outcomes = await openEach(
			file,
			cases.map(({ changes }) => changes),
		);
		for (const [i, { header, description, model, engine }] of outcomes.entries()) {
			const { name } = cases[i]!;
			expectClear(header, name);
			expectClear(description, name);
			expectClear(model, name);
			expectClear(engine, name, false);
			// When the addon refuses a file, the engine cannot run it.
			if (model !== null) expect(engine, name).not.toBeNull();
		}
		expect(outcomes.some(({ model }) => model === null)).toBe(true);
		expect(outcomes.some(({ model }) => model !== null)).toBe(true);
	});
});

test('a draft head: every type of value under every key', async () => {
	const target = await makeModel(folder, 'target', { ...small, layers: 4 });
	const { info } = await loadNative().openModel(target, { threads: 1 });
	const shape = { embedding: info.embeddingLength, vocabulary: info.vocabularySize };
	const head = await makeDraftHead(folder, target, shape);
	const { ofArchitecture, ofDraftHead } = keysRead();
	expect(ofDraftHead.length).toBeGreaterThan(4);
	const keys = [...ofDraftHead, ...ofArchitecture.map((key) => `eagle3.${key}`), 'general.name'];
	const cases = keys.flatMap((key) =>
		values.map(([name, value]) => [`${key} = ${name}`, { [key]: value.toString('hex') }] as const),
	);
	const outcomes = await openEach(
		head,
		cases.map(([, changes]) => changes),
		target,
	);
	for (const [i, { header, model, engine }] of outcomes.entries()) {
		const [name] = cases[i]!;
		expectClear(header, name);
		expectClear(model, name);
		// The model works without the head that was to draft for it.
		expect(engine, name).toBeNull();
	}
	expect(outcomes.some(({ model }) => model === null)).toBe(true);
	expect(outcomes.some(({ model }) => model !== null)).toBe(true);
});

test('a name that is no string is refused by the addon, with the file and the key named', async () => {
	const file = await makeModel(folder, 'named', small);
	const wrong = values.filter(([name]) => !/^string /.test(name));
	const outcomes = await openEach(
		file,
		wrong.map(([, value]) => ({ 'general.name': value.toString('hex') })),
	);
	for (const { header, model } of outcomes) {
		expect(header).toBeNull();
		expect(model).toBe(`${path.join(folder, 'metadata.gguf')}: the metadata key general.name must be a string`);
	}
});
