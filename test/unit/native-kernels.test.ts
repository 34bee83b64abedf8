// Tests the CPU kernels one by one (native/test/test_kernels.cpp), whole models across instruction sets on this machine
// and on an emulated Arm, and the header parser under the sanitizers.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../native/build.mjs';
import { INSTRUCTION_SETS } from '../../native/targets.mjs';
import { armEmulator, emulators } from '../support/arm';
import { makeModel, shapes, temporaryFolder } from '../support/models';
import { kernelSets, kernels, linux, needs, unix } from '../support/needs';

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, '..', '..');
const programs = path.join(root, 'dist', 'native');
const folder = temporaryFolder();

/** Parses the lines `<kernel set> <hash>` of hash_logits. */
function hashes(stdout: string): Map<string, string> {
	return new Map(
		stdout
			.trim()
			.split('\n')
			.map((line) => line.split(' ') as [string, string]),
	);
}

beforeAll(async () => {
	await buildNative({ tests: true });
	if (armEmulator.met) await buildNative({ target: 'linux-arm64', tests: true });
});

for (const set of kernelSets) {
	const name = `kernels of the set ${set} against portable, and those against double precision`;
	test(name, needs(kernels(set)), async () => {
		await run(path.join(programs, 'test_kernels'), [set]);
	});
}

// When several files have the same function, a linker keeps one of them. It could give an old processor the one with
// newer instructions.
test('nothing compiled for an instruction set can replace another file’s', needs(linux), async () => {
	const names = Object.keys(INSTRUCTION_SETS[process.arch as keyof typeof INSTRUCTION_SETS]);
	const { objects } = await buildNative();
	const special = objects.filter((object) => names.some((name) => object.endsWith(`_${name}.o`)));
	expect(special).toHaveLength(names.length);
	const { stdout } = await run('nm', ['--defined-only', '-C', ...special], { maxBuffer: 2 ** 28 });
	expect(stdout).toMatch(/ t .*hearth::cpu::/);
	expect(stdout.split('\n').filter((line) => / [Wi] /.test(line))).toEqual([]);
});

test('the thread pool runs every task once, and what a task throws ends its job alone', async () => {
	await run(path.join(programs, 'test_thread_pool'));
});

test.each(Object.entries(emulators))(
	'Arm kernels, emulated: %s',
	needs(armEmulator),
	async (_name, [command, ...args]) => {
		const { stdout } = await run(command!, [...args, path.join(programs, 'linux-arm64', 'test_kernels'), 'neon']);
		expect(stdout).toContain('dotprod');
	},
);

describe.each(Object.keys(shapes) as (keyof typeof shapes)[])('a whole model, %s', (name) => {
	let file: string;
	let portable: string;

	beforeAll(async () => {
		file = await makeModel(folder, name.replaceAll(/\W+/g, '-'), { ...shapes[name], layers: 2 });
		const { stdout } = await run(path.join(programs, 'hash_logits'), [file, 'portable']);
		portable = hashes(stdout).get('portable')!;
		expect(portable).toMatch(/^[0-9a-f]{16}$/);
	});

	test('every kernel set of this machine: the same bits', async () => {
		const { stdout } = await run(path.join(programs, 'hash_logits'), [file]);
		expect(hashes(stdout)).toEqual(new Map(kernelSets.filter((set) => kernels(set).met).map((set) => [set, portable])));
	});

	test.each(Object.entries(emulators))(
		'Arm, emulated (%s): the same bits',
		needs(armEmulator),
		async (_name, [command, ...args]) => {
			const { stdout } = await run(command!, [
				...args,
				path.join(programs, 'linux-arm64', 'hash_logits'),
				file,
				'neon',
			]);
			expect(hashes(stdout)).toEqual(new Map([['neon', portable]]));
		},
	);
});

// Compilers on Windows have no sanitizer of undefined behaviour to link.
test('50,000 damaged headers under the address and undefined-behaviour sanitizers', needs(unix), async () => {
	const file = await makeModel(folder, 'fuzz', {
		...{ layers: 1, embedding: 32, feedForward: 32, experts: 2, expertsUsed: 1 },
		...{ heads: 2, headsKv: 1, headLength: 16 },
	});
	const program = path.join(folder, 'gguf_fuzz');
	const sources = ['test/fuzz/gguf_fuzz.cpp', 'core/gguf.cpp', 'core/model.cpp', 'core/vocabulary.cpp'].map((source) =>
		path.join(root, 'native', source),
	);
	await run(process.env['CXX'] ?? 'c++', [
		...['-std=c++20', '-O1', '-g1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
		...[...sources, '-o', program],
	]);
	const { stdout } = await run(program, [file, '50000', '1']);
	expect(stdout).toMatch(/^[1-9]\d* of 50000 accepted/);
});
