// The repository's own rules: the lint keeps layers apart, and documents name everything that they should.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { listFiles, PackageManager } from '@vscode/vsce';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lintWorkflows, setupActionlint, workflows } from '../../scripts/lint-workflows.mjs';
import { installed, needs } from '../support/needs';
import { asShipped, shippedFiles } from '../support/shipped';

const root = path.resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

interface Manifest {
	scripts: Record<string, string>;
	dependencies?: Record<string, string>;
	devDependencies: Record<string, string>;
	contributes: {
		commands: { command: string; title: string; category: string }[];
		configuration: { properties: Record<string, { default: unknown }> }[];
	};
}

const manifest = JSON.parse(read('package.json')) as Manifest;
/** Pairs of an importing file and what it imports. */
const forbidden: [string, string][] = [
	['engine/server/a.ts', 'vscode'],
	['native/a.ts', 'vscode'],
	['webview/chat/a.ts', 'vscode'],
	['test/unit/a.ts', 'vscode'],
	['scripts/a.mjs', 'vscode'],
	['bench/completions/a.ts', 'vscode'],
	['engine/server/f.ts', '../../bench/completions/oracle'],
	['native/d.ts', '../bench/completions/oracle'],
	['extension/b.ts', '../bench/completions/oracle'],
	['webview/chat/h.ts', '../../bench/completions/oracle'],
	['engine/server/b.ts', 'vscode-languageclient/node'],
	['engine/server/c.ts', '../../extension/extension'],
	['engine/server/d.ts', '../../webview/messages'],
	['engine/server/e.ts', '../cli/hearth'],
	['engine/protocol.ts', './server/session'],
	['engine/services/a.ts', 'vscode-languageserver'],
	['engine/services/b.ts', '../server/session'],
	['engine/services/c.ts', '../protocol'],
	['engine/services/d.ts', '../../extension/extension'],
	['engine/completion/a.ts', '../services/completion'],
	['engine/chat/a.ts', '../protocol'],
	['engine/chat/b.ts', '../completion/completer'],
	['engine/loading/a.ts', '../chat/chat'],
	['engine/runtime/a.ts', '../loading/open-model'],
	['engine/runtime/b.ts', '../selftest/verdict'],
	['engine/models/a.ts', '../runtime/engine'],
	['engine/speculation/a.ts', '../runtime/engine'],
	['engine/families/harmony/a.ts', '../../completion/window'],
	['engine/tokenizer/a.ts', '../families/family'],
	['engine/gguf/a.ts', '../tokenizer/tokenizer'],
	['engine/files/a.ts', '../gguf/writer'],
	['engine/units.ts', './files/kind'],
	['engine/settings.ts', './loading/backend'],
	['engine/setting-kinds.ts', './models/list'],
	['native/b.ts', '../engine/protocol'],
	['native/c.ts', '../extension/extension'],
	['extension/chat/a.ts', '../../native/index'],
	['extension/chat/b.ts', '../../engine/server/server'],
	['extension/a.ts', '../engine/version'],
	['extension/b.ts', '../engine/server/settings'],
	['webview/chat/g.ts', '../../engine/cli/format'],
	['webview/chat/b.ts', 'node:fs/promises'],
	['webview/chat/c.ts', 'vscode-languageclient/node'],
	['webview/chat/d.ts', '../../native/index'],
	['webview/chat/e.ts', '../../extension/extension'],
	['webview/chat/f.ts', '../../engine/server/server'],
];
const allowed: [string, string][] = [
	['extension/chat/m.ts', 'vscode'],
	['extension/chat/n.ts', 'vscode-languageclient/node'],
	['extension/chat/o.ts', '../../engine/protocol'],
	['extension/chat/p.ts', '../../webview/messages'],
	['engine/runtime/m.ts', '../../native/index'],
	['bench/completions/m.ts', '../../engine/completion/completer'],
	['engine/server/n.ts', 'vscode-languageserver/node'],
	['engine/server/o.ts', '../completion/completer'],
	['engine/server/p.ts', '../services/services'],
	['engine/services/m.ts', '../completion/completer'],
	['engine/cli/m.ts', '../server/server'],
	['engine/families/m.ts', './harmony/harmony'],
	['engine/families/prompts/m.ts', '../family'],
	['engine/chat/m.ts', '../loading/open-model'],
	['engine/runtime/n.ts', '../speculation/draft-source'],
	['engine/completion/m.ts', '../schema'],
	['webview/chat/m.ts', '../messages'],
	['webview/chat/n.ts', '../../engine/protocol'],
	['extension/chat/q.ts', '../../engine/units'],
	['extension/m.ts', '../engine/settings'],
	['extension/n.ts', '../engine/setting-kinds'],
	['webview/chat/o.ts', '../../engine/units'],
];

