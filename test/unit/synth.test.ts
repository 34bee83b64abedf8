import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MatrixType, TensorType } from '../../engine/gguf/tensor-types';
import { tensorBytes } from '../../engine/gguf/writer';
import { checkShape, planTensors } from '../../engine/synth/architecture';
import { fromHalf, toBfloat16, toHalf } from '../../engine/synth/floats';
import { presets } from '../../engine/synth/presets';
import { synthesize } from '../../engine/synth/synthesize';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';
import { loadNative } from '../../native/index';
import { temporaryFolder } from '../support/models';

const folder = temporaryFolder();
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('a preset', () => {
	it('20b has every tensor of the published file', () => {
		const plans = planTensors(presets['20b'].shape, 201_088);
		expect(plans).toHaveLength(459);
		const count = (type: string) => plans.filter((plan) => plan.type === type).length;
		expect([count('F32'), count('Q8_0'), count('MXFP4')]).toEqual([289, 98, 72]);
		const shapeOf = (name: string) => plans.find((plan) => plan.name === name)?.shape;
		expect(shapeOf('token_embd.weight')).toEqual([2880, 201_088]);
		expect(shapeOf('output.weight')).toEqual([2880, 201_088]);
		expect(shapeOf('blk.23.attn_q.weight')).toEqual([2880, 4096]);
		expect(shapeOf('blk.23.attn_v.weight')).toEqual([2880, 512]);
		expect(shapeOf('blk.23.attn_output.weight')).toEqual([4096, 2880]);
		expect(shapeOf('blk.23.attn_sinks.weight')).toEqual([64]);
		expect(shapeOf('blk.23.ffn_gate_inp.weight')).toEqual([2880, 32]);
		expect(shapeOf('blk.23.ffn_down_exps.weight')).toEqual([2880, 2880, 32]);
		expect(shapeOf('blk.23.ffn_down_exps.bias')).toEqual([2880, 32]);
		// The published file has 12,109,566,560 bytes. What is not tensors is its header.
		const bytes = plans.reduce((sum, plan) => sum + tensorBytes(plan), 0);
		expect(12_109_566_560 - bytes).toBeGreaterThan(12e6);
		expect(12_109_566_560 - bytes).toBeLessThan(14e6);
	});

	it.each(Object.keys(presets) as (keyof typeof presets)[])('%s has sizes that can be written', (name) => {
		expect(() => checkShape(presets[name].shape)).not.toThrow();
	});
});

describe('the weights', () => {
	const write = async (name: string, seed: number, attentionType: MatrixType = 'Q8_0') => {
		const file = path.join(folder, name);
		await synthesize(file, { seed, shape: { attentionType } });
		return readFileSync(file);
	};

	it('are the same for the same seed, and others for another', async () => {
		const first = await write('a.gguf', 5);
		expect(sha256(await write('b.gguf', 5))).toBe(sha256(first));
		expect(sha256(await write('c.gguf', 6))).not.toBe(sha256(first));
		expect(sha256(await write('d.gguf', 5 + 2 ** 32))).not.toBe(sha256(first));
	});

	it('are the same on every machine', async () => {
		const sums: Partial<Record<TensorType, string>> = {};
		for (const type of ['Q8_0', 'F16', 'BF16', 'F32'] as const) {
			const bytes = await write(`sum-${type}.gguf`, 1, type);
			const { tensors } = await loadNative().readGguf(path.join(folder, `sum-${type}.gguf`));
			const sum = (name: string) => {
				const tensor = tensors.find((candidate) => candidate.name === name)!;
				return sha256(bytes.subarray(tensor.offset, tensor.offset + tensor.bytes)).slice(0, 16);
			};
			sums[type] = sum('blk.1.attn_q.weight');
			sums.MXFP4 = sum('blk.3.ffn_up_exps.weight');
		}
		expect(sums).toEqual({
			Q8_0: '1f876849df359678',
			F16: '54b1125ae93630da',
			BF16: '101fae21f83db59a',
			F32: 'b5e3e47ec74e5e9d',
			MXFP4: 'c11a19a1d20c44b4',
		});
	});

	it('have the statistics they are made for', async () => {
		const bytes = await write('statistics.gguf', 2, 'F16');
		const { tensors } = await loadNative().readGguf(path.join(folder, 'statistics.gguf'));
		const tensor = (name: string) => {
			const found = tensors.find((candidate) => candidate.name === name)!;
			return new DataView(bytes.buffer, bytes.byteOffset + found.offset, found.bytes);
		};
		const rms = (values: number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);

		const halves = tensor('blk.0.attn_q.weight');
		const attention = Array.from({ length: halves.byteLength / 2 }, (_, i) => fromHalf(halves.getUint16(2 * i, true)));
		expect(rms(attention) * Math.sqrt(96)).toBeCloseTo(1, 1);

		const nibbles = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
		const blocks = tensor('blk.0.ffn_gate_exps.weight');
		const experts: number[] = [];
		for (let at = 0; at < blocks.byteLength; at += 17) {
			const scale = 2 ** (blocks.getUint8(at) - 128);
			for (let j = 1; j <= 16; j++) {
				const byte = blocks.getUint8(at + j);
				experts.push(nibbles[byte & 15]! * scale, nibbles[byte >> 4]! * scale);
			}
		}
		// The exponent of a block is a whole number, so the result is only within a factor of 1.5.
		expect(rms(experts) * Math.sqrt(96)).toBeGreaterThan(0.66);
		expect(rms(experts) * Math.sqrt(96)).toBeLessThan(1.9);
	});

	it('leave no partial file', () => {
		expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
	});
});

