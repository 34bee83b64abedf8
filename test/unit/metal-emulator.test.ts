// Tests the tools that test Metal without a Mac. They catch every deliberate mistake in a kernel, in MSL and in host
// code, and correct code raises no alarm (native/test/metal/README.md).
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../native/build.mjs';
import { buildMetalTests } from '../../native/build-metal.mjs';
import { embedMetalSources, expandMetalSource, metalSources } from '../../native/metal-sources.mjs';
import { checkMetal } from '../../native/test/metal/emulator/check.mjs';
import { generate, sourceHash } from '../../native/test/metal/emulator/generate.mjs';
import { clang, runProgram } from '../support/metal';
import { needs } from '../support/needs';

const root = path.resolve(import.meta.dirname, '..', '..');
const native = path.join(root, 'native');
const seeded = path.join(native, 'test', 'metal', 'seeded');
const invalid = path.join(seeded, 'invalid');

type Mode = 'plain' | 'race' | 'asan' | 'msan';
const modes: Mode[] = ['plain', 'race', 'asan', 'msan'];

/** For each kernel of mistakes.metal: the modes that must catch it, and what they must report. */
const mistakes: Record<string, Partial<Record<Mode, string>>> = {
	bug_no_barrier: { plain: 'another result', race: 'uninitialised threadgroup memory' },
	bug_wrong_flag: { race: 'read of data written without a barrier' },
	bug_no_second_barrier: { plain: 'another result', race: 'write over data read without a barrier' },
	bug_no_simdgroup_barrier: { plain: 'another result', race: 'threadgroup memory' },
	bug_uninit_tg: { plain: 'NaN', race: 'uninitialised threadgroup memory', msan: 'use-of-uninitialized-value' },
	bug_oob_read: { race: 'read out of bounds: 1 bytes past the end of buffer(0)', asan: 'heap-buffer-overflow' },
	bug_oob_write: { race: 'write out of bounds: 1 bytes past the end of buffer(1)', asan: 'heap-buffer-overflow' },
	bug_tg_overflow: { race: 'write out of bounds', asan: 'index 127 out of bounds' },
	bug_two_groups_one_output: { plain: 'another result', race: 'write-write race' },
	bug_divergent_barrier: { plain: 'threadgroup_barrier not reached by every thread at mistakes.metal: line' },
	bug_early_return: { plain: 'threadgroup_barrier not reached by every thread at mistakes.metal: line' },
	bug_tg_32k: { plain: 'more than 32 KiB of threadgroup memory' },
	bug_stack: { asan: 'index 4 out of bounds' },
	bug_uninit_local: { msan: 'use-of-uninitialized-value' },
	bug_misaligned: { asan: 'misaligned address' },
	bug_shift: { asan: 'shift exponent 512 is too large' },
	bug_shuffle_xor_inactive: { plain: 'reads from an inactive or out-of-range lane' },
	bug_shuffle_inactive: { plain: 'reads from an inactive or out-of-range lane' },
};
/** For each mistake in host code: what must be reported, and the mode where not every mode notices it. */
const hostMistakes: Record<string, { mode?: Mode; message: string }> = {
	host_bug_buffer_not_bound: { message: 'kernel add_f32: buffer 1 is not bound' },
	host_bug_offset_past_the_end: { message: 'a buffer offset past the end' },
	host_bug_kernel_reads_past_the_view: {
		mode: 'race',
		message: 'read out of bounds: 1 bytes past the end of buffer(1)',
	},
	host_bug_offset_not_aligned: { message: 'the offset of buffer 1 is not a multiple' },
	host_bug_no_barrier: { mode: 'race', message: 'race' },
	host_bug_misspelt_selector: { message: 'newComandQueue called as @@:, declared as (no such method)' },
	host_bug_int_instead_of_nsuinteger: { message: 'called as @@:iQ, declared as @@:QQ' },
	host_bug_unaligned_no_copy_buffer: { message: 'must be multiples of the page size' },
	host_bug_no_threadgroup_memory_length: { message: 'threadgroup memory 0 has no length' },
	host_bug_constant_of_another_type: { message: 'function constant FC_NR is a uint, set as another type' },
	host_bug_over_release: { message: 'a message to a freed MTLDevice: release' },
	host_bug_buffer_freed_in_flight: { message: 'buffer 1 was freed before the command buffer ran' },
	host_bug_result_read_before_wait: { message: 'y[1]: 1 instead of 2' },
	host_bug_later_round_read: { message: 'y[1]: 2 instead of 3' },
	host_bug_other_text: { message: 'is not the text these kernels were compiled from' },
};