/** Members of a class, and whether the lint refuses them in the engine, the extension and the pages. */
const members: [text: string, refused: boolean][] = [
	['private a = 1;', true],
	['private readonly a = 1;', true],
	['private static a = 1;', true],
	['private async a() {}', true],
	['private get a() { return 1; }', true],
	['protected a = 1;', true],
	['protected a() {}', true],
	['constructor(private a: number) {}', true],
	['constructor(readonly a: number) {}', true],
	['#a = 1;', false],
	['a = "private b = 1;";', false],
	['private constructor() {}', false],
	['protected override a() {}', false],
];

describe('the lint keeps the layers apart, functions short and members private by #', () => {
	let folder: string;
	const refused = new Set<string>();
	const tooLong = new Set<string>();
	const keywords = new Set<string>();

	beforeAll(() => {
		folder = mkdtempSync(path.join(tmpdir(), 'hearth-lint-'));
		writeFileSync(path.join(folder, 'biome.json'), read('biome.json'));
		mkdirSync(path.join(folder, 'engine'));
		mkdirSync(path.join(folder, 'scripts'));
		for (const plugin of ['engine/floors.grit', 'scripts/members.grit'])
			writeFileSync(path.join(folder, plugin), read(plugin));
		for (const [file, imported] of [...forbidden, ...allowed]) {
			mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
			writeFileSync(path.join(folder, file), `import * as imported from '${imported}';\n\nimported;\n`);
		}
		for (const lines of [80, 81]) {
			const body = Array.from({ length: lines }, (_, i) => `\tconsole.log(${i});\n`).join('');
			writeFileSync(path.join(folder, `engine/${lines}-lines.ts`), `export function long() {\n${body}}\n`);
		}
		for (const [i, [text]] of members.entries()) {
			for (const layer of ['engine', 'extension', 'webview'])
				writeFileSync(path.join(folder, layer, `member-${i}.ts`), `export class A extends B {\n\t${text}\n}\n`);
		}
		const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome');
		const { stdout } = spawnSync(
			process.execPath,
			[biome, 'lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json', '.'],
			{ cwd: folder, encoding: 'utf8' },
		);
		const report = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] };
		for (const { category, location } of report.diagnostics) {
			if (category === 'lint/style/noRestrictedImports' || category === 'plugin') refused.add(location.path);
			if (category === 'lint/complexity/noExcessiveLinesPerFunction') tooLong.add(location.path);
			if (category === 'plugin' || category === 'lint/style/noParameterProperties') keywords.add(location.path);
		}
	});
	afterAll(() => rmSync(folder, { recursive: true, force: true }));

	test.each(forbidden)('%s may not import %s', (file) => expect(refused).toContain(file));
	test.each(allowed)('%s may import %s', (file) => expect(refused).not.toContain(file));
	test('no function has more than 80 lines between its braces', () =>
		expect([...tooLong]).toEqual(['engine/81-lines.ts']));
	test.each(members)('%s: refused %s', (text, expected) => {
		const index = members.findIndex(([each]) => each === text);
		const files = ['engine', 'extension', 'webview'].map((layer) => `${layer}/member-${index}.ts`);
		expect(files.filter((file) => keywords.has(file))).toEqual(expected ? files : []);
	});
});

// clang-format keeps code within this width but leaves comments as they are.
test('no line of C++ and Metal has more than 120 characters', () => {
	const long = (readdirSync(path.join(root, 'native'), { recursive: true }) as string[])
		.map((name) => path.posix.join('native', name.replaceAll('\\', '/')))
		.filter((file) => /\.(cpp|h|metal)$/.test(file) && !file.startsWith('native/test/metal/seeded/'))
		.flatMap((file) =>
			read(file)
				.split('\n')
				.flatMap((line, i) => ([...line].length > 120 ? [`${file}:${i + 1}`] : [])),
		);
	expect(long).toEqual([]);
});