describe('sizes', () => {
	it.each([
		[{ embedding: 100 }, '--embedding 100: MXFP4 needs a multiple of 32'],
		[{ feedForward: 48 }, '--ffn 48: MXFP4 needs a multiple of 32'],
		[{ heads: 5, headsKv: 2 }, '--heads 5: sharing 2 key/value heads needs a multiple of 2'],
		[{ headLength: 20 }, '--head-length 20: attention needs a multiple of 8'],
		[{ headLength: 512 }, '--head-length must be an integer from 1 to 256, not 512'],
		[{ heads: 3, headsKv: 1, headLength: 8 }, '--heads 3 × --head-length 8 = 24: Q8_0 needs a multiple of 32'],
		[{ experts: 2, expertsUsed: 3 }, '--experts-used 3 is more than --experts 2'],
		[{ experts: 513 }, '--experts must be an integer from 1 to 512, not 513'],
		[{ feedForwardType: 'Q4_K' }, '--embedding 96: Q4_K needs a multiple of 256'],
		[{ tied: true }, '--tied is not for gpt-oss'],
		[{ layers: 0 }, '--layers must be an integer from 1 to 512, not 0'],
		[{ slidingWindow: 1.5 }, '--window must be an integer from 1 to 16777216, not 1.5'],
	] as const)('that cannot be are refused: %j', async (shape, message) => {
		await expect(synthesize(path.join(folder, 'refused.gguf'), { shape })).rejects.toThrow(message);
		expect(readdirSync(folder)).not.toContain('refused.gguf');
	});

	it('of a row that is no Q8_0 are fine in other types', () => {
		expect(() =>
			checkShape({ ...presets.tiny.shape, heads: 3, headsKv: 1, headLength: 8, attentionType: 'F16' }),
		).not.toThrow();
	});
});

describe('llama.cpp', () => {
	it('loads the models and tokenizes as we do', async () => {
		// The text has no `<|end|>` and the like: llama.cpp makes special tokens of them even when it is asked for plain
		// text.
		const text = 'export function add(a: number, b: number) {\n\treturn a + b; // 12345 <|>\n}\n';
		const models: string[] = [];
		const make = async (name: string, options: Parameters<typeof synthesize>[1]) => {
			const file = path.join(folder, name);
			await synthesize(file, options);
			models.push(file);
		};
		for (const attentionType of ['Q8_0', 'F16', 'BF16', 'F32'] as const) {
			await make(`llama-${attentionType}.gguf`, { preset: 'tiny', shape: { attentionType } });
		}
		await make('llama-128.gguf', {
			shape: { experts: 128, expertsUsed: 4, layers: 3, heads: 4, headsKv: 1, headLength: 64 },
		});
		await make('llama-o200k.gguf', { vocabulary: 'o200k', shape: { embedding: 32, layers: 2 } });

		const jobs = models.map((model) => ({ model, text, count: 3 }));
		const output = execFileSync(process.execPath, ['test/support/llama-generate.mjs', JSON.stringify(jobs)]);
		const results = JSON.parse(output.toString()) as { prompt: number[]; generated: number[] }[];
		for (const [i, model] of models.entries()) {
			const tokenizer = Tokenizer.fromGguf(await loadNative().readGguf(model));
			expect(results[i]!.prompt).toEqual([...tokenizer.encode(text)]);
			expect(results[i]!.generated.length).toBeGreaterThan(0);
		}
	});
});

describe('16-bit floats', () => {
	it('round to nearest even', () => {
		for (let half = 0; half < 0x7c00; half++) {
			const value = fromHalf(half);
			expect(toHalf(value)).toBe(half);
			if (half > 0) expect(toHalf(-value)).toBe(half | 0x8000);
		}
		expect(toHalf(1 + 2 ** -11)).toBe(0x3c00);
		expect(toHalf(1 + 3 * 2 ** -11)).toBe(0x3c02);
		expect(toHalf(1 + 2 ** -11 + 2 ** -20)).toBe(0x3c01);
		expect(toHalf(65_520)).toBe(0x7c00);
		expect(toHalf(65_519)).toBe(0x7bff);
		expect(toHalf(1.5 * 2 ** -24)).toBe(2);
		expect(toHalf(2 ** -26)).toBe(0);
		expect(toBfloat16(1)).toBe(0x3f80);
		expect(toBfloat16(-1.00390625)).toBe(0xbf80);
		expect(toBfloat16(1.01171875)).toBe(0x3f82);
	});
});
