// A folder from elsewhere: pipes, devices and links in the place of its files, files without an end, and folders that
// would become a file that the reader refuses.
import { execFileSync } from 'node:child_process';
import {
	closeSync,
	existsSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	symlinkSync,
	truncateSync,
	writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { convertFolder } from '../../../engine/convert/convert';
import { convertOnce } from '../../../engine/convert/convert-once';
import { openModel } from '../../../engine/loading/open-model';
import { loadNative } from '../../../native/index';
import { temporaryFolder } from '../../support/models';
import { smallConfig, smallFolder, smallTokenizer } from '../../support/small-folder';

const folder = temporaryFolder();
const names = [
	...['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'special_tokens_map.json'],
	...['added_tokens.json', 'chat_template.jinja', 'model.safetensors.index.json', 'model.safetensors'],
];
let count = 0;
const fresh = (files: Record<string, unknown> = {}) => smallFolder(folder, `folder-${count++}`, files);

/** The error of converting a folder. Checks that the conversion has left nothing behind. */
async function refusal(from: string): Promise<string> {
	const error = await convertFolder(from, `${from}.gguf`).then(
		() => new Error('it was converted'),
		(reason: Error) => reason,
	);
	const left = readdirSync(folder).filter((name) => name.includes('partial') || name === `${path.basename(from)}.gguf`);
	expect(left).toEqual(error.message === 'it was converted' ? [`${path.basename(from)}.gguf`] : []);
	expect(error.message).not.toContain('\n');
	return error.message;
}

describe('in the place of a file', () => {
	const things: [string, RegExp, (file: string) => void][] = [
		['a pipe', /is a pipe, not a file/, (file) => execFileSync('mkfifo', [file])],
		['a folder', /is a folder, not a file/, (file) => mkdirSync(file)],
		['a link to a device', /link out of its folder|is a device/, (file) => symlinkSync('/dev/zero', file)],
		[
			'a link to a pipe',
			/is a pipe, not a file/,
			(file) => {
				execFileSync('mkfifo', [`${file}.pipe`]);
				symlinkSync(`${path.basename(file)}.pipe`, file);
			},
		],
		['a link to itself', /link to itself|too many symbolic links/, (file) => symlinkSync(path.basename(file), file)],
	];
	test.each(names.flatMap((name) => things.map(([what, message, make]) => ({ name, what, message, make }))))(
		'of $name $what is refused by name',
		async ({ name, message, make }) => {
			const from = fresh();
			const file = path.join(from, name);
			rmSync(file, { force: true });
			make(file);
			const said = await refusal(from);
			expect(said).toMatch(message);
			expect(said).toContain(file);
			await expect(convertOnce(from)).rejects.toThrow(message);
			expect(existsSync(`${from}.gguf`)).toBe(false);
		},
	);

	test('a socket is refused by name', async () => {
		const from = fresh();
		const server = net.createServer();
		// The path of a socket cannot be longer than about a hundred characters.
		await new Promise<void>((resolve) => server.listen(path.join(from, 'chat_template.jinja'), resolve));
		try {
			expect(await refusal(from)).toMatch(/chat_template\.jinja: it is a socket, not a file/);
		} finally {
			await new Promise((resolve) => server.close(resolve));
		}
	});

	test.each(names.filter((name) => name !== 'model.safetensors'))(
		'of %s a link out of the folder is not followed',
		async (name) => {
			const from = fresh();
			const secret = path.join(folder, `secret-${name}`);
			const file = path.join(from, name);
			if (existsSync(file)) renameSync(file, secret);
			else writeFileSync(secret, name.endsWith('.jinja') ? 'SECRET {{ x }}' : '{"secret": "SECRET"}');
			symlinkSync(secret, file);
			const said = await refusal(from);
			expect(said).toContain(`${file} is a link out of its folder`);
			expect(said).not.toContain('SECRET');
		},
	);

	test('a link to a file that is no file of anybody’s is not read', async () => {
		const from = fresh();
		symlinkSync('/etc/passwd', path.join(from, 'chat_template.jinja'));
		expect(await refusal(from)).toContain('is a link out of its folder');
		expect(await refusal(from)).not.toContain('root');
	});

	test('links within the folder, to weights elsewhere and within Hugging Face’s cache are followed', async () => {
		const within = fresh({ 'chat.txt': '{{ within }}' });
		symlinkSync('chat.txt', path.join(within, 'chat_template.jinja'));
		const elsewhere = path.join(folder, 'big-disk.safetensors');
		renameSync(path.join(within, 'model.safetensors'), elsewhere);
		symlinkSync(elsewhere, path.join(within, 'model.safetensors'));
		expect(await refusal(within)).toBe('it was converted');
		const { metadata } = await loadNative().readGguf(`${within}.gguf`);
		expect(metadata.get('tokenizer.chat_template')).toBe('{{ within }}');

		const repository = path.join(folder, 'models--me--Tiny');
		const snapshot = smallFolder(folder, 'models--me--Tiny/snapshots/0123', { 'chat_template.jinja': '{{ cached }}' });
		mkdirSync(path.join(repository, 'blobs'));
		readdirSync(snapshot).forEach((name, i) => {
			const blob = `${i}`.padStart(40, '0');
			renameSync(path.join(snapshot, name), path.join(repository, 'blobs', blob));
			symlinkSync(`../../blobs/${blob}`, path.join(snapshot, name));
		});
		const { path: made } = await convertOnce(snapshot, {}, path.join(folder, 'cache'));
		expect((await loadNative().readGguf(made)).metadata.get('tokenizer.chat_template')).toBe('{{ cached }}');
	});

	test('the folder itself: none, a file, a pipe', async () => {
		expect(await refusal(path.join(folder, 'nowhere'))).toContain('lacks config.json');
		writeFileSync(path.join(folder, 'file'), '{}');
		expect(await refusal(path.join(folder, 'file'))).toContain('is a file, not the folder');
		execFileSync('mkfifo', [path.join(folder, 'pipe')]);
		expect(await refusal(path.join(folder, 'pipe'))).toContain('is a pipe, not the folder');
	});
});

describe('files without an end', () => {
	test.each(names.filter((name) => name !== 'model.safetensors'))(
		'%s of a terabyte of zeros is refused unread',
		async (name) => {
			const from = fresh();
			closeSync(openSync(path.join(from, name), 'a'));
			truncateSync(path.join(from, name), 2 ** 40);
			expect(await refusal(from)).toMatch(/has more than \d+ bytes, which no such file needs/);
		},
	);

	test('a chat template is at most a megabyte, and its end is not cut off', async () => {
		const whole = fresh({ 'chat_template.jinja': 'x'.repeat(2 ** 20) });
		expect(await refusal(whole)).toBe('it was converted');
		const { metadata } = await loadNative().readGguf(`${whole}.gguf`);
		expect((metadata.get('tokenizer.chat_template') as string).length).toBe(2 ** 20);
		const long = 'x'.repeat(2 ** 20 + 1);
		expect(await refusal(fresh({ 'chat_template.jinja': long }))).toMatch(/more than 1048576 bytes/);
		expect(await refusal(fresh({ 'tokenizer_config.json': { chat_template: long } }))).toMatch(
			/which no template needs/,
		);
	});
});

describe('what loading refuses is not written', () => {
	const tokenizer = smallTokenizer();
	test.each<[string, Record<string, unknown>, RegExp]>([
		['epsilon 2', { 'config.json': { ...smallConfig, rms_norm_eps: 2 } }, /rms_norm_eps is 2/],
		['a RoPE base of −1', { 'config.json': { ...smallConfig, rope_theta: -1 } }, /rope_theta/],
		[
			'merges of no tokens',
			{ 'tokenizer.json': { ...tokenizer, model: { ...tokenizer.model, merges: ['xx yy'] } } },
			/names text that is no token/,
		],
		[
			'a vocabulary without a letter',
			{
				'tokenizer.json': {
					...tokenizer,
					model: { ...tokenizer.model, vocab: { ...tokenizer.model.vocab, a: undefined }, merges: [] },
				},
			},
			/lacks the token of byte 97/,
		],
		[
			'heads of a length that no kernel has',
			{ 'config.json': { ...smallConfig, num_attention_heads: 8, num_key_value_heads: 8 } },
			/would become a file that Hearth cannot load: .*head length of 4/,
		],
	])('%s', async (_, files, message) => {
		const said = await refusal(fresh(files));
		expect(said).toMatch(message);
		expect(said).not.toContain('partial');
	});

	test('a model that makes embeddings is named', async () => {
		const pooling = JSON.stringify([
			{ idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
		]);
		expect(await refusal(fresh({ 'modules.json': pooling }))).toMatch(/makes embeddings and does not write/);
		expect(await refusal(fresh({ 'modules.json': '[]' }))).toBe('it was converted');
	});

	const unnamed = { ...tokenizer, added_tokens: [{ id: smallConfig.vocab_size - 1, content: '<|x|>', special: true }] };
	test.each<[string, Record<string, unknown>]>([
		['what is written', {}],
		['a model without a token that ends a text', { 'tokenizer.json': unnamed }],
	])('%s is loaded', async (_, files) => {
		const from = fresh(files);
		await convertFolder(from, `${from}.gguf`);
		const { engine } = await openModel(`${from}.gguf`, { contextTokens: 32 });
		await engine.close();
	});

	test('a folder that changes while it is converted makes no file', async () => {
		const from = fresh();
		const converting = convertFolder(from, `${from}.gguf`, {
			onProgress: () => writeFileSync(path.join(from, 'generation_config.json'), '{}'),
		});
		await expect(converting).rejects.toThrow(/was changed while it was converted/);
		expect(existsSync(`${from}.gguf`)).toBe(false);
		expect(readFileSync(path.join(from, 'config.json'), 'utf8')).toContain('LlamaForCausalLM');
	});
});
