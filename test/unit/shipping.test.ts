// What ships for other platforms than this one: addons compiled by Zig, and the packages that they go into, read byte
// by byte. Those for Arm Linux and for this machine also run.
// HEARTH_TARGETS names the platforms to check, or `all`. Its default is the two platforms, besides this one, that most
// users have.
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../native/build.mjs';
import { HOST, TARGETS } from '../../native/targets.mjs';
import { packageExtension } from '../../scripts/package.mjs';
import { setupZig } from '../../scripts/setup-zig.mjs';
import { alpineNode, alpineNodeCommand } from '../support/alpine';
import { armEmulator, armNode, emulators, zig } from '../support/arm';
import { coffImports, type Library, readElf, readMachO, readPe } from '../support/binaries';
import { makeModel, temporaryFolder } from '../support/models';
import { kernelSets, kernels, linux, type Need, needs } from '../support/needs';
import { asShipped, shippedFiles } from '../support/shipped';
import { readZip } from '../support/zip';

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, '..', '..');
const folder = temporaryFolder();
const asked = process.env['HEARTH_TARGETS'];
const targets = asked === 'all' ? Object.keys(TARGETS) : (asked?.split(',') ?? ['darwin-arm64', 'linux-arm64']);
const only = (start: string): string[] => targets.filter((target) => target.startsWith(start));

const nodeApi = (() => {
	const { symbols } = createRequire(import.meta.url)('node-api-headers') as {
		symbols: { v8: { js_native_api_symbols: string[]; node_api_symbols: string[] } };
	};
	return new Set([...symbols.v8.js_native_api_symbols, ...symbols.v8.node_api_symbols]);
})();
const isNodeApi = (name: string): boolean => nodeApi.has(name);

/** The need that HEARTH_TARGETS, or its default, names a platform. */
const asksFor = (target: string): Need => ({
	met: targets.includes(target),
	reason: `HEARTH_TARGETS without ${target}`,
});
/** The addon of each target. The next map has each package's files and size. */
const addons = new Map<string, Buffer>();
const packages = new Map<string, { name: string; bytes: number; files: Map<string, Buffer> }>();

beforeAll(async () => {
	if (!zig.met) return;
	for (const target of targets) {
		addons.set(target, readFileSync((await buildNative({ target })).file));
	}
	for (const { file, target, bytes } of await packageExtension({ targets, out: folder })) {
		packages.set(target, { name: path.basename(file), bytes, files: readZip(readFileSync(file)) });
	}
});

/** Checks what is true of an addon on any platform. */
function expectAddon(library: Library, target: string): void {
	expect(`${library.platform}-${library.arch}`).toBe(target.replace('alpine', 'linux'));
	expect(library.exports).toContain('napi_register_module_v1');
	expect(library.exports).toContain('node_api_module_get_api_version_v1');
}

describe.each(only('darwin'))('the addon for %s', needs(zig), (target) => {
	test('takes Node-API from the program, the rest from libSystem, and shows little', () => {
		const addon = readMachO(addons.get(target)!);
		expectAddon(addon, target);
		expect(addon.libraries).toEqual(['/usr/lib/libSystem.B.dylib']);
		expect(addon.installName).toBe('@rpath/hearth.node');
		const fromProgram = addon.imports.filter(({ from }) => from === undefined).map(({ name }) => name);
		expect(fromProgram.length).toBeGreaterThan(20);
		expect(fromProgram.filter((name) => !isNodeApi(name))).toEqual([]);
		expect(addon.imports.filter(({ name, from }) => from !== undefined && isNodeApi(name))).toEqual([]);
		// C++ lets a program replace the operators new and delete, so they stay visible. The linker adds two symbols of its
		// own.
		const others = addon.exports.filter((name) => !/^(_Z(n[wa]|d[la])|_mh_|__dso_handle)/.test(name));
		expect(others).toHaveLength(2);
	});

	test('is for macOS 13 and newer', () => {
		const MACOS = 1;
		expect(readMachO(addons.get(target)!).build).toEqual({ platform: MACOS, minimum: '13.0' });
	});

	// Apple silicon runs no code whose pages lack the signed hashes. Intel Macs ask for no signature.
	if (target !== 'darwin-arm64') return;
	test('is signed ad hoc, and every page has the hash signed', () => {
		const bytes = addons.get(target)!;
		const { signature } = readMachO(bytes);
		expect(signature).toMatchObject({ adHoc: true, identifier: 'hearth.node', badPages: [] });
		expect(signature!.codeLimit).toBe(signature!.signatureOffset);
		expect(signature!.pages).toBeGreaterThan(20);
		const damaged = Buffer.from(bytes);
		damaged[0x5000]! ^= 1;
		expect(readMachO(damaged).signature?.badPages).toHaveLength(1);
	});
});

