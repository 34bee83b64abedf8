import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { GitIgnored } from '../../../engine/completion/git-ignored';
import { matchedDepths } from '../../../engine/completion/glob';
import { fillRandom } from '../../../engine/synth/random';
import { needs, unix } from '../../support/needs';

test.each([
	['stars', '*a'.repeat(120)],
	['folders', '**/a/'.repeat(50)],
	['braces', '{a,aa}'.repeat(42)],
	['braces with stars', '{*a,*aa,{*,*a}*}'.repeat(16)],
	['brackets', '[!b]*'.repeat(50)],
])('a hostile pattern of %s ends in time', (_, pattern) => {
	const started = performance.now();
	matchedDepths(`${pattern}!`, 'a'.repeat(1000), { braces: true, ignoreCase: true });
	matchedDepths(`${pattern}!`, 'a/'.repeat(500), { braces: true, ignoreCase: true });
	// It takes about 0.1 s; what backtracks takes years.
	expect(performance.now() - started).toBeLessThan(20_000);
});

describe('what git ignores', () => {
	let root = '';
	beforeEach(() => {
		root = mkdtempSync(path.join(tmpdir(), 'hearth-ignored-'));
	});
	afterEach(() => {
		vi.useRealTimers();
		rmSync(root, { recursive: true });
	});

	const write = (name: string, text = '') => {
		mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
		writeFileSync(path.join(root, name), text);
	};
	const slashed = (file: string) =>
		path
			.join(root, file)
			.replaceAll('\\', '/')
			.replace(/^(?=[a-z]:)/i, '/')
			.replace(/\/$/, '');
	const location = (name: string, inFolder = '', onDisk = true) => {
		return { path: slashed(name), folders: [slashed(inFolder)], onDisk };
	};
	const ignored = (name: string, inFolder?: string) => new GitIgnored().has(location(name, inFolder));

	test('rules of nested folders, of the whole repository, and taken back', async () => {
		write('.git/info/exclude', 'notes.md\n');
		write('.gitignore', '*.log\n/build\nsecret/\n!keep.log\nout/**\n!out/kept\n');
		write('src/.gitignore', '!debug.log\n/only\r\n# comment\n\\#odd\n');
		const expected = {
			...{ 'a.log': true, 'src/x/a.log': true, 'keep.log': false, 'src/debug.log': false },
			...{ 'build/x/y.c': true, 'src/build/y.c': false, 'src/secret/a': true, secret: false, 'x/notes.md': true },
			...{ 'src/only': true, 'src/x/only': false, only: false, 'src/#odd': true, 'a.ts': false },
			...{ 'out/a': true, 'out/kept': false, 'build/keep.log': true },
		};
		for (const [name, is] of Object.entries(expected)) expect([name, await ignored(name)]).toEqual([name, is]);
	});

	test('a workspace folder within the repository has the rules from above', async () => {
		write('.git/HEAD');
		write('.gitignore', '/pkg/made.ts\n');
		expect(await ignored('pkg/made.ts', 'pkg')).toBe(true);
	});

	test('without a repository the rules start at the workspace folder', async () => {
		write('.gitignore', '*.ts\n');
		write('pkg/.gitignore', '*.js\n');
		expect(await ignored('pkg/a.js', 'pkg')).toBe(true);
		expect(await ignored('pkg/a.ts', 'pkg')).toBe(false);
	});

	test('a repository within another one has its own rules alone', async () => {
		write('.git/HEAD');
		write('.gitignore', '*.ts\n');
		write('inner/.git', 'gitdir: ../.git/modules/inner\n');
		expect(await ignored('inner/a.ts')).toBe(false);
	});

	test('what cannot be read has no rules, and links are not followed', needs(unix), async () => {
		write('.git/HEAD');
		write('rules', '*\n');
		symlinkSync(path.join(root, 'rules'), path.join(root, '.gitignore'));
		mkdirSync(path.join(root, 'a/.gitignore'), { recursive: true });
		expect(await ignored('a/b.ts')).toBe(false);
		expect(await ignored('no/such/folder.ts')).toBe(false);
	});

	test('only files of this machine are looked for', async () => {
		write('.gitignore', '*\n');
		expect(await new GitIgnored().has(location('a.ts'))).toBe(true);
		expect(await new GitIgnored().has(location('a.ts', '', false))).toBe(false);
	});

	test('changed rules hold after three seconds, and are not read at every request', async () => {
		vi.useFakeTimers({ toFake: ['performance'] });
		write('.git/HEAD');
		const git = new GitIgnored();
		expect(await git.has(location('a.ts'))).toBe(false);
		write('.gitignore', '*.ts\n');
		vi.advanceTimersByTime(2900);
		expect(await git.has(location('a.ts'))).toBe(false);
		vi.advanceTimersByTime(200);
		expect(await git.has(location('a.ts'))).toBe(true);
	});

	test('hostile rules end in time', async () => {
		write('.git/HEAD');
		write('.gitignore', `${`${'*a'.repeat(200)}!\n`.repeat(160)}`);
		// Other work has its turns meanwhile.
		let turns = 0;
		const timer = setInterval(() => turns++, 1);
		const started = performance.now();
		expect(await ignored(`${'a'.repeat(250)}/${'a'.repeat(250)}`)).toBe(false);
		expect(performance.now() - started).toBeLessThan(60_000);
		clearInterval(timer);
		expect(turns).toBeGreaterThan(3);
	});

	test('decides as git does, on random rules', async () => {
		const words = new Uint32Array(10_000);
		fillRandom(words, 11, 'rules');
		let at = 0;
		const pick = <T>(from: readonly T[]): T => from[words[at++ % words.length]! % from.length]!;
		const NAMES = ['a', 'b', 'ab', 'a.b', 'abc', 'B', '#a', '!b', 'a b'];
		const PARTS = ['a', 'b', 'ab', '*', '?', '**', 'a*', '*b', '[ab]', '[!a]', '[^b]c', '[[:alpha:]]', '\\#a', '\\!b'];
		PARTS.push('a.b', 'a b', '***', 'a**b', '[a-c]', '[]a]', 'B');
		const rule = () => {
			const length = pick([1, 1, 2, 3]);
			const text = Array.from({ length }, () => pick(PARTS)).join('/');
			return `${pick(['', '', '!'])}${pick(['', '', '/'])}${text}${pick(['', '', '/', ' '])}`;
		};
		const rules = () => Array.from({ length: pick([1, 2, 3, 4, 5]) }, rule).join('\n');
		execFileSync('git', ['init', '-q', root]);
		execFileSync('git', ['-C', root, 'config', 'core.excludesFile', '']);
		const files = Array.from({ length: 80 }, () =>
			Array.from({ length: pick([1, 2, 3, 4]) }, () => pick(NAMES)).join('/'),
		);
		// A name is a file in one path and a folder in another one.
		const leaves = [...new Set(files.map((file) => `${file}.f`).concat(files.map((file) => `${file}/x/a`)))];
		for (const file of leaves) write(file);
		const counts = { all: 0, ignored: 0 };
		for (let round = 0; round < 30; round++) {
			for (const at of ['', 'a/', 'ab/a/']) write(`${at}.gitignore`, rules());
			write('.git/info/exclude', rules());
			let output = '';
			try {
				const git = ['-C', root, 'check-ignore', '--no-index', '--stdin', '-z'];
				output = execFileSync('git', git, { input: leaves.join('\0'), encoding: 'utf8' });
			} catch (error) {
				// Git's exit code is 1 where it ignores none of them.
				if ((error as { status?: number }).status !== 1) throw error;
			}
			const git = new GitIgnored();
			const ours: string[] = [];
			for (const file of leaves) if (await git.has(location(file))) ours.push(file);
			counts.all += leaves.length;
			counts.ignored += ours.length;
			expect(ours.sort()).toEqual(output.split('\0').filter(Boolean).sort());
		}
		const share = counts.ignored / counts.all;
		expect(share).toBeGreaterThan(0.2);
		expect(share).toBeLessThan(0.9);
	});
});
