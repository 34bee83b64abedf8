import { describe, expect, it } from 'vitest';
import { followLink } from '../../extension/chat/followLink';
import { candidatesOf, type FileReading, readLink } from '../../extension/chat/links';

const readings = (href: string): FileReading[] => {
	const target = readLink(href);
	if (target.kind !== 'file') throw new Error(`${href} is ${target.kind}`);
	return target.readings;
};

describe('a link to a file', () => {
	it.each<[string, FileReading]>([
		['src/a.ts', { path: 'src/a.ts' }],
		['./src/a.ts', { path: './src/a.ts' }],
		['../a.ts', { path: '../a.ts' }],
		['a.ts', { path: 'a.ts' }],
		['Makefile', { path: 'Makefile' }],
		['Makefile:12', { path: 'Makefile', line: 12 }],
		['src/a.ts:12', { path: 'src/a.ts', line: 12 }],
		['a.ts:12', { path: 'a.ts', line: 12 }],
		['a.ts:12:5', { path: 'a.ts', line: 12, column: 5 }],
		['src/a.ts:12-20', { path: 'src/a.ts', line: 12, endLine: 20 }],
		['src/a.ts:L12-L20', { path: 'src/a.ts', line: 12, endLine: 20 }],
		['src/a.ts:20-12', { path: 'src/a.ts', line: 20 }],
		['src/a.ts(12,5)', { path: 'src/a.ts', line: 12, column: 5 }],
		['src/a.ts#L12', { path: 'src/a.ts', line: 12 }],
		['src/a.ts#12', { path: 'src/a.ts', line: 12 }],
		['src/a.ts#L12-L20', { path: 'src/a.ts', line: 12, endLine: 20 }],
		['src/a.ts#L12C5', { path: 'src/a.ts', line: 12, column: 5 }],
		['src/a.ts#L12C5-L20C1', { path: 'src/a.ts', line: 12, column: 5, endLine: 20 }],
		['docs/a.md#usage', { path: 'docs/a.md' }],
		['src/a.ts?raw', { path: 'src/a.ts?raw' }],
		['src/a.ts:0', { path: 'src/a.ts', line: 1 }],
		['src/a.ts:99999999999999999999', { path: 'src/a.ts', line: 1e9 }],
		['src/my%20file.ts:3', { path: 'src/my file.ts', line: 3 }],
		['src/%C3%A4.ts', { path: 'src/ä.ts' }],
		['100%25.txt', { path: '100%.txt' }],
		['100%.txt', { path: '100%.txt' }],
		['%zz/a.ts', { path: '%zz/a.ts' }],
		['/home/ann/a.ts', { path: '/home/ann/a.ts' }],
		['/home/ann/a.ts:7', { path: '/home/ann/a.ts', line: 7 }],
		['C:\\src\\a.ts', { path: 'C:/src/a.ts' }],
		['C:%5Csrc%5Ca.ts:12', { path: 'C:/src/a.ts', line: 12 }],
		['c:/src/a.ts#L3', { path: 'c:/src/a.ts', line: 3 }],
		['src\\a.ts', { path: 'src/a.ts' }],
		['src%5Ca.ts', { path: 'src/a.ts' }],
		['file:///home/ann/a%20b.ts', { path: '/home/ann/a b.ts' }],
		['file:///home/ann/a.ts#L12', { path: '/home/ann/a.ts', line: 12 }],
		['file:///home/ann/a.ts:12', { path: '/home/ann/a.ts', line: 12 }],
		['file:///C:/src/a.ts', { path: 'C:/src/a.ts' }],
		['file:///c%3A/src/a.ts', { path: 'c:/src/a.ts' }],
		['file://localhost/home/a.ts', { path: '/home/a.ts' }],
		[' src/a.ts ', { path: 'src/a.ts' }],
	])('%s is read as a path and a place in it', (href, expected) => {
		expect(readings(href)[0]).toEqual(expected);
	});

	it('may be of a file whose name only looks like more', () => {
		expect(readings('notes:12').map(({ path }) => path)).toEqual(['notes', 'notes:12']);
		expect(readings('C%23/Program.cs').map(({ path }) => path)).toContain('C#/Program.cs');
		expect(readings('C#/Program.cs').map(({ path }) => path)).toContain('C#/Program.cs');
		expect(readings('a%20b.ts').map(({ path }) => path)).toEqual(['a b.ts', 'a%20b.ts']);
		expect(readings('src/a.ts?raw').map(({ path }) => path)).toContain('src/a.ts');
	});
});