describe.each(only('linux'))('the addon for %s', needs(zig), (target) => {
	test('needs glibc 2.28 and nothing else, and shows two functions', () => {
		const addon = readElf(addons.get(target)!);
		expectAddon(addon, target);
		expect(addon.exports).toHaveLength(2);
		const glibc = /^(lib(c|m|dl|pthread|rt)\.so\.\d|ld-linux-[\w-]+\.so\.\d)$/;
		expect(addon.libraries.filter((name) => !glibc.test(name))).toEqual([]);
		expect(addon.runPaths).toEqual([]);
		const versions = [...addon.versions.values()].flat();
		expect(versions.length).toBeGreaterThan(0);
		const newer = versions.filter((version) => {
			const [, minor] = /^GLIBC_2\.(\d+)(?:\.\d+)?$/.exec(version) ?? [];
			return minor === undefined || Number(minor) > 28;
		});
		expect(newer).toEqual([]);
		expect(addon.imports.map(({ name }) => name).filter(isNodeApi).length).toBeGreaterThan(20);
	});
});

describe.each(only('alpine'))('the addon for %s', needs(zig), (target) => {
	test('needs the C library musl and nothing else, and shows two functions', async () => {
		const addon = readElf(addons.get(target)!);
		expectAddon(addon, target);
		expect(addon.exports).toHaveLength(2);
		// musl's loader takes any library whose name begins with "libc." for itself.
		expect(addon.libraries).toEqual(['libc.so']);
		expect(addon.runPaths).toEqual([]);
		// Symbols of glibc have versions; symbols of musl have none.
		expect([...addon.versions]).toEqual([]);
		const musl = readFileSync(path.join(path.dirname(await setupZig()), 'lib', 'libc', 'musl', 'libc.S'), 'utf8');
		const symbols = new Set(Array.from(musl.matchAll(/^(?:\.globl|\.weak|WEAK\w+) (\w+)$/gm), ([, name]) => name));
		const imports = addon.imports.map(({ name }) => name);
		expect(imports.filter((name) => !isNodeApi(name) && !symbols.has(name))).toEqual([]);
		expect(imports.filter(isNodeApi).length).toBeGreaterThan(20);
	});
});

/** What runs programs for Alpine on this machine. They are linked statically, so any Linux kernel runs them. */
function alpineRunner(target: string): { need: Need; command: string[]; sets: string[] } {
	if (target === `alpine-${process.arch}`) return { need: linux, command: [], sets: kernelSets };
	const emulated = target === 'alpine-arm64';
	const need = emulated ? armEmulator : { met: false, reason: `${target} does not run on this processor` };
	return { need, command: emulators['all features'], sets: ['neon', 'portable'] };
}

describe.each(only('alpine'))('the native core for %s, as programs', (target) => {
	const { need, command, sets } = alpineRunner(target);
	const program = async (name: string, ...args: string[]) => {
		const [file, ...rest] = [...command, path.join(root, 'dist', 'native', target, name), ...args];
		return (await run(file!, rest)).stdout;
	};
	const runnable = (set: string): Need => (command.length === 0 ? kernels(set) : need);

	beforeAll(async () => {
		if (need.met && zig.met) await buildNative({ target, tests: true });
	});

	for (const set of sets) {
		test(`kernels of the set ${set} are right`, needs(zig, need, runnable(set)), async () => {
			await program('test_kernels', set);
		});
	}

	test('the thread pool runs every task once', needs(zig, need), async () => {
		await program('test_thread_pool');
	});

	test("steps of a model give this machine's bits on the small stacks of musl", needs(zig, need), async () => {
		await buildNative({ tests: true });
		const model = await makeModel(folder, target);
		const { stdout } = await run(path.join(root, 'dist', 'native', 'hash_logits'), [model, 'portable']);
		const [, expected] = stdout.trim().split(' ');
		expect(expected).toMatch(/^[0-9a-f]{16}$/);
		const given = (await program('hash_logits', model)).trim().split('\n');
		expect(given.length).toBe(sets.filter((set) => runnable(set).met).length);
		for (const line of given) expect(line.split(' ')[1], line).toBe(expected);
	});
});

describe.each(only('win32'))('the addon for %s', needs(zig), (target) => {
	test('imports from Windows alone; Node-API it finds in the program that loads it', () => {
		const bytes = addons.get(target)!;
		const addon = readPe(bytes);
		expectAddon(addon, target);
		expect(addon.exports).toHaveLength(2);
		// The api-ms-win libraries are the universal C runtime, which is part of Windows since version 10.
		const system = /^(KERNEL32|ntdll|api-ms-win-[\w-]+)\.dll$/i;
		expect(addon.libraries.filter((name) => !system.test(name))).toEqual([]);
		expect(addon.imports.filter(({ name }) => isNodeApi(name))).toEqual([]);
		for (const name of nodeApi) expect(bytes.includes(`${name}\0`), name).toBe(true);
	});

	// A call by the plain name also links, but it ends the program that loads the addon.
	test('calls Node-API through its import table', () => {
		const objects = path.join(root, 'dist', 'native', target, 'objects');
		const callers = readdirSync(objects).filter(
			(file) => /^addon_[a-z_]+\.cpp\.o$/.test(file) && !file.includes('windows'),
		);
		const names = callers.flatMap((file) => coffImports(readFileSync(path.join(objects, file))));
		expect(names.filter((name) => name.startsWith('__imp_napi_')).length).toBeGreaterThan(20);
		expect(names.filter(isNodeApi)).toEqual([]);
	});
});

