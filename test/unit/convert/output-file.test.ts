// Which files may be written under a name that somebody else chose, by every command that writes a file.
import { execFile, execFileSync } from 'node:child_process';
import {
	existsSync,
	linkSync,
	lstatSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	renameSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { outputTarget, PartialFile, refuseForeign, writeOutputFile } from '../../../engine/files/output-file';
import { bundleCli } from '../../support/cli';
import { makeModel, temporaryFolder } from '../../support/models';
import { smallFolder } from '../../support/small-folder';

const folder = temporaryFolder();
const native = path.resolve(import.meta.dirname, '../../../dist/native/hearth.node');
const at = (name: string) => path.join(folder, name);
const partials = () => readdirSync(folder).filter((name) => name.includes('partial'));

/** Things that are not files: a name, what an error should call them, and how to make one. */
const others: [string, RegExp, (name: string) => void][] = [
	['a folder', /it is a folder/, (name) => mkdirSync(name)],
	['a pipe', /it is a pipe/, (name) => execFileSync('mkfifo', [name])],
	['a link to a folder', /a link to a folder/, (name) => symlinkSync('.', name)],
	['a link to a device', /a link to a device/, (name) => symlinkSync('/dev/null', name)],
	['a link to nothing', /a link to nothing/, (name) => symlinkSync('nowhere', name)],
	['a link to itself', /a link to nothing/, (name) => symlinkSync(path.basename(name), name)],
];

describe('the place of a file', () => {
	test.each(others)('%s is refused by name, and stays', async (what, message, make) => {
		const name = at(what.replaceAll(' ', '-'));
		make(name);
		const before = lstatSync(name);
		await expect(outputTarget(name)).rejects.toThrow(message);
		await expect(outputTarget(name)).rejects.toThrow(name);
		expect(lstatSync(name).ino).toBe(before.ino);
	});

	test('a name that ends like a folder’s is refused', async () => {
		await expect(outputTarget(at('absent/'))).rejects.toThrow('it names a folder');
	});

	test('a device and a socket are refused by name', async () => {
		await expect(outputTarget('/dev/null')).rejects.toThrow('cannot write /dev/null: it is a device');
		const name = at('socket');
		const server = net.createServer();
		await new Promise<void>((resolve) => server.listen(name, resolve));
		try {
			await expect(outputTarget(name)).rejects.toThrow('it is a socket');
		} finally {
			await new Promise((resolve) => server.close(resolve));
		}
	});

	test('what lies there is replaced as a whole; through a link, where it leads', async () => {
		writeFileSync(at('real'), 'old');
		symlinkSync('real', at('link'));
		await writeOutputFile(await outputTarget(at('link')), 'new');
		expect(readFileSync(at('real'), 'utf8')).toBe('new');
		expect(readlinkSync(at('link'))).toBe('real');
		await writeOutputFile(await outputTarget(at('fresh')), 'x');
		expect(readFileSync(at('fresh'), 'utf8')).toBe('x');
		expect(partials()).toEqual([]);
	});

	test('a file that appears, changes or is swapped meanwhile stays', async () => {
		const name = at('raced');
		const race = async (meanwhile: () => void, kept: string) => {
			const partial = await PartialFile.create(await outputTarget(name));
			await partial.handle.writeFile('ours');
			meanwhile();
			await expect(partial.place()).rejects.toThrow(name);
			await partial.discard();
			expect(readFileSync(name, 'utf8')).toBe(kept);
			expect(partials()).toEqual([]);
		};
		await race(() => writeFileSync(name, 'theirs'), 'theirs');
		await race(() => writeFileSync(name, 'theirs again'), 'theirs again');
		writeFileSync(at('swap'), 'theirs again');
		await race(() => renameSync(at('swap'), name), 'theirs again');
		await race(() => {
			rmSync(name);
			linkSync(at('real'), name);
		}, 'new');
	});

	test('of what is there only our own and the empty may be replaced', async () => {
		writeFileSync(at('foreign'), 'x');
		writeFileSync(at('empty'), '');
		const foreign = await outputTarget(at('foreign'));
		await expect(refuseForeign(foreign, async () => false)).rejects.toThrow('Hearth did not make it');
		await expect(refuseForeign(foreign, () => Promise.reject(new Error('unreadable')))).rejects.toThrow('--overwrite');
		await refuseForeign(foreign, async () => true);
		await refuseForeign(await outputTarget(at('empty')), async () => false);
		await refuseForeign(await outputTarget(at('absent')), async () => false);
	});

	test('a name as long as the file system takes leaves room for a temporary one', async () => {
		const name = at('é'.repeat(120));
		await writeOutputFile(await outputTarget(name), 'x');
		expect(readFileSync(name, 'utf8')).toBe('x');
	});
});

describe('commands', () => {
	let cli: string;
	let model: string;
	let from: string;
	const commands = () =>
		({
			convert: (out: string) => ['convert', from, out],
			synth: (out: string) => ['synth', out],
			logits: (out: string) => ['logits', model, '--tokens', '1,2', '--out', out],
			profile: (out: string) => ['profile', model, '--prompt', '4', '--generate', '1', '--out', out],
			bench: (out: string) => ['bench', model, '--tests', 'tg', '--generate', '1', '--repeat', '1', '--save', out],
			selftest: (out: string) => ['selftest', '--quick', '--backend', 'cpu', '--save', out],
		}) satisfies Record<string, (out: string) => string[]>;
	const names = ['convert', 'synth', 'logits', 'profile', 'bench', 'selftest'] as const;

	async function run(args: string[]): Promise<{ code: number; stderr: string }> {
		return promisify(execFile)(process.execPath, [cli, ...args], {
			encoding: 'utf8',
			env: { ...process.env, HEARTH_NATIVE: native },
		}).then(
			({ stderr }) => ({ code: 0, stderr }),
			({ code, stderr }) => ({ code, stderr }),
		);
	}

	beforeAll(async () => {
		cli = await bundleCli(folder);
		model = await makeModel(folder, 'model');
		from = smallFolder(folder, 'small');
	});

	test.each(names)('hearth %s replaces its own file, no other and nothing that is none', async (name) => {
		const command = commands()[name];
		const out = at(`${name}.out`);
		writeFileSync(out, 'Dear diary');
		const refused = await run(command(out));
		expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(`${out} is there already`) });
		expect(refused.stderr).toContain('--overwrite');
		expect(refused.stderr.trim()).not.toContain('\n');
		expect(readFileSync(out, 'utf8')).toBe('Dear diary');
		expect(await run([...command(out), '--overwrite'])).toMatchObject({ code: 0 });
		expect(readFileSync(out).length).toBeGreaterThan(100);
		// The file is Hearth's now, so it may be replaced.
		const first = lstatSync(out).ino;
		expect(await run(command(out))).toMatchObject({ code: 0 });
		expect(lstatSync(out).ino).not.toBe(first);

		const pipe = at(`${name}.pipe`);
		execFileSync('mkfifo', [pipe]);
		expect(await run([...command(pipe), '--overwrite'])).toMatchObject({
			...{ code: 1, stderr: expect.stringContaining(`cannot write ${pipe}: it is a pipe`) },
		});
		expect(await run(command('/dev/null'))).toMatchObject({
			code: 1,
			stderr: expect.stringContaining('it is a device'),
		});
		expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
		expect(existsSync(pipe)).toBe(true);
		expect(partials()).toEqual([]);
	});

	test('hearth convert writes over none of the files it reads', async () => {
		const config = path.join(from, 'config.json');
		const before = readFileSync(config);
		for (const file of ['config.json', 'tokenizer.json', 'model.safetensors']) {
			const { code, stderr } = await run(['convert', from, path.join(from, file), '--overwrite']);
			expect({ code, stderr }).toMatchObject({
				code: 1,
				stderr: expect.stringContaining('one of the files that are converted'),
			});
		}
		symlinkSync(config, at('to-config'));
		expect(await run(['convert', from, at('to-config'), '--overwrite'])).toMatchObject({ code: 1 });
		expect(readFileSync(config).equals(before)).toBe(true);
	});
});