describe('a link elsewhere', () => {
	it.each(['https://example.com/x?y#z', 'http://localhost:3000', 'HTTPS://EXAMPLE.com', 'mailto:a@b.example'])(
		'%s is opened outside',
		(href) => {
			expect(readLink(href)).toEqual({ kind: 'external', href });
		},
	);

	it.each([
		...['command:workbench.action.quit', 'command:12', 'vscode://x/y', 'vscode-insiders:x', 'javascript:alert(1)'],
		...['javascript:1', 'data:text/html,x', 'ssh://host', 'ms-settings:x', 'command%3Aworkbench.action.quit', 'a:b'],
		...['//host/share/a.ts', '\\\\host\\share\\a.ts', '%5C%5Chost%5Ca', '/%5Chost/a', '%2F%2Fhost/a', '/\\host/a'],
		...['file://host/share/a.ts', 'file:////host/share', 'file://%zz', 'https://', 'a%00b.ts'],
	])('%s is refused', (href) => {
		expect(readLink(href)).toEqual({ kind: 'refused' });
	});

	it.each(['', ' ', '#', '#usage'])('"%s" leads nowhere', (href) => {
		expect(readLink(href)).toEqual({ kind: 'nothing' });
	});

	it('whatever it says, reading it does not fail', () => {
		const pieces = [
			'file:',
			'//',
			'\\',
			'%',
			'%00',
			'%E0',
			':',
			'#L',
			'12',
			'-',
			'?',
			'a',
			'C:',
			'..',
			' ',
			'\n',
			'(',
			')',
			'🙂',
		];
		let state = 5;
		for (let round = 0; round < 5000; round++) {
			let href = '';
			for (let i = 0; i < 8; i++) {
				state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
				href += pieces[(state >>> 8) % pieces.length];
			}
			const target = readLink(href);
			for (const reading of target.kind === 'file' ? target.readings : []) {
				for (const { path } of candidatesOf(reading, [{ name: 'a', path: '/w' }])) {
					expect(path).toMatch(/^\/(?!\/)/);
					expect(path.split('/')).not.toContain('..');
				}
			}
		}
	});
});

describe('where a file may be', () => {
	const app = { name: 'app', path: '/work/app' };
	const lib = { name: 'lib', path: '/work/lib' };

	it('is the workspace, and nowhere else without a word', () => {
		expect(candidatesOf({ path: 'src/a.ts', line: 3 }, [app])).toEqual([
			{ path: '/work/app/src/a.ts', line: 3, folder: 0 },
		]);
		expect(candidatesOf({ path: './src/../b.ts' }, [app])).toEqual([{ path: '/work/app/b.ts', folder: 0 }]);
		expect(candidatesOf({ path: '../../etc/passwd' }, [app])).toEqual([{ path: '/etc/passwd' }]);
		expect(candidatesOf({ path: '../../../../../x' }, [app])).toEqual([{ path: '/x' }]);
		expect(candidatesOf({ path: '../app2/a.ts' }, [app])).toEqual([{ path: '/work/app2/a.ts' }]);
		expect(candidatesOf({ path: 'a.ts' }, [])).toEqual([]);
		expect(candidatesOf({ path: '.' }, [app])).toEqual([{ path: '/work/app', folder: 0 }]);
	});

	it('is any of its folders, also by their names', () => {
		expect(candidatesOf({ path: 'lib/a.ts' }, [app, lib])).toEqual([
			{ path: '/work/app/lib/a.ts', folder: 0 },
			{ path: '/work/lib/lib/a.ts', folder: 1 },
			{ path: '/work/lib/a.ts', folder: 1 },
		]);
		expect(candidatesOf({ path: '../lib/a.ts' }, [app, lib])[0]).toEqual({ path: '/work/lib/a.ts', folder: 1 });
	});

	it('is absolute, or what looks so but is meant from the workspace', () => {
		expect(candidatesOf({ path: '/work/app/a.ts' }, [app])[0]).toEqual({ path: '/work/app/a.ts', folder: 0 });
		expect(candidatesOf({ path: '/src/a.ts' }, [app])).toEqual([
			{ path: '/src/a.ts' },
			{ path: '/work/app/src/a.ts', folder: 0 },
		]);
		expect(candidatesOf({ path: 'C:/Src/a.ts' }, [{ name: 'src', path: '/c:/src' }])).toEqual([
			{ path: '/C:/Src/a.ts', folder: 0 },
		]);
		expect(candidatesOf({ path: '/x/a' }, [{ name: 'root', path: '/' }])).toEqual([{ path: '/x/a', folder: 0 }]);
	});
});