// npm leaves packages for other platforms out of the lock file when its registry does not carry them. `npm ci` then
// fails for everybody.
test('package-lock.json has every optional dependency of every package', () => {
	const { packages } = JSON.parse(read('package-lock.json')) as {
		packages: Record<string, { optionalDependencies?: Record<string, string> }>;
	};
	const names = new Set(Object.keys(packages).map((key) => key.replace(/^.*node_modules\//, '')));
	const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies));
	expect(wanted.filter((name) => !names.has(name))).toEqual([]);
});

// Somebody may set the clock by hours while something runs. Durations are therefore measured with a monotonic clock.
test('only what means a date asks for the time of day', () => {
	const dates = new Map([
		['engine/models/network.ts', 'of Retry-After, where the host does not say what time it is there'],
		['engine/benchmark/recording.ts', 'in a text that is edited'],
		['extension/chat/conversation.ts', 'when a conversation was begun'],
		['scripts/cache.mjs', 'against the date of a folder'],
	]);
	const asks =
		/\bDate\.now\b|\bDate\(\)\s*\.(getTime|valueOf)\b|\+\s*new Date\b|\bNumber\(\s*new Date\b|\bnew Date\s*-/;
	const folders = ['bench', 'engine', 'extension', 'webview', 'native', 'scripts', 'bin', 'test/e2e'];
	const files = folders.flatMap((folder) =>
		readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
			path.posix.join(folder, name.replaceAll('\\', '/')),
		),
	);
	const asking = files.filter((file) => /\.(ts|mts|mjs|js)$/.test(file) && asks.test(read(file)));
	expect(asking.sort()).toEqual([...dates.keys()].sort());
	for (const text of [
		'Date.now()',
		'const now = Date.now;',
		'new Date().getTime()',
		'+new Date()',
		'a = + new Date();',
	])
		expect(text).toMatch(asks);
	expect('localDate(new Date(), at)').not.toMatch(asks);
});

describe('docs/language-server.md', () => {
	const withoutComments = (file: string): string => read(file).replace(/\/\*\*[\s\S]*?\*\//g, '');
	const protocol = withoutComments('engine/protocol.ts');
	/** Types of what a message says about a folder's work are in that folder of the engine. */
	const sources = readdirSync(path.join(root, 'engine'), { recursive: true, encoding: 'utf8' })
		.filter((name) => name.endsWith('.ts'))
		.map((name) => withoutComments(path.join('engine', name)))
		.join('\n');
	const document = read('docs/language-server.md');
	/** Each message's method and the type of its parameters as it is written. A request without parameters has none. */
	const messages = [
		...protocol.matchAll(/new (?:Request|Notification)Type0?<([^(]*)>\(\s*'(hearth\/\w+)',?\s*\)/g),
	].map(([, types, method]) => [method!, types!] as const);
	const rows = new Map(
		[...document.matchAll(/^\| `(hearth\/\w+)` \|([^|]*)\|/gm)].map(([, name, cell]) => [name, cell]),
	);
	/** The fields of a type that is named or written out. Fields of the types that it extends are among them. */
	const fieldsOf = (type: string): string[] => {
		const name = /^\w+/.exec(type)?.[0];
		const names = (text: string) => [...text.matchAll(/(?:^\t|[{;] ?)(\w+)\??: /gm)].map(([, field]) => field!);
		if (name === undefined) return names(type.slice(0, type.indexOf('}')));
		const alias = new RegExp(`^export type ${name} = (\\w+);`, 'm').exec(sources)?.[1];
		if (alias) return fieldsOf(alias);
		const [, others, body] =
			new RegExp(`^export interface ${name} (?:extends (.*) )?\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(sources) ?? [];
		return [...(others?.split(', ').flatMap(fieldsOf) ?? []), ...names(body ?? '')];
	};

	test('has a row for each message of the protocol, and none for others', () => {
		expect(messages.length).toBeGreaterThan(10);
		expect([...rows.keys()].sort()).toEqual(messages.map(([method]) => method).sort());
	});

	test('names each parameter of each request', () => {
		expect(fieldsOf('ChatParams, ChatResult, void')).toContain('partialResultToken');
		expect(fieldsOf('{ id: string; discard: boolean }, void, void')).toEqual(['id', 'discard']);
		for (const [method, types] of messages) {
			if (method === 'hearth/didChangeStatus' || /^(void|EngineStatus)\b/.test(types)) continue;
			const fields = fieldsOf(types);
			const named = [...rows.get(method)!.matchAll(/`(\w+)\??`/g)].map(([, field]) => field!);
			expect(fields.length, method).toBeGreaterThan(0);
			expect(named, method).toEqual(expect.arrayContaining(fields));
		}
	});

	test('has each error of the protocol with its code', () => {
		const codes = [.../ErrorCode = \{([^}]*)\}/.exec(protocol)![1]!.matchAll(/(\w+): -(\d+)/g)];
		expect(codes.length).toBeGreaterThan(5);
		for (const [, name, code] of codes) expect(document).toContain(`| −${code} | \`${name}\` |`);
	});
});

// `vsce package` runs in the repository. Of all files there, built or not, it takes only what ships.
test('.vscodeignore lets through what ships and nothing else', async () => {
	const folder = mkdtempSync(path.join(tmpdir(), 'hearth-vsce-'));
	const sources = spawnSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).stdout.trim().split('\n');
	expect(sources).toContain('extension/extension.ts');
	const built = shippedFiles.filter((file) => file.startsWith('dist/')).map((file) => file.replace('*', 'AB12'));
	const strays = [
		...['dist/extension.js.map', 'dist/webview/chat.js.map', 'dist/native/linux-arm64/hearth.node'],
		...['dist/native/objects/addon_addon.cpp.o', 'dist/native/test_kernels', 'dist/package-1/dist/extension.js'],
		...['engine/new.ts', 'new/file.js', 'hearth.vsix', 'model.gguf', '.env', 'node_modules/a/index.js'],
	];
	try {
		for (const file of [...sources, ...built, ...strays]) {
			mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
			writeFileSync(path.join(folder, file), ['package.json', '.vscodeignore'].includes(file) ? read(file) : '');
		}
		expect(asShipped(await listFiles({ cwd: folder, packageManager: PackageManager.None }))).toEqual(shippedFiles);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
});

const actionlint = await installed('no actionlint', () => setupActionlint());

describe('workflows', () => {
	test('are right', needs(actionlint), async () => {
		expect(await lintWorkflows(workflows())).toBe('');
	});

	test('a wrong one is refused', needs(actionlint), async () => {
		const folder = mkdtempSync(path.join(tmpdir(), 'hearth-workflow-'));
		const file = path.join(folder, 'wrong.yml');
		const step = '{ run: echo, if: matrix.missing }';
		writeFileSync(file, `on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps: [${step}]\n`);
		expect(await lintWorkflows([file])).toMatch(/^.*wrong\.yml:\d+:\d+: property "missing" is not defined/);
		rmSync(folder, { recursive: true, force: true });
	});

	test('may only read, know no secret, and take actions by their major version', () => {
		for (const file of workflows()) {
			const text = readFileSync(file, 'utf8');
			expect(text).toMatch(/^permissions:\n {2}contents: read\n\n/m);
			expect(text.match(/permissions:/g)).toHaveLength(1);
			expect(text).not.toMatch(/secrets|https?:/);
			const actions = [...text.matchAll(/uses: (\S+)/g)].map(([, action]) => action);
			expect(actions.filter((action) => !/^actions\/[\w-]+@v\d+$/.test(action ?? ''))).toEqual([]);
		}
	});
});

describe('documents', () => {
	test('docs/dependencies.md has a line for every dependency and none for others', () => {
		const documented = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
		const used = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
		expect(documented.sort()).toEqual(used.sort());
	});

	test('README.md has every setting with its default, and none that is gone', () => {
		const documented = [...read('README.md').matchAll(/^\| `(hearth\.[^`]+)` \| `([^`]*)` \|/gm)];
		const settings = manifest.contributes.configuration.flatMap(({ properties }) => Object.entries(properties));
		expect(documented.map(([, key, value]) => [key, value])).toEqual(
			settings.map(([key, setting]) => [key, JSON.stringify(setting.default)]),
		);
	});

	test('README.md names every command as the palette shows it', () => {
		const readme = read('README.md');
		for (const { category, title } of manifest.contributes.commands) {
			expect(readme).toContain(`| ${category}: ${title} |`);
		}
	});

	const all = [
		'README.md',
		'CONTRIBUTING.md',
		...readdirSync(path.join(root, 'docs'))
			.filter((name) => name.endsWith('.md'))
			.map((name) => `docs/${name}`),
	];
	test.each(all.filter((name) => name !== 'docs/performance-log.md'))('%s names paths that exist', (document) => {
		const paths = [...read(document).matchAll(/`((?:bench|engine|extension|native|scripts|test|webview)\/[\w./-]*)`/g)];
		const there = ([, file]: RegExpMatchArray) => existsSync(path.join(root, file!));
		expect(paths.filter((each) => !there(each) && !/NAME|test\/output/.test(each[1]!)).map(([, file]) => file)).toEqual(
			[],
		);
	});

	test.each(all)('%s names only scripts and files that exist', (document) => {
		const text = read(document);
		for (const [, script] of text.matchAll(/npm run ([\w:]+)/g))
			expect(manifest.scripts).toHaveProperty([script ?? '']);
		for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
			expect(() => read(path.join(path.dirname(document), link ?? '')), link).not.toThrow();
		}
	});
});

// `npm test` can tell why a test was skipped only when the test says what it needs (test/support/needs.ts).
test('no test is skipped without a reason', () => {
	// These files have samples of what they test.
	const exempt = ['support/needs.ts', 'unit/repository.test.ts', 'unit/skipped.test.ts'];
	const bare = /\.(?:skipIf|runIf|skip|only|todo)\b|\bskip\(/;
	const files = (readdirSync(path.join(root, 'test'), { recursive: true }) as string[])
		.map((file) => file.replaceAll('\\', '/'))
		.filter((file) => file.endsWith('.ts') && !exempt.includes(file) && !file.startsWith('output/'));
	const lines = files.flatMap((file) =>
		read(`test/${file}`)
			.split('\n')
			.filter((line) => bare.test(line))
			.map((line) => `${file}: ${line.trim()}`),
	);
	expect(lines).toEqual([]);
});
