// Files that are no model or a damaged one. Each gives a clear line that names the file and the field; nothing crashes,
// and nothing is left behind.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type GgufValue, writeGguf } from '../../engine/gguf/writer';
import type { ModelShape } from '../../engine/synth/architecture';
import { loadNative } from '../../native/index';
import { runChild } from '../support/child';
import { type Field, headerFields } from '../support/gguf-fields';
import { makeModel, temporaryFolder } from '../support/models';
import { needs, notRoot, unix } from '../support/needs';
import type { Damage, Outcome, Usage } from '../support/open-damaged';

const folder = temporaryFolder();
const native = loadNative();
const scratch = path.join(folder, 'damaged.gguf');
const small: Partial<ModelShape> = {
	...{ layers: 1, embedding: 32, feedForward: 32, experts: 2, expertsUsed: 1 },
	...{ heads: 2, headsKv: 1, headLength: 16 },
};
let file: string;
let original: Buffer;
let fields: Field[];

beforeAll(async () => {
	file = await makeModel(folder, 'small', small);
	original = readFileSync(file);
	fields = headerFields(original);
});

const find = (owner: string, role: string) => {
	const field = fields.find((candidate) => candidate.owner === owner && candidate.role === role);
	if (!field) throw new Error(`the model has no ${role} of ${owner}`);
	return field;
};

/** Seeded random numbers (Marsaglia's xorshift32). */
function random(seed: number): (below: number) => number {
	let state = seed * 2654435761 || 1;
	return (below) => {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		return (state >>> 0) % below;
	};
}
const randomHex = (next: (below: number) => number, bytes: number) =>
	Buffer.from(Array.from({ length: bytes }, () => next(256))).toString('hex');

/** Opens each variant of `source` in one child process, in order. */
async function openAll(damages: Damage[], repeat = 1, source = file): Promise<{ outcomes: Outcome[]; usage: Usage }> {
	const child = await runChild('open-damaged.ts', [source, scratch, String(repeat)], JSON.stringify(damages));
	const lines = child.stdout.trim().split('\n');
	if (child.code !== 0 || lines.length !== damages.length + 1) {
		const culprit = JSON.stringify(damages[lines.length - 1]);
		expect.fail(
			`the process ended with ${child.signal ?? child.code} at variant ${lines.length - 1}, ${culprit}: ${child.stderr}`,
		);
	}
	const outcomes = lines.slice(0, -1).map((line) => JSON.parse(line) as Outcome);
	return { outcomes, usage: JSON.parse(lines.at(-1)!) as Usage };
}

/** Checks that a rejection is one line of readable text that begins with the file and its fault. */
function expectClear(message: string, context: string): void {
	expect(message, context).toContain(scratch);
	// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
	expect(message, context).not.toMatch(/[\x00-\x1f\x7f]/);
	expect(message.length, context).toBeGreaterThan(scratch.length + ' is empty'.length - 1);
	expect(message.length, context).toBeLessThan(600);
}