describe('kernels and host code', needs(clang), () => {
	let programs: string;
	const run = (mode: Mode, program: string, ...tests: string[]) =>
		runProgram(path.join(programs, mode, program), tests);
	const list = async (program: string, wrong: boolean) => {
		const names = (await run('plain', program, '--list')).output.trim().split('\n');
		return names.filter((name) => name.includes('bug_') === wrong);
	};

	beforeAll(async () => {
		programs = await buildMetalTests({ programs: ['seeded_tests', 'seeded_host_tests'] });
	});

	test('every mistake has its line here', async () => {
		expect((await list('seeded_tests', true)).sort()).toEqual(Object.keys(mistakes).sort());
		expect((await list('seeded_host_tests', true)).sort()).toEqual(Object.keys(hostMistakes).sort());
	});

	test.each(modes)('correct kernels raise no alarm in mode %s', async (mode) => {
		expect(await run(mode, 'seeded_tests', ...(await list('seeded_tests', false)))).toMatchObject({ ok: true });
	});

	test.each(modes.filter((mode) => mode !== 'msan'))('correct host code raises no alarm in mode %s', async (mode) => {
		// Each test has a process of its own, because some of them change what the fake system has.
		for (const name of await list('seeded_host_tests', false))
			expect(await run(mode, 'seeded_host_tests', name)).toMatchObject({ ok: true });
	});

	const cases = Object.entries(mistakes).flatMap(([name, expected]) =>
		Object.entries(expected).map(([mode, message]) => [name, mode as Mode, message] as const),
	);
	test.each(cases)('%s is caught in mode %s: %s', async (name, mode, message) => {
		const { ok, output } = await run(mode, 'seeded_tests', name);
		expect(ok).toBe(false);
		expect(output).toContain(message);
	});

	test.each(Object.entries(hostMistakes))('%s is caught', async (name, { mode = 'plain', message }) => {
		const { ok, output } = await run(mode, 'seeded_host_tests', name);
		expect(ok).toBe(false);
		expect(output).toContain(message);
	});
});

describe('the validity check', needs(clang), () => {
	const samples = readdirSync(invalid).filter((file) => file.endsWith('.metal'));
	const check = (file: string) => checkMetal(expandMetalSource(file), path.basename(file));

	test.each(samples.filter((file) => !file.startsWith('00')))('%s is rejected, with its position', async (file) => {
		const problems = await check(path.join(invalid, file));
		expect(problems.join('\n')).toMatch(new RegExp(`^${file.replace('.', '\\.')}:\\d+(:\\d+)?: error: `, 'm'));
	});

	test.each([path.join(invalid, '00_good.metal'), path.join(seeded, 'correct.metal')])(
		'no false alarm: %s',
		async (file) => expect(await check(file)).toEqual([]),
	);

	test('of the kernels with mistakes, one is told by its text', async () => {
		expect(await check(path.join(seeded, 'mistakes.metal'))).toEqual([
			expect.stringMatching(/^mistakes\.metal:\d+:\d+: error: variable 's' is used uninitialized/),
		]);
	});

	const kernels = metalSources();
	test.each(kernels)("the addon's $name is valid MSL", async ({ name, text }) => {
		expect(await checkMetal(text, name)).toEqual([]);
	});
});

describe('what is tested is what is embedded', () => {
	test('includes are expanded once, and positions stay', () => {
		const text = expandMetalSource(path.join(seeded, 'includes', 'outer.metal'));
		expect(text.match(/INNER/g)).toHaveLength(1);
		const lines = text.split('\n');
		const marker = lines.indexOf('#line 3 "outer.metal"');
		const original = readFileSync(path.join(seeded, 'includes', 'outer.metal'), 'utf8').split('\n');
		expect(lines.slice(marker + 1)).toEqual(['', ...original.slice(3)]);
	});

	test('the embedded table has the text byte for byte', () => {
		const text = 'kernel void k() { /* "\\ ??/ é */ }\n';
		const code = embedMetalSources(path.join(root, 'dist', 'a.cpp'), [{ name: 'k.metal', text }]);
		const bytes = /text_0\[\] = \{([\d,]+)\}/.exec(code)![1]!.split(',').map(Number);
		expect(Buffer.from(bytes).toString()).toBe(`${text}\0`);
		expect(code).toContain(`{"k.metal", reinterpret_cast<const char*>(text_0), ${Buffer.byteLength(text)}}`);
	});

	test('generated code names the hash of the text it was made from', needs(clang), () => {
		const text = '#include <metal_stdlib>\nkernel void k(device float* x [[buffer(0)]]) { x[0] = 1; }\n';
		expect(generate(text, 'k.metal')).toContain(`msl_source("k.metal", ${sourceHash(text)})`);
		expect(sourceHash(text)).not.toBe(sourceHash(`${text} `));
	});

	test('the addon has the text of every kernel file', async () => {
		await buildNative();
		const addon = readFileSync(path.join(root, 'dist', 'native', 'hearth.node'));
		for (const { name, text } of metalSources()) expect(addon.includes(Buffer.from(`${text}\0`)), name).toBe(true);
	});
});
