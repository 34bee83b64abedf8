// Models on this machine: where programs keep them, what their headers say, and what can be wrong with them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringTable } from '../../../engine/gguf/string-table';
import { describeModel } from '../../../engine/models/describe';
import { ModelFinder } from '../../../engine/models/find';
import { readHeader } from '../../../engine/models/header';
import { listModels } from '../../../engine/models/list';
import { defaultDownloadFolder, modelPlaces, type Place, thisEnvironment } from '../../../engine/models/places';
import { SUPPORTED, whyUnsupported } from '../../../engine/models/supported';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { FILL_NAMES } from '../../../engine/tokenizer/control-names';
import type { GgufHeader, MetadataValue } from '../../../native/index';
import { loadNative } from '../../../native/index';
import { makeModel, temporaryFolder } from '../../support/models';

const folder = temporaryFolder();
const model = await makeModel(folder, 'tiny-mxfp4');
const PLENTY = { totalBytes: 64e9, availableBytes: 32e9 };

function find(places: Place[], memory = PLENTY) {
	return new ModelFinder().find({ places, settings: DEFAULT_SETTINGS, memory });
}

/** Makes a folder of this name with links to the model, at these paths in the folder. */
function folderOf(name: string, files: Record<string, string | Buffer | { to: string }>): string {
	const root = path.join(folder, name);
	for (const [file, content] of Object.entries(files)) {
		const at = path.join(root, file);
		mkdirSync(path.dirname(at), { recursive: true });
		if (typeof content === 'object' && 'to' in content) symlinkSync(content.to, at);
		else writeFileSync(at, content);
	}
	return root;
}

/** A header as the native reader gives it. */
function header(metadata: Record<string, MetadataValue>, tensors: GgufHeader['tensors'] = []): GgufHeader {
	return { version: 3, fileBytes: 1000, metadata: new Map(Object.entries(metadata)), tensors };
}

const matrix = (type: string, name = 'token_embd.weight') => ({ name, type, shape: [64, 100], offset: 0, bytes: 6400 });