describe('each field of the header', () => {
	test('cut off there or in its middle: rejected, with the field named', async () => {
		const cases = fields.flatMap((field) =>
			[field.offset, field.offset + (field.bytes >> 1)].map((length) => ({ field, length })),
		);
		const { outcomes } = await openAll(cases.map(({ length }) => ({ patches: [], length })));
		for (const [i, { header, model }] of outcomes.entries()) {
			const { field, length } = cases[i]!;
			const context = `${field.owner}, ${field.role}, cut at ${length}: ${header}`;
			if (header === null) return expect.fail(`accepted: ${context}`);
			expect(model, context).toBe(header);
			expectClear(header, context);
			// An entry cannot be named before its name is read.
			const readable = field.owner !== 'header' && !/^(key|name)/.test(field.role);
			const counted = /claims \d+ (tensors|metadata entries), more than it can hold/.test(header);
			if (readable && !counted) expect(header, context).toContain(field.owner);
		}
	});

	test.each([
		['zeros', (bytes: number) => '00'.repeat(bytes)],
		['ones', (bytes: number) => 'ff'.repeat(bytes)],
		['the largest positive number', (bytes: number) => `${'ff'.repeat(bytes - 1)}7f`],
		['one', (bytes: number) => `01${'00'.repeat(bytes - 1)}`],
		['random bytes', (bytes: number, seed: number) => randomHex(random(seed), bytes)],
		['other random bytes', (bytes: number, seed: number) => randomHex(random(seed + 100_000), bytes)],
	])('replaced by %s: rejected clearly, or harmless', async (_name, make) => {
		const damages = fields.map((field, i) => ({
			patches: [{ offset: field.offset, hex: make(field.bytes, i + 1) }],
		}));
		const { outcomes } = await openAll(damages);
		let rejected = 0;
		for (const [i, { header, model, step }] of outcomes.entries()) {
			const field = fields[i]!;
			const context = `${field.owner}, ${field.role}: ${header ?? model ?? step}`;
			if (header !== null) {
				expectClear(header, context);
				expect(model, context).toBe(header);
			}
			if (model !== null) {
				expectClear(model, context);
				rejected++;
			}
			expect(step, context).toBeNull();
		}
		expect(rejected).toBeGreaterThan(fields.length / 3);
	});

	// The damage of these fields cannot be mistaken for anything else, so the message must name them.
	test.each<[owner: string, role: string, hex: string, message: RegExp]>([
		['header', 'magic', '47474d4c', /is not a GGUF file/],
		['header', 'version', '01000000', /GGUF version 1; versions 2 and 3 are supported/],
		['header', 'version', '00000003', /big-endian/],
		['header', 'tensor count', 'ffffffffffffff00', /claims \d+ tensors/],
		['header', 'metadata count', 'ffffffffffffff00', /claims \d+ metadata entries/],
		['general.architecture', 'value type', '0d000000', /general\.architecture.*type 13/],
		['general.architecture', 'value type', '04000000', /general\.architecture must be a string|damaged/],
		['general.architecture', 'string length', 'ffffffffffffff7f', /general\.architecture/],
		['tokenizer.ggml.tokens', 'element type', '09000000', /tokenizer\.ggml\.tokens.*type 9/],
		['tokenizer.ggml.tokens', 'element count', 'ffffffffffffff7f', /tokenizer\.ggml\.tokens.*elements/],
		['gpt-oss.block_count', 'value', '00000000', /gpt-oss\.block_count is 0/],
		['gpt-oss.block_count', 'value', '02000000', /lacks the tensor blk\.1\./],
		['gpt-oss.embedding_length', 'value', 'ffffffff', /gpt-oss\.embedding_length is 4294967295/],
		['gpt-oss.embedding_length', 'value', '40000000', /token_embd\.weight has the shape/],
		['gpt-oss.attention.head_count', 'value', '00000000', /gpt-oss\.attention\.head_count is 0/],
		['gpt-oss.attention.head_count_kv', 'value', '03000000', /2 query heads cannot share 3/],
		['gpt-oss.attention.key_length', 'value', '0c000000', /differ in length/],
		['gpt-oss.expert_used_count', 'value', '03000000', /3 of 2 experts/],
		['gpt-oss.attention.sliding_window', 'value', '00000000', /gpt-oss\.attention\.sliding_window is 0/],
		['gpt-oss.attention.layer_norm_rms_epsilon', 'value', '0000c07f', /RMS epsilon/],
		['gpt-oss.rope.freq_base', 'value', '000080bf', /RoPE base/],
		['gpt-oss.rope.scaling.factor', 'value', '0000807f', /factor/],
		['gpt-oss.rope.scaling.type', 'string', '6c6f6e67', /RoPE scaling "long" is not supported/],
		['blk.0.attn_q.weight', 'dimension count', '05000000', /blk\.0\.attn_q\.weight has 5 dimensions/],
		['blk.0.attn_q.weight', 'dimension 0', '0000000000000000', /blk\.0\.attn_q\.weight has an impossible shape/],
		['blk.0.attn_q.weight', 'dimension 1', '2100000000000000', /blk\.0\.attn_q\.weight/],
		['blk.0.attn_q.weight', 'type', '0c000000', /blk\.0\.attn_q\.weight is Q4_K, but its rows of 32/],
		['blk.0.attn_q.weight', 'type', '63000000', /blk\.0\.attn_q\.weight has the unknown type 99/],
		['blk.0.attn_q.weight', 'offset', '0100000000000000', /blk\.0\.attn_q\.weight is not aligned/],
		['blk.0.attn_q.weight', 'offset', '00ffffffffffff7f', /truncated: tensor blk\.0\.attn_q\.weight/],
		['blk.0.attn_norm.weight', 'type', '1a000000', /blk\.0\.attn_norm\.weight has the type I32/],
	])('%s, %s = %s', async (owner, role, hex, message) => {
		const { offset } = find(owner, role);
		const { outcomes } = await openAll([{ patches: [{ offset, hex }] }]);
		expect(outcomes[0]!.model).toMatch(message);
		expectClear(outcomes[0]!.model!, `${owner}, ${role}`);
	});
});

