// README.md's list of models that Hearth runs, compared with the one answer to "can it run?".
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openModel } from '../../../engine/loading/open-model';
import { readHeader } from '../../../engine/models/header';
import { SUPPORTED, whyNotRun } from '../../../engine/models/supported';
import { architectures } from '../../../engine/synth/architecture';
import { PRE_TOKENIZER_NAMES, preTokenizerOf } from '../../../engine/tokenizer/pre-tokenizer';
import { temporaryFolder } from '../../support/models';
import { set, writeSmall } from '../../support/small-gguf';

const folder = temporaryFolder();
const readme = readFileSync(path.resolve(import.meta.dirname, '..', '..', '..', 'README.md'), 'utf8');
/** The sentences of README.md's section on models. */
const sentences = readme
	.split(/^## /m)
	.find((section) => section.startsWith('Models\n'))!
	.split(/(?<=[.:])\s+/);
const backticked = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
const ofRuns = sentences.find((sentence) => sentence.includes('Hearth runs GGUF files'))!;

/**
 * Families of models with the values of their published GGUFs: architecture, `tokenizer.ggml.model` and
 * `tokenizer.ggml.pre`.
 */
const FAMILIES: Record<string, [architecture: string, model: string, pre: string]> = {
	'gpt-oss': ['gpt-oss', 'gpt2', 'gpt-4o'],
	'Qwen2.5-Coder': ['qwen2', 'gpt2', 'qwen2'],
	'Qwen3-Coder': ['qwen3moe', 'gpt2', 'qwen2'],
	'Qwen 3': ['qwen3', 'gpt2', 'qwen2'],
	'Llama 3': ['llama', 'gpt2', 'llama-bpe'],
	SmolLM2: ['llama', 'gpt2', 'smollm'],
	'Granite Code': ['llama', 'gpt2', 'refact'],
	StarCoder: ['starcoder2', 'gpt2', 'starcoder'],
	'DeepSeek-Coder': ['llama', 'gpt2', 'deepseek-coder'],
	CodeLlama: ['llama', 'llama', 'default'],
	Codestral: ['llama', 'llama', 'default'],
	Mistral: ['llama', 'gpt2', 'tekken'],
	Gemma: ['gemma3', 'llama', 'default'],
	Phi: ['phi3', 'llama', 'default'],
	'Seed-Coder': ['llama', 'gpt2', 'seed-coder'],
};

async function runs(family: string): Promise<boolean> {
	const [architecture, model, pre] = FAMILIES[family]!;
	const known = architectures.find((each) => each === architecture);
	const file = await writeSmall(
		folder,
		family,
		(parts) => {
			set('general.architecture', { type: 'string', value: architecture })(parts);
			set('tokenizer.ggml.model', { type: 'string', value: model })(parts);
			set('tokenizer.ggml.pre', { type: 'string', value: pre })(parts);
		},
		known ? { architecture: known } : {},
	);
	const said = whyNotRun(await readHeader(file)) === undefined;
	const opened = await openModel(file).catch(() => undefined);
	await opened?.engine.close();
	expect(said).toBe(opened !== undefined);
	return said;
}

describe('README.md', () => {
	it('names the architectures that run', () => {
		const named = [...backticked(ofRuns), ...(/\bgpt-oss\b/.test(ofRuns) ? ['gpt-oss'] : [])];
		expect(named.sort()).toEqual(Object.keys(SUPPORTED).sort());
	});

	it('names the tensor types that run', () => {
		const list = /tensors of the types ([^.]*)/.exec(readme)![1]!;
		expect(list.split(/,\s+|\s+and\s+/).sort()).toEqual([...SUPPORTED['llama']!].sort());
	});

	it('names pre-tokenizers that are known, and all others equal one of them', () => {
		const sentence = sentences.find((each) => each.includes('byte-level BPE ('))!;
		const named = backticked(sentence);
		expect(named.length).toBeGreaterThan(3);
		expect(PRE_TOKENIZER_NAMES).toEqual(expect.arrayContaining(named));
		for (const name of PRE_TOKENIZER_NAMES) expect(named.map(preTokenizerOf)).toContain(preTokenizerOf(name));
	});

	it.each(Object.keys(FAMILIES))('says of %s what is true', async (family) => {
		const naming = sentences.filter((sentence) => sentence.includes(family) && !sentence.includes('|'));
		const refused = naming.filter((sentence) => sentence.includes('refused'));
		if (await runs(family)) expect(refused).toEqual([]);
		else expect(naming).toEqual(refused);
	});

	it('names no family as an example that this test does not know', () => {
		const examples = sentences
			.filter((sentence) => !sentence.includes('|'))
			.flatMap((sentence) => [
				...(/such as ([A-Z][^,]*(?:, [^,]*)*? and [\w.-]+(?: \d)?)/.exec(sentence)?.[1]?.split(/,\s+|\s+and\s+/) ?? []),
				...(/\(([A-Z][\w.-]+(?: \d)?(?:, [\w.-]+)*)…\)/.exec(sentence)?.[1]?.split(', ') ?? []),
			]);
		expect(examples.length).toBeGreaterThan(3);
		expect(Object.keys(FAMILIES)).toEqual(expect.arrayContaining(examples));
	});
});