describe('models that are found', () => {
	test('say what they are, what they take and what they are good for', async () => {
		const [found, ...others] = await find([
			{ source: 'folder', folder: folderOf('plain', { 'a.gguf': { to: model } }) },
		]);
		expect(others).toEqual([]);
		const { fileBytes } = await readHeader(model);
		expect(found).toMatchObject({
			...{ name: 'a', source: 'folder', architecture: 'gpt-oss', quantisation: 'Q8_0', fileBytes },
			...{ uses: ['chat', 'completion', 'draft'], fit: 'fits', contextLength: expect.any(Number) },
			memory: { weightBytes: fileBytes, totalBytes: expect.any(Number) },
		});
		expect(found).not.toHaveProperty('problem');
		const fitIn = async (memory: typeof PLENTY) =>
			(await find([{ source: 'folder', folder: path.dirname(found!.path) }], memory))[0]?.fit;
		const need = found!.memory!.totalBytes;
		expect(await fitIn({ totalBytes: 2 * need, availableBytes: need - 1 })).toBe('tight');
		expect(await fitIn({ totalBytes: need, availableBytes: need - 1 })).toBe('too-large');
	});

	test('in the layouts of the Hugging Face, llama.cpp and LM Studio caches, each file once', async () => {
		const blob = folderOf('hub/models--org--repo/blobs', { abc: readFileSync(model) });
		const hub = folderOf('hub', {
			'models--org--repo/snapshots/r1/model-Q8_0.gguf': { to: path.join(blob, 'abc') },
			'models--org--repo/snapshots/r2/model-Q8_0.gguf': { to: path.join(blob, 'abc') },
			'models--org--other/refs/main': 'r1',
		});
		const lmStudio = folderOf('lm', { 'publisher/model-GGUF/other.gguf': readFileSync(model) });
		const found = await find([
			{ source: 'huggingface', folder: hub },
			{ source: 'llama.cpp', folder: hub },
			{ source: 'lm-studio', folder: lmStudio },
			{ source: 'folder', folder: path.join(folder, 'is-not-there') },
		]);
		expect(found.map(({ source, name }) => [source, name])).toEqual([
			['huggingface', 'tiny gpt-oss with random weights'],
			['lm-studio', 'other'],
		]);
	});

	test('of Ollama, by the names of its manifests', async () => {
		const digest = 'a'.repeat(64);
		const manifest = (value: unknown) =>
			JSON.stringify({
				schemaVersion: 2,
				layers: [{ mediaType: 'application/vnd.ollama.image.model', ...(value as object) }],
			});
		const ollama = folderOf('ollama', {
			[`blobs/sha256-${digest}`]: readFileSync(model),
			'blobs/sha256-text': 'not a model',
			'manifests/registry.ollama.ai/library/gpt-oss/20b': manifest({ digest: `sha256:${digest}` }),
			'manifests/registry.ollama.ai/someone/tuned/latest': manifest({ digest: `sha256:${digest}` }),
			'manifests/registry.ollama.ai/library/evil/latest': manifest({ digest: 'sha256:../../../../etc/passwd' }),
			'manifests/registry.ollama.ai/library/gone/latest': manifest({ digest: `sha256:${'b'.repeat(64)}` }),
			'manifests/registry.ollama.ai/library/broken/latest': '{"layers": [{',
			'manifests/registry.ollama.ai/library/strange/latest': '{"layers": 7}',
			'manifests/registry.ollama.ai/library/empty/latest': '',
		});
		const found = await find([{ source: 'ollama', folder: ollama }]);
		expect(found.map(({ name, source, path: file }) => ({ name, source, file: path.basename(file) }))).toEqual([
			{ name: 'gpt-oss:20b', source: 'ollama', file: `sha256-${digest}` },
		]);
	});

	test('are listed with what is wrong with them, and break nothing', async () => {
		const truncated = readFileSync(model).subarray(0, 5000);
		const root = folderOf('broken', {
			'empty.gguf': '',
			'text.gguf': 'version https://git-lfs.github.com/spec/v1\n',
			'truncated.gguf': truncated,
			'good.gguf': { to: model },
			'dangling.gguf': { to: path.join(folder, 'nowhere.gguf') },
			'folder.gguf/inside.txt': '',
			'below/again/loop': { to: path.join(folder, 'broken') },
			self: { to: path.join(folder, 'broken', 'self') },
		});
		execFileSync('mkfifo', [path.join(root, 'pipe.gguf')]);
		truncateSync(path.join(folderOf('broken', { 'zeros.gguf': '' }), 'zeros.gguf'), 1000);
		const found = await find([{ source: 'folder', folder: root }]);
		expect(Object.fromEntries(found.map(({ name, problem }) => [name, problem ?? 'runs']))).toEqual({
			good: 'runs',
			text: 'it is not a GGUF file',
			truncated: expect.stringContaining('it is damaged'),
			zeros: 'it is not a GGUF file',
		});
	});

	test('that are split are one, named with what to do', async () => {
		const part = readFileSync(model);
		const root = folderOf('split', {
			'big-00001-of-00003.gguf': part,
			'big-00002-of-00003.gguf': part,
			'big-00003-of-00003.gguf': part,
			'half-00001-of-00002.gguf': part,
			'one-00001-of-00001.gguf': part,
		});
		const found = await find([{ source: 'folder', folder: root }]);
		expect(
			found.map(({ name, fileBytes, problem }) => [name, fileBytes / part.length, problem?.split(';')[0]]),
		).toEqual([
			['big', 3, 'it is split into 3 files'],
			['half', 1, 'it is split into 2 files, of which 1 are missing here'],
			['one', 1, undefined],
		]);
	});

	test('are read again only when they have changed', async () => {
		const root = folderOf('cached', { 'a.gguf': readFileSync(model) });
		const finder = new ModelFinder();
		const options = {
			places: [{ source: 'folder' as const, folder: root }],
			settings: DEFAULT_SETTINGS,
			memory: PLENTY,
		};
		expect((await finder.find(options))[0]?.architecture).toBe('gpt-oss');
		writeFileSync(path.join(root, 'a.gguf'), 'changed');
		expect((await finder.find(options))[0]?.problem).toBe('it is not a GGUF file');
	});

	test('stop being looked for when nobody waits any more', async () => {
		const places = [{ source: 'folder' as const, folder: path.join(folder, 'cached') }];
		expect(
			await new ModelFinder().find({ places, settings: DEFAULT_SETTINGS, memory: PLENTY, signal: AbortSignal.abort() }),
		).toEqual([]);
	});

	test('and those to be had are one list', async () => {
		const downloads = folderOf('own', {
			'gpt-oss-20b-mxfp4.gguf': { to: model },
			'qwen2.5-coder-7b-q8_0.gguf.part': 'abc',
		});
		const list = await listModels(
			new ModelFinder(),
			{ folders: [path.join(folder, 'split')], downloadFolder: downloads },
			{ settings: DEFAULT_SETTINGS, memory: PLENTY },
		);
		expect(list.found.slice(0, 2).map(({ source }) => source)).toEqual(['hearth', 'folder']);
		const byId = Object.fromEntries(list.catalogue.map((entry) => [entry.id, entry]));
		expect(byId['gpt-oss-20b']).toMatchObject({
			fit: 'fits',
			host: 'huggingface.co',
			path: path.join(downloads, 'gpt-oss-20b-mxfp4.gguf'),
			unverified: true,
		});
		expect(byId['gpt-oss-20b'], 'of another size').not.toHaveProperty('partialBytes');
		expect(byId['gpt-oss-120b']?.fit).toBe('too-large');
		expect(byId['qwen2.5-coder-7b']).toMatchObject({ partialBytes: 3 });
		expect(list.freeDiskBytes).toBeGreaterThan(0);
	});
});