describe('models that are not for us', () => {
	test('another architecture', async () => {
		const { offset } = find('general.architecture', 'string');
		const { outcomes } = await openAll([{ patches: [{ offset, hex: Buffer.from('mistral').toString('hex') }] }]);
		expect(outcomes[0]!.header).toBeNull();
		expect(outcomes[0]!.model).toBe(
			`${scratch} has the architecture "mistral"; this version of Hearth runs models of the architectures gpt-oss, llama, qwen2, qwen3, qwen3moe`,
		);
	});

	test('one part of a split model', async () => {
		const target = path.join(folder, 'model-00001-of-00002.gguf');
		const metadata = new Map<string, GgufValue>([
			['general.architecture', { type: 'string', value: 'gpt-oss' }],
			['split.count', { type: 'u32', value: 2 }],
		]);
		await writeGguf(target, metadata, []);
		await expect(native.openModel(target)).rejects.toThrow(/00001-of-00002\.gguf is one part of a split model; merge/);
	});

	test('Q2_K weights, as other quantisations of the model have them', async () => {
		const wide = await makeModel(folder, 'wide', { ...small, embedding: 256 });
		const bytes = readFileSync(wide);
		const type = headerFields(bytes).find(
			({ owner, role }) => owner === 'blk.0.ffn_up_exps.weight' && role === 'type',
		)!;
		bytes.writeUInt32LE(10, type.offset);
		writeFileSync(scratch, Buffer.concat([bytes, Buffer.alloc(bytes.length)]));
		await expect(native.openModel(scratch)).rejects.toThrow(
			/blk\.0\.ffn_up_exps\.weight has the type Q2_K, which .* use a file with MXFP4, Q4_0, .*Q6_K, F16, BF16 or F32 weights/,
		);
	});

	test('each tensor missing, or of another shape: named', async () => {
		const names = fields.filter((field) => field.role === 'name');
		expect(names).toHaveLength(22);
		// A tensor under another name counts as missing. The embedding's rows are the vocabulary, and only the output
		// matrix can contradict them, so the embedding gets wrong columns instead.
		const renamed = names.map(({ offset }) => ({ patches: [{ offset, hex: Buffer.from('X').toString('hex') }] }));
		const reshaped = names.map(({ owner }) => {
			const dimensions = fields.filter((field) => field.owner === owner && /^dimension \d/.test(field.role));
			const { offset } = dimensions.at(owner === 'token_embd.weight' ? 0 : -1)!;
			const size = Buffer.alloc(8);
			size.writeBigUInt64LE(original.readBigUInt64LE(offset) + 32n);
			return { patches: [{ offset, hex: size.toString('hex') }], length: 2 * original.length };
		});
		const { outcomes } = await openAll([...renamed, ...reshaped]);
		for (const [i, { owner }] of names.entries()) {
			expect(outcomes[i]!.model).toMatch(`${scratch} lacks the tensor ${owner}`);
			expect(outcomes[names.length + i]!.model).toContain(`${scratch}: tensor ${owner} has the shape`);
		}
	});

	test('each tensor of a type without kernels: named', async () => {
		const types = fields.filter((field) => field.role === 'type');
		// I8 has one byte an element, so no row is too short for it. The file gets longer so that the tensors at its end
		// fit.
		const damages = types.map(({ offset }) => ({
			patches: [{ offset, hex: '18000000' }],
			length: 2 * original.length,
		}));
		const { outcomes } = await openAll(damages);
		for (const [i, { owner }] of types.entries()) {
			expect(outcomes[i]!.header).toBeNull();
			expect(outcomes[i]!.model).toMatch(`tensor ${owner} has the type I8`);
		}
	});
});