describe.each(targets)('the package for %s', needs(zig), (target) => {
	test('is named and marked for its platform, and below 10 MB', () => {
		const { name, bytes, files } = packages.get(target)!;
		const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
		expect(name).toBe(`hearth-${target}-${version}.vsix`);
		expect(files.get('extension.vsixmanifest')!.toString()).toContain(` TargetPlatform="${target}"`);
		expect(bytes).toBeLessThan(10e6);
	});

	test('holds what runs, its own addon, and nothing else', () => {
		const { files } = packages.get(target)!;
		const inside = [...files.keys()].filter((file) => file.startsWith('extension/'));
		const names = inside.map((file) => file.slice('extension/'.length));
		expect(asShipped(names)).toEqual(shippedFiles);
		expect(files.get('extension/dist/native/hearth.node')!.equals(addons.get(target)!)).toBe(true);
		const manifest = JSON.parse(files.get('extension/package.json')!.toString()) as Record<string, unknown>;
		expect(manifest).toMatchObject({ main: './dist/extension.js', name: 'hearth' });
		expect(manifest).not.toHaveProperty('devDependencies');
		expect(files.get('extension/readme.md')!.toString()).not.toContain('](docs/images');
	});
});

/** Unpacks a package and returns the path of its command line. */
function unpack(target: string): string {
	const to = path.join(folder, target);
	for (const [name, content] of packages.get(target)!.files) {
		mkdirSync(path.dirname(path.join(to, name)), { recursive: true });
		writeFileSync(path.join(to, name), content);
	}
	return path.join(to, 'extension', 'dist', 'hearth.js');
}

/** Runs a package's command line. It finds its own addon unless another one is named. */
async function hearth(node: string[], cli: string, args: string[], addon?: string): Promise<string> {
	const { HEARTH_NATIVE, ...env } = process.env;
	const [command, ...first] = [...node, cli, ...args];
	return (await run(command!, first, { env: addon ? { ...env, HEARTH_NATIVE: addon } : env })).stdout;
}

/** The bits of the logits of 150 tokens, computed in several steps. */
async function bits(node: string[], cli: string, model: string, kernels: string, addon?: string): Promise<Buffer> {
	const out = path.join(folder, 'logits');
	const tokens = Array.from({ length: 150 }, (_, i) => (i * 37) % 600).join();
	await hearth(
		node,
		cli,
		['logits', model, '--tokens', tokens, '--batch', '37', '--kernels', kernels, '--out', out],
		addon,
	);
	return readFileSync(out);
}

const ownAddon = path.join(root, 'dist', 'native', 'hearth.node');

const ownAlpine = `alpine-${process.arch}`;

/**
 * Packages whose Node.js runs here although it is built for another platform: how to run it, and which kernels its
 * processor has.
 */
const foreign = [
	{
		target: 'linux-arm64',
		...{ title: 'the package for Arm Linux, in an emulated Node', need: armEmulator, kernels: 'neon' },
		node: async () => [...emulators['all features'], await armNode()],
	},
	{
		target: ownAlpine,
		...{ title: "the package for Alpine, in Alpine's Node", kernels: 'auto' },
		need: asksFor(ownAlpine).met ? await alpineNode() : asksFor(ownAlpine),
		node: () => alpineNodeCommand(folder),
	},
];

for (const { target, title, need, kernels, node: findNode } of foreign) {
	describe(title, needs(asksFor(target), need), () => {
		let model: string;
		let cli: string;
		let node: string[];

		beforeAll(async () => {
			model = await makeModel(folder, `in-${target}`);
			cli = unpack(target);
			node = await findNode();
		});

		test('gives the logits that this machine gives, bit for bit', async () => {
			const expected = await bits([process.execPath], cli, model, 'portable', ownAddon);
			expect(expected.length).toBeGreaterThan(150 * 600 * 4);
			expect((await bits(node, cli, model, kernels)).equals(expected)).toBe(true);
		});

		test('continues a prompt with the same text', async () => {
			const args = ['generate', model, '--prompt', 'function add(a, b) {', '--max-tokens', '8', '--no-stop'];
			const text = await hearth([process.execPath], cli, args, ownAddon);
			expect(text).not.toBe('');
			expect(await hearth(node, cli, args)).toBe(text);
		});
	});
}

describe('the package for this machine', needs(asksFor(HOST), zig), () => {
	let model: string;
	let cli: string;

	beforeAll(async () => {
		model = await makeModel(folder, 'host');
		cli = unpack(HOST);
	});

	for (const set of kernelSets) {
		const name = `kernels of the set ${set} give the bits they give compiled by the system's compiler`;
		test(name, needs(kernels(set)), async () => {
			const expected = await bits([process.execPath], cli, model, set, ownAddon);
			expect((await bits([process.execPath], cli, model, set)).equals(expected)).toBe(true);
		});
	}
});