describe('what this version can run', () => {
	test('is what the native core opens', async () => {
		expect(describeModel(await readHeader(model)).problem).toBeUndefined();
		const opened = await loadNative().openModel(model);
		opened.close();
		// The native core's refusal names the same architectures as the table.
		const strange = path.join(folder, 'strange.gguf');
		writeFileSync(strange, readFileSync(model, 'latin1').replace('gpt-oss', 'gpt-xyz'), 'latin1');
		const refusal = await loadNative()
			.openModel(strange)
			.catch(({ message }: Error) => message);
		const named = /architectures? (.*)$/.exec(String(refusal).split('; ')[1] ?? '')?.[1]?.split(', ');
		expect(named?.sort()).toEqual(Object.keys(SUPPORTED).sort());
		expect(describeModel(await readHeader(strange)).problem).toContain('not the architecture "gpt-xyz"');
	});

	test.each([
		['gpt-oss', ['MXFP4', 'Q8_0'], undefined],
		['gpt-oss', ['IQ2_XXS', 'Q8_0'], 'does not compute with IQ2_XXS weights'],
		['gptoss', ['MXFP4'], 'Ollama’s own layout'],
		['clip', ['F16'], 'vision part'],
		['bert', ['F16'], 'embeddings'],
		['constructor', ['F16'], 'not the architecture "constructor"'],
		['', ['F16'], 'names no architecture'],
	])('%s with %s', (architecture, matrixTypes, reason) => {
		const why = whyUnsupported({ architecture, matrixTypes });
		if (reason === undefined) expect(why).toBeUndefined();
		else expect(why).toContain(reason);
	});

	test('and what a model is good for comes from its header, whatever that holds', () => {
		const uses = (metadata: Record<string, MetadataValue>, tensors = [matrix('Q8_0')]) =>
			describeModel(header({ 'general.architecture': 'qwen2', ...metadata }, tensors)).uses;
		const large = [{ ...matrix('Q8_0'), shape: [50_000, 50_000] }];
		expect(uses({ 'tokenizer.chat_template': '{{ messages }}' }, large)).toEqual(['chat']);
		expect(uses({ 'tokenizer.ggml.fim_pre_token_id': 7 }, large)).toEqual(['completion']);
		expect(uses({ 'tokenizer.ggml.tokens': stringTable(['a', '<|fim_prefix|>', 'b']) }, large)).toEqual(['completion']);
		for (const name of FILL_NAMES.pre) {
			expect(uses({ 'tokenizer.ggml.tokens': stringTable(['a', name, 'b']) }, large), name).toEqual(['completion']);
		}
		expect(uses({ 'tokenizer.ggml.tokens': stringTable(['', 'x<|fim_prefix|>', '<|fim_prefix|>y']) }, large)).toEqual(
			[],
		);
		expect(uses({ 'tokenizer.ggml.tokens': 'text', 'tokenizer.chat_template': 7 }, large)).toEqual([]);
		expect(uses({})).toEqual(['draft']);
		expect(describeModel(header({ 'general.architecture': 'eagle3' }, [matrix('BF16')]))).toMatchObject({
			uses: ['draft'],
			problem: expect.stringContaining('draft head'),
		});
		expect(describeModel(header({ 'general.type': 'adapter' }, [matrix('F32')])).problem).toContain('adapter');
		expect(describeModel(header({})).problem).toBe('it holds no weights');
		expect(describeModel(header({ 'general.architecture': 5n, 'general.name': true }, [matrix('F32')]))).toMatchObject({
			architecture: '',
		});
	});
});