describe('other architectures and tensor types', () => {
	const wide = { layers: 1, embedding: 256, feedForward: 256, heads: 4, headsKv: 2, headLength: 64 } as const;
	const others = {
		llama: {
			shape: { ...wide, architecture: 'llama', ropeScaling: 'llama3', attentionType: 'Q6_K', feedForwardType: 'Q5_0' },
			optional: ['output.weight', 'rope_freqs.weight'],
			named: [
				['llama.feed_forward_length', 'value', '00000000', /llama\.feed_forward_length is 0/],
				['llama.rope.dimension_count', 'value', '05000000', /5 dimensions of a head of 64 cannot be rotated/],
				['llama.rope.dimension_count', 'value', '80000000', /128 dimensions of a head of 64 cannot be rotated/],
				['blk.0.ffn_up.weight', 'type', '0a000000', /blk\.0\.ffn_up\.weight has the type Q2_K/],
				['blk.0.ffn_norm.weight', 'type', '0c000000', /blk\.0\.ffn_norm\.weight has the type Q4_K; norms/],
				['rope_freqs.weight', 'data', '00000000', /number 0 of tensor rope_freqs\.weight is 0/],
				['rope_freqs.weight', 'data', '0000c07f', /number 0 of tensor rope_freqs\.weight is nan/],
			],
		},
		qwen2: {
			shape: { ...wide, architecture: 'qwen2', ropeScaling: 'yarn', attentionType: 'Q5_K', feedForwardType: 'Q5_1' },
			optional: ['output.weight'],
			named: [
				['qwen2.rope.scaling.factor', 'value', '000000bf', /factor -0\.5.* out of range/],
				[
					'qwen2.rope.scaling.type',
					'string',
					'6c6f6e67',
					/RoPE scaling "long" is not supported \(none, linear and yarn are\)/,
				],
				['blk.0.attn_k.bias', 'dimension 0', '8100000000000000', /blk\.0\.attn_k\.bias has the shape \[129\]/],
			],
		},
		qwen3moe: {
			shape: {
				...wide,
				architecture: 'qwen3moe',
				experts: 2,
				expertsUsed: 1,
				attentionType: 'Q4_0',
				feedForwardType: 'Q4_K',
			},
			optional: ['output.weight'],
			named: [
				['qwen3moe.expert_count', 'value', '00000000', /qwen3moe\.expert_count is 0/],
				[
					'blk.0.attn_q_norm.weight',
					'dimension 0',
					'2000000000000000',
					/blk\.0\.attn_q_norm\.weight has the shape \[32\]/,
				],
			],
		},
	} satisfies Record<
		string,
		{ shape: Partial<ModelShape>; optional: string[]; named: [string, string, string, RegExp][] }
	>;

	test.each(Object.entries(others))('%s: fields and tensors are named, noise is no crash', async (name, other) => {
		const source = await makeModel(folder, name, other.shape);
		const bytes = readFileSync(source);
		const own = headerFields(bytes);
		const dataStart = Math.ceil((own.at(-1)!.offset + 8) / 32) * 32;
		const at = (owner: string, role: string) => {
			const field = own.find((one) => one.owner === owner && one.role === (role === 'data' ? 'offset' : role))!;
			return role === 'data' ? dataStart + Number(bytes.readBigUInt64LE(field.offset)) : field.offset;
		};
		const named = other.named.map(([owner, role, hex]) => ({ patches: [{ offset: at(owner, role), hex }] }));
		const names = own.filter(({ role }) => role === 'name');
		const renamed = names.map(({ offset }) => ({ patches: [{ offset, hex: Buffer.from('X').toString('hex') }] }));
		const noise = [1, 2].map((seed) => ({
			patches: [{ offset: dataStart, hex: randomHex(random(seed), bytes.length - dataStart) }],
		}));
		const { outcomes } = await openAll([...named, ...renamed, ...noise], 1, source);
		for (const [i, [owner, role, , message]] of other.named.entries()) {
			expect(outcomes[i]!.model).toMatch(message);
			expectClear(outcomes[i]!.model!, `${owner}, ${role}`);
		}
		for (const [i, { owner }] of names.entries()) {
			const { model, step } = outcomes[named.length + i]!;
			if (other.optional.includes(owner)) expect([model, step]).toEqual([null, null]);
			else expect(model).toContain(`${scratch} lacks the tensor ${owner}`);
		}
		for (const { model, step } of outcomes.slice(-noise.length)) {
			// RoPE's divisors are checked when the file is opened. Noise there counts as damage.
			if (name === 'llama') expect(model).toMatch(/rope_freqs\.weight/);
			else expect([model, step]).toEqual([null, null]);
		}
	});
});