describe('a click', () => {
	const FILES = new Map<string, 'file' | 'folder'>([
		['/work/app/src/a.ts', 'file'],
		['/work/app/src', 'folder'],
		['/work/app/notes:12', 'file'],
		['/work/app/a%20b.ts', 'file'],
		['/work/lib/b.ts', 'file'],
		['/etc/hosts', 'file'],
	]);

	async function click(href: string, confirms = true): Promise<string[]> {
		const done: string[] = [];
		const place = ({ path, line, column, endLine }: FileReading) =>
			`${path}${line === undefined ? '' : `:${[line, column, endLine].filter((given) => given !== undefined).join()}`}`;
		await followLink(href, {
			folders: [
				{ name: 'app', path: '/work/app' },
				{ name: 'lib', path: '/work/lib' },
			],
			typeOf: async ({ path }) => FILES.get(path),
			openFile: async (at) => void done.push(`open ${place(at)}`),
			showFolder: async (at) => void done.push(`show ${place(at)}`),
			openExternal: async (address) => void done.push(`browse ${address}`),
			confirm: async (question) => {
				done.push(question);
				return confirms;
			},
			warn: (message) => void done.push(message),
		});
		return done;
	}

	it.each([
		['src/a.ts', 'open /work/app/src/a.ts'],
		['src/a.ts:12', 'open /work/app/src/a.ts:12'],
		['app/src/a.ts#L12-L20', 'open /work/app/src/a.ts:12,20'],
		['b.ts:3:4', 'open /work/lib/b.ts:3,4'],
		['/src/a.ts', 'open /work/app/src/a.ts'],
		['file:///work/lib/b.ts', 'open /work/lib/b.ts'],
		['src\\a.ts', 'open /work/app/src/a.ts'],
		['notes:12', 'open /work/app/notes:12'],
		['a%20b.ts', 'open /work/app/a%20b.ts'],
		['src/', 'show /work/app/src'],
		['https://example.com', 'browse https://example.com'],
		['src/none.ts:12', 'There is no file src/none.ts.'],
		['../../none', 'There is no file ../../none.'],
		['C:\\none.ts', 'There is no file C:/none.ts.'],
		[`${'x'.repeat(200)}`, `There is no file ${'x'.repeat(119)}….`],
		['command:x', 'Hearth opens files, web pages and mail addresses that an answer links to, not command:x.'],
	])('on %s does one thing', async (href, expected) => {
		expect(await click(href)).toEqual([expected]);
	});

	it('on a file outside the workspace asks first', async () => {
		const question = 'The answer links to /etc/hosts, which is not in this workspace.';
		expect(await click('../../etc/hosts')).toEqual([question, 'open /etc/hosts']);
		expect(await click('/etc/hosts:3')).toEqual([question, 'open /etc/hosts:3']);
		expect(await click('/etc/hosts', false)).toEqual([question]);
		expect(await click('#usage')).toEqual([]);
	});
});