describe('where programs keep models', () => {
	const folders = (
		platform: NodeJS.Platform,
		home: string,
		variables: Record<string, string> = {},
		read?: (file: string) => string | undefined,
	) =>
		modelPlaces({ platform, home, variables, ...(read && { read }) }).map(
			({ source, folder: at }) => `${source} ${at}`,
		);

	test('on Linux, macOS and Windows', () => {
		expect(folders('linux', '/home/me')).toEqual([
			'huggingface /home/me/.cache/huggingface/hub',
			'llama.cpp /home/me/.cache/llama.cpp',
			'lm-studio /home/me/.lmstudio/models',
			'lm-studio /home/me/.cache/lm-studio/models',
			'ollama /home/me/.ollama/models',
			'ollama /usr/share/ollama/.ollama/models',
		]);
		expect(folders('darwin', '/Users/me')).toContain('llama.cpp /Users/me/Library/Caches/llama.cpp');
		expect(folders('win32', 'C:\\Users\\me')).toContain('llama.cpp C:\\Users\\me\\AppData\\Local\\llama.cpp');
	});

	test('and where their variables say', () => {
		const variables = { HF_HOME: '/big/hf', LLAMA_CACHE: '~/llama', OLLAMA_MODELS: '/big/ollama' };
		const moved = folders('linux', '/home/me', variables, (file) =>
			file === '/home/me/.lmstudio-home-pointer' ? '/big/lm\n' : undefined,
		);
		expect(moved).toEqual(
			expect.arrayContaining([
				'huggingface /big/hf/hub',
				'llama.cpp /home/me/llama',
				'ollama /big/ollama',
				'lm-studio /big/lm/models',
			]),
		);
		expect(folders('linux', '/home/me', { HUGGINGFACE_HUB_CACHE: '/hub' })).toContain('huggingface /hub');
		expect(folders('linux', '/home/me', { XDG_CACHE_HOME: '/c' })).toContain('huggingface /c/huggingface/hub');
	});

	test('a pipe in the place of a small file says nothing, and nobody waits for it', () => {
		const pipe = path.join(folder, 'home-pointer');
		execFileSync('mkfifo', [pipe]);
		expect(thisEnvironment().read!(pipe)).toBeUndefined();
		expect(thisEnvironment().read!(folder)).toBeUndefined();
	});

	test('Hearth’s own are the same for every editor', () => {
		const own = (platform: NodeJS.Platform, home: string, variables = {}) =>
			defaultDownloadFolder({ platform, home, variables });
		expect(own('linux', '/home/me')).toBe('/home/me/.local/share/hearth/models');
		expect(own('linux', '/home/me', { XDG_DATA_HOME: '/data' })).toBe('/data/hearth/models');
		expect(own('darwin', '/Users/me')).toBe('/Users/me/Library/Application Support/Hearth/models');
		expect(own('win32', 'C:\\Users\\me')).toBe('C:\\Users\\me\\AppData\\Local\\Hearth\\models');
	});
});
