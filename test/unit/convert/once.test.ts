// A folder is converted once, under a name that no other file has. It is converted again when anything that was read
// has changed.
import { execFileSync } from 'node:child_process';
import {
	appendFileSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	symlinkSync,
	utimesSync,
	writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { convertFolder } from '../../../engine/convert/convert';
import { convertOnce } from '../../../engine/convert/convert-once';
import { readOrigin } from '../../../engine/convert/origin';
import { loadNative } from '../../../native/index';
import { writeFolder } from '../../support/hugging-face';
import { makeModel, temporaryFolder } from '../../support/models';
import { smallFolder, smallTensors } from '../../support/small-folder';

const folder = temporaryFolder();

describe('the name of the file', () => {
	const foreign: Record<string, (file: string) => unknown> = {
		'a text': (file) => writeFileSync(file, 'my only copy'),
		'a GGUF of another origin': async (file) => renameSync(await makeModel(folder, 'foreign'), file),
		'a folder': (file) => mkdirSync(file),
		'a pipe': (file) => execFileSync('mkfifo', [file]),
		'a link to nothing': (file) => symlinkSync('nowhere', file),
		'a link to a text': (file) => {
			writeFileSync(path.join(folder, 'linked.txt'), 'mine');
			symlinkSync(path.join(folder, 'linked.txt'), file);
		},
		'a file of 0 bytes': (file) => writeFileSync(file, ''),
		'a conversion of another folder': async (file) => {
			await convertFolder(smallFolder(folder, 'elsewhere'), file);
		},
		'a conversion of this folder that was asked for otherwise': async (file) => {
			await convertFolder(file.replace(/\.gguf$/, ''), file, { weights: 'q8_0' });
		},
	};
	test.each(Object.keys(foreign))('%s beside the folder stays, and the other name is found again', async (what) => {
		const from = smallFolder(folder, what.replaceAll(' ', '-'));
		await foreign[what]!(`${from}.gguf`);
		const before = statSync(`${from}.gguf`, { throwIfNoEntry: false });
		const { path: made } = await convertOnce(from);
		expect(made).toBe(`${from}-hearth.gguf`);
		const after = statSync(`${from}.gguf`, { throwIfNoEntry: false });
		expect([after?.ino, after?.size, after?.mtimeMs]).toEqual([before?.ino, before?.size, before?.mtimeMs]);
		const { ino } = statSync(made);
		expect((await convertOnce(from)).path).toBe(made);
		expect(statSync(made).ino).toBe(ino);
		// A file of Hearth's that is out of date is replaced.
		appendFileSync(path.join(from, 'config.json'), ' ');
		expect((await convertOnce(from)).path).toBe(made);
		expect(statSync(made).ino).not.toBe(ino);
		// Hearth's file is still found when the file that had its first name has gone.
		if (before?.isFile()) {
			rmSync(`${from}.gguf`);
			const { ino: second } = statSync(made);
			expect((await convertOnce(from)).path).toBe(made);
			expect(statSync(made).ino).toBe(second);
		}
	});

	test('where both names are taken, another one is found', async () => {
		const from = smallFolder(folder, 'twice');
		for (const name of ['', '-hearth', '-hearth-2']) writeFileSync(`${from}${name}.gguf`, name || 'x');
		expect((await convertOnce(from)).path).toBe(`${from}-hearth-3.gguf`);
		expect(readFileSync(`${from}-hearth.gguf`, 'utf8')).toBe('-hearth');
	});

	test('in the cache, too, nothing of others is replaced', async () => {
		const cache = path.join(folder, 'cache');
		const snapshots = path.join(folder, 'models--me--Tiny', 'snapshots');
		mkdirSync(snapshots, { recursive: true });
		const from = smallFolder(snapshots, '0123');
		const { path: made } = await convertOnce(from, {}, cache);
		writeFileSync(made, 'mine');
		const { path: next } = await convertOnce(from, {}, cache);
		expect(next).toBe(made.replace(/\.gguf$/, '-hearth.gguf'));
		expect(readFileSync(made, 'utf8')).toBe('mine');
	});

	test('a file of an earlier version, which lacks the list, is made anew', async () => {
		const from = smallFolder(folder, 'legacy');
		const { path: made } = await convertOnce(from);
		// Renames the keys in the file, which leaves the rest of its bytes as they are. The file then looks as if it had
		// never had them.
		const bytes = readFileSync(made);
		for (const key of ['hearth.converted_files', 'hearth.conversion']) {
			const found = bytes.indexOf(`${key}`);
			bytes.write('x', found, 'latin1');
		}
		writeFileSync(made, bytes);
		const { ino } = statSync(made);
		expect((await convertOnce(from)).path).toBe(made);
		expect(statSync(made).ino).not.toBe(ino);
		expect(await readOrigin(made)).toMatchObject({ files: expect.arrayContaining(['config.json']) });
	});

	test('what another tool has made of our file, keeping its keys, is not ours', async () => {
		const from = smallFolder(folder, 'quantised');
		// llama-quantize makes a smaller file and keeps the keys. So the smaller one of two conversions gets the keys of
		// the larger one.
		const { metadata } = await loadNative().readGguf((await convertOnce(from)).path);
		await convertFolder(from, path.join(folder, 'smaller.gguf'), { weights: 'q8_0' });
		const bytes = readFileSync(path.join(folder, 'smaller.gguf'));
		const { metadata: smaller } = await loadNative().readGguf(path.join(folder, 'smaller.gguf'));
		for (const key of ['hearth.converted_from', 'hearth.conversion']) {
			const [own, other] = [metadata.get(key), smaller.get(key)] as string[];
			bytes.write(own!, bytes.indexOf(other!), 'latin1');
		}
		const size = Buffer.alloc(8);
		size.writeBigUInt64LE(BigInt(metadata.get('hearth.converted_bytes') as number));
		size.copy(bytes, bytes.indexOf('hearth.converted_bytes') + 'hearth.converted_bytes'.length + 4);
		writeFileSync(`${from}.gguf`, bytes);
		expect((await convertOnce(from)).path).toBe(`${from}-hearth.gguf`);
		expect(readFileSync(`${from}.gguf`).equals(bytes)).toBe(true);
	});

	test('several conversions of one folder at once leave one file', async () => {
		const from = smallFolder(folder, 'together');
		// The first time there is no file. From then on there is a file that is out of date.
		for (let times = 0; times < 5; times++) {
			appendFileSync(path.join(from, 'config.json'), ' ');
			const made = await Promise.all(Array.from({ length: 4 }, () => convertOnce(from)));
			expect(new Set(made.map(({ path: file }) => file))).toEqual(new Set([`${from}.gguf`]));
		}
		expect(
			readdirSync(folder)
				.filter((name) => name.startsWith('together') || name.includes('partial'))
				.sort(),
		).toEqual([...['together', 'together.gguf']]);
	});
});

describe('what the file depends on', () => {
	const optional = {
		'tokenizer_config.json': [{ add_bos_token: false }, { add_bos_token: false, x: 1 }],
		'generation_config.json': [{ eos_token_id: 1 }, { eos_token_id: 2 }],
		'special_tokens_map.json': [{ eos_token: '<|return|>' }, { eos_token: '<|end|>' }],
		'added_tokens.json': [{}, { '<|return|>': undefined }],
		'chat_template.jinja': ['{{ a }}', '{{ b }}'],
	} as const;
	const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));

	/** Whether the folder is converted again. */
	async function again(from: string): Promise<boolean> {
		const { ino, mtimeMs } = statSync(`${from}.gguf`);
		await convertOnce(from);
		const now = statSync(`${from}.gguf`);
		return now.ino !== ino || now.mtimeMs !== mtimeMs;
	}

	test.each(Object.keys(optional) as (keyof typeof optional)[])('%s, appearing, changing and going', async (name) => {
		const from = smallFolder(folder, `with-${name.replaceAll('.', '-')}`);
		const file = path.join(from, name);
		await convertOnce(from);
		expect(await again(from), 'nothing has changed').toBe(false);
		writeFileSync(file, text(optional[name][0]));
		expect(await again(from), 'it appeared').toBe(true);
		expect(await again(from)).toBe(false);
		const { atime, mtime, size } = statSync(file);
		const other = text(optional[name][1]).padEnd(size);
		writeFileSync(file, other === text(optional[name][0]) ? `${other} ` : other);
		utimesSync(file, atime, mtime);
		expect(await again(from), 'it changed, and its time was set back').toBe(true);
		rmSync(file);
		expect(await again(from), 'it has gone').toBe(true);
		expect(await again(from)).toBe(false);
	});

	test('what must be there: config, tokenizer, weights and their index', async () => {
		const from = smallFolder(folder, 'required');
		await convertOnce(from);
		for (const name of ['config.json', 'tokenizer.json']) {
			appendFileSync(path.join(from, name), '\n');
			expect(await again(from), name).toBe(true);
			utimesSync(path.join(from, name), 1, 1);
			expect(await again(from), `${name}, its time alone`).toBe(false);
		}
		utimesSync(path.join(from, 'model.safetensors'), 1, 1);
		expect(await again(from), 'the weights').toBe(true);

		const shards = smallFolder(folder, 'sharded');
		rmSync(path.join(shards, 'model.safetensors'));
		writeFolder(folder, 'sharded', smallTensors(), {}, 2);
		await convertOnce(shards);
		expect(await again(shards)).toBe(false);
		appendFileSync(path.join(shards, 'model.safetensors.index.json'), ' ');
		expect(await again(shards), 'the index').toBe(true);
		utimesSync(path.join(shards, 'model-00002-of-00002.safetensors'), 1, 1);
		expect(await again(shards), 'a shard').toBe(true);
	});

	test('weights of the same size and time', async () => {
		const from = smallFolder(folder, 'retrained');
		const file = path.join(from, 'model.safetensors');
		utimesSync(file, 1, 1);
		await convertOnce(from);
		const bytes = readFileSync(file);
		bytes[bytes.length - 1]! ^= 1;
		writeFileSync(file, bytes);
		utimesSync(file, 1, 1);
		expect(await again(from)).toBe(true);
		expect(await again(from)).toBe(false);
	});

	test('what lies there and is not read: nothing', async () => {
		const from = smallFolder(folder, 'beside');
		await convertOnce(from);
		for (const name of ['README.md', 'vocab.json', 'model.bin', '.gitattributes']) {
			writeFileSync(path.join(from, name), 'x');
			expect(await again(from), name).toBe(false);
		}
	});

	test('every file that is read is in the list', async () => {
		const from = smallFolder(folder, 'list');
		const { path: made } = await convertOnce(from);
		expect((await readOrigin(made))!.files).toEqual([
			...['*.safetensors', 'added_tokens.json', 'chat_template.jinja', 'config.json', 'generation_config.json'],
			...['model.safetensors', 'model.safetensors.index.json', 'modules.json', 'special_tokens_map.json'],
			...['tokenizer.json', 'tokenizer_config.json'],
		]);
	});

	test('a folder that is moved together with its file keeps it', async () => {
		const from = smallFolder(folder, 'mover');
		await convertOnce(from);
		const there = path.join(folder, 'there');
		mkdirSync(there);
		renameSync(from, path.join(there, 'mover'));
		renameSync(`${from}.gguf`, path.join(there, 'mover.gguf'));
		const { ino } = statSync(path.join(there, 'mover.gguf'));
		expect((await convertOnce(path.join(there, 'mover'))).path).toBe(path.join(there, 'mover.gguf'));
		expect(statSync(path.join(there, 'mover.gguf')).ino).toBe(ino);
		expect(existsSync(path.join(there, 'mover-hearth.gguf'))).toBe(false);
	});
});