describe('files that are no GGUF', () => {
	const rejection = async (target: string) => {
		const messages = [await native.readGguf(target).catch(String), await native.openModel(target).catch(String)];
		expect(messages[1]).toBe(messages[0]);
		return messages[0] as string;
	};

	test('a missing one', async () => {
		expect(await rejection(path.join(folder, 'none.gguf'))).toMatch(/^Error: cannot open .*none\.gguf: No such file/);
	});

	test('a folder', async () => {
		const target = path.join(folder, 'folder.gguf');
		mkdirSync(target);
		expect(await rejection(target)).toMatch(/^Error: .*folder\.gguf is not a file/);
	});

	test('an empty one', async () => {
		const target = path.join(folder, 'empty.gguf');
		writeFileSync(target, '');
		expect(await rejection(target)).toBe(`Error: ${target} is empty`);
	});

	test('another kind of file', async () => {
		const target = path.join(folder, 'text.gguf');
		writeFileSync(target, 'version https://git-lfs.github.com/spec/v1\n');
		expect(await rejection(target)).toMatch(/text\.gguf is not a GGUF file/);
	});

	test('a named pipe, without waiting for its other end', needs(unix), async () => {
		const target = path.join(folder, 'pipe.gguf');
		execFileSync('mkfifo', [target]);
		expect(await rejection(target)).toMatch(/pipe\.gguf is not a file/);
	});

	test('one that may not be read', needs(unix, notRoot), async () => {
		const target = path.join(folder, 'secret.gguf');
		writeFileSync(target, original);
		chmodSync(target, 0);
		expect(await rejection(target)).toMatch(/cannot open .*secret\.gguf: Permission denied/);
	});

	test('a name of no sensible length, and one with a line break', async () => {
		expect(await rejection(`/${'x'.repeat(5000)}`)).toMatch(/cannot open .*: File name too long/);
		expect(await rejection(path.join(folder, 'a\nb'))).toMatch(/No such file/);
	});
});

describe('random damage', () => {
	test('3,000 mutations of the header: rejected clearly, or a model that runs', async () => {
		const headerBytes = fields.at(-1)!.offset + 8;
		const interesting = [
			'00',
			'ff',
			'7f',
			'80',
			'01',
			'09',
			'08',
			'ffffffff',
			'ffffff7f',
			'00000080',
			'ffffffffffffffff',
			'00000000',
		];
		const damages = Array.from({ length: 3000 }, (_, seed): Damage => {
			const next = random(seed + 1);
			const patches = Array.from({ length: 1 + next(4) }, () => {
				// Half of the hits go to the start of a field, because most bytes of a header are names and tokens.
				const offset = next(2) ? fields[next(fields.length)]!.offset : next(headerBytes);
				return { offset, hex: next(3) ? interesting[next(interesting.length)]! : randomHex(next, 1 + next(8)) };
			});
			return { patches, ...(next(8) === 0 ? { length: next(original.length) } : {}) };
		});
		const { outcomes } = await openAll(damages);
		for (const [i, { header, model, step }] of outcomes.entries()) {
			const context = JSON.stringify(damages[i]);
			if (header !== null) expectClear(header, context);
			if (model !== null) expectClear(model, context);
			expect(step, context).toBeNull();
		}
	});

	test('weights of random bytes, NaN and infinities among them: a step, no crash', async () => {
		const dataStart = Math.ceil((fields.at(-1)!.offset + 8) / 32) * 32;
		const noise = (seed: number) => randomHex(random(seed), original.length - dataStart);
		const fill = (hex: string) => hex.repeat((original.length - dataStart) / (hex.length / 2));
		const damages = [1, 2, 3, 4].map((seed) => ({ patches: [{ offset: dataStart, hex: noise(seed) }] }));
		damages.push(
			{ patches: [{ offset: dataStart, hex: fill('ff') }] },
			{ patches: [{ offset: dataStart, hex: fill('00') }] },
		);
		const { outcomes } = await openAll(damages);
		for (const outcome of outcomes) expect(outcome).toEqual({ header: null, model: null, step: null });
	});

	test('opened 2,000 times: no memory, file, mapping or thread is kept', async () => {
		const damages = fields
			.filter((_, i) => i % Math.ceil(fields.length / 60) === 0)
			.flatMap((field) => [
				{ patches: [], length: field.offset },
				{ patches: [{ offset: field.offset, hex: 'ff'.repeat(field.bytes) }] },
			]);
		const { usage } = await openAll(damages, Math.ceil(2000 / damages.length) + 1);
		// Fewer open files are no leak: the files that Node.js itself keeps open come and go.
		expect(usage.last.files).toBeLessThanOrEqual(usage.first.files);
		expect(usage.last.mappings).toBe(0);
		expect(usage.last.threads).toBeLessThanOrEqual(usage.first.threads);
		// A parsed header takes about 300 kB. If 2,000 of them were kept, they would take 600 MB.
		expect(usage.last.residentBytes - usage.first.residentBytes).toBeLessThan(32e6);
	});
});
