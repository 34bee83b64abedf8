import { describe, expect, test } from 'vitest';
import { isNamed } from '../../../engine/completion/exclusion';
import { documentLocation } from '../../../engine/server/document-label';
import { SETTINGS } from '../../../engine/settings';

const DEFAULTS = SETTINGS.completion.exclude.default;
const folders = [
	{ uri: 'file:///work/app', name: 'app' },
	{ uri: 'file:///c%3A/Work', name: 'Work' },
];
const named = (uri: string, patterns: readonly string[]) => isNamed(documentLocation(uri, folders), patterns);

describe('the setting', () => {
	test.each([
		...['.env', '.env.local', '.ENV', 'a/b/.env.production', '.envs/local', 'id_rsa', 'id_ed25519.pub', 'ca.PEM'],
		...['server.key', 'store.p12', 'ca.crt', 'package-lock.json', 'yarn.lock', 'sub/Cargo.lock', 'pnpm-lock.yaml'],
		...['go.sum', 'app.min.js', 'x/app.min.css', '.terraform.lock.hcl', '%2Eenv', 'a%20b.pem'],
	])('excludes %s from the start', (name) => {
		expect(named(`file:///work/app/${name}`, DEFAULTS)).toBe(true);
		expect(named(`vscode-remote://ssh-remote%2Bhost/home/ann/${name}`, DEFAULTS)).toBe(true);
		expect(named(`file:///C:/work/${name}`, DEFAULTS)).toBe(true);
		expect(named(`untitled:${name}`, DEFAULTS)).toBe(true);
	});

	test.each([
		...['environment.ts', 'key.ts', 'locks.ts', 'package.json', 'lock.go', 'min.js', 'admin.js', 'my.env.ts', 'pem.rs'],
		...['src/keys/index.ts', 'certificate.cpp', 'go.mod'],
	])('does not exclude %s', (name) => {
		expect(named(`file:///work/app/${name}`, DEFAULTS)).toBe(false);
		expect(named(`untitled:${name}`, DEFAULTS)).toBe(false);
	});

	test.each<[pattern: string, uri: string, boolean]>([
		// Without a slash: the name of a file or a folder anywhere.
		['secrets', 'file:///work/app/a/secrets/b.ts', true],
		['secrets', 'file:///work/app/secrets', true],
		['secrets', 'file:///work/app/secrets.ts', false],
		['secrets/', 'file:///work/app/a/secrets/b.ts', true],
		['secrets/', 'file:///work/app/a/secrets', false],
		// With a slash: from the workspace folder.
		['src/*.ts', 'file:///work/app/src/a.ts', true],
		['src/*.ts', 'file:///work/app/src/b/a.ts', false],
		['src/*.ts', 'file:///work/app/lib/src/a.ts', false],
		['/a.ts', 'file:///work/app/a.ts', true],
		['/a.ts', 'file:///work/app/src/a.ts', false],
		['./src', 'file:///work/app/src/x/a.ts', true],
		['src/**', 'file:///work/app/src/x/a.ts', true],
		['**/gen/**', 'file:///work/app/gen/a.ts', true],
		['**/gen/**/*.ts', 'file:///work/app/x/gen/y/z/a.ts', true],
		['**/gen/**/*.ts', 'file:///work/app/x/gen/a.ts', true],
		['**/gen/**/*.ts', 'file:///work/app/x/general/a.ts', false],
		['**', 'untitled:a', true],
		// Outside of the workspace folders: from the root.
		['**/.ssh/**', 'file:///home/ann/.ssh/config', true],
		['.ssh', 'file:///home/ann/.ssh/config', true],
		['app/a.ts', 'file:///work/app/a.ts', false],
		// The workspace folder's own name does not count.
		['app', 'file:///work/app/a.ts', false],
		['work/x.ts', 'file:///c%3A/Work/x.ts', false],
		['SRC\\x.ts', 'file:///c%3A/Work/src/x.ts', true],
		['a?c.ts', 'file:///work/app/abc.ts', true],
		['a?c.ts', 'file:///work/app/a/c.ts', false],
		['[a-c]*.ts', 'file:///work/app/bX.ts', true],
		['[!a-c]*.ts', 'file:///work/app/bX.ts', false],
		['a[.ts', 'file:///work/app/a[.ts', true],
		['{a,b/{c,d}}.ts', 'file:///work/app/b/d.ts', true],
		['{a,b/{c,d}}.ts', 'file:///work/app/b/a.ts', false],
		['{a,}.ts', 'file:///work/app/.ts', true],
		['{a.ts', 'file:///work/app/%7Ba.ts', true],
		['Ä.ts', `file:///work/app/${encodeURIComponent('a\u0308.ts')}`, true],
		// Cells of a notebook belong to its file, and what follows a path in a URI is none of it.
		['n.ipynb', 'vscode-notebook-cell:/work/app/n.ipynb#W0sZmlsZQ%3D%3D', true],
		['.env', 'git:/work/app/.env?%7B%22ref%22%3A%22%22%7D', true],
	])('%s names %s: %s', (pattern, uri, expected) => {
		expect(named(uri, [pattern])).toBe(expected);
	});

	test('one of several workspace folders is enough', () => {
		const both = [
			{ uri: 'file:///work', name: 'work' },
			{ uri: 'file:///work/app', name: 'app' },
		];
		const location = documentLocation('file:///work/app/src/a.ts', both);
		expect(isNamed(location, ['src/a.ts'])).toBe(true);
		expect(isNamed(location, ['app/src'])).toBe(true);
		expect(isNamed(location, ['work/app'])).toBe(false);
	});

	test('a path longer than any pattern is compared with is excluded', () => {
		expect(named(`file:///work/app/${'a/'.repeat(3000)}b.ts`, [])).toBe(true);
	});
});

test.each([
	['file:///work/a.ts', true],
	['file://localhost/work/a.ts', true],
	['file:/work/a.ts', true],
	['file://server/share/a.ts', false],
	['file:////server/share/a.ts', false],
	['vscode-remote://host/work/a.ts', false],
	['untitled:a.ts', false],
])('whether this process can reach %s: %s', (uri, reached) => {
	expect(documentLocation(uri, []).onDisk).toBe(reached);
});
