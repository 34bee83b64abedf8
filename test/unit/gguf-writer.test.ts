import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { optionalIntegers, optionalNumber, requireString, requireStrings } from '../../engine/gguf/metadata';
import { stringTable } from '../../engine/gguf/string-table';
import { type GgufTensor, type GgufValue, tensorBytes, writeGguf } from '../../engine/gguf/writer';
import { loadNative } from '../../native/index';
import { temporaryFolder } from '../support/models';

const folder = temporaryFolder();

const filled = (name: string, type: GgufTensor['type'], shape: number[], byte: number): GgufTensor => ({
	name,
	type,
	shape,
	*chunks() {
		const bytes = tensorBytes({ name, type, shape });
		for (let at = 0; at < bytes; at += 50) yield new Uint8Array(Math.min(50, bytes - at)).fill(byte);
	},
});

const metadata = new Map<string, GgufValue>([
	['general.architecture', { type: 'string', value: 'test ⚙' }],
	['a.u32', { type: 'u32', value: 4_294_967_295 }],
	['a.i32', { type: 'i32', value: -5 }],
	['a.f32', { type: 'f32', value: 1.5 }],
	['a.u64', { type: 'u64', value: 2 ** 40 }],
	['a.bool', { type: 'bool', value: true }],
	['a.strings', { type: 'strings', value: stringTable(['', 'x', 'yz'.repeat(500_000)]) }],
	['a.i32s', { type: 'i32s', value: Int32Array.of(1, -2, 3) }],
]);

const tensors = [
	filled('first', 'MXFP4', [64, 3], 1),
	filled('second', 'F32', [5], 2),
	filled('third', 'Q8_0', [32, 2, 2], 3),
	filled('fourth', 'F16', [7, 3], 4),
	filled('last', 'BF16', [1], 5),
];

describe('a written GGUF', () => {
	it('reads back as it was given', async () => {
		const file = path.join(folder, 'all.gguf');
		const size = await writeGguf(file, metadata, tensors);
		const header = await loadNative().readGguf(file);
		expect(header.version).toBe(3);
		expect(header.fileBytes).toBe(size);
		expect(requireString(header, 'general.architecture')).toBe('test ⚙');
		expect(optionalNumber(header, 'a.u32')).toBe(4_294_967_295);
		expect(optionalNumber(header, 'a.i32')).toBe(-5);
		expect(optionalNumber(header, 'a.f32')).toBe(1.5);
		expect(optionalNumber(header, 'a.u64')).toBe(2 ** 40);
		expect(header.metadata.get('a.bool')).toBe(true);
		expect([...optionalIntegers(header, 'a.i32s')!]).toEqual([1, -2, 3]);
		const table = requireStrings(header, 'a.strings');
		expect([...table.offsets]).toEqual([0, 0, 1, 1_000_001]);
		expect(table.bytes[1_000_000]).toBe('z'.charCodeAt(0));

		expect(header.tensors.map(({ name, type, shape }) => ({ name, type, shape }))).toEqual(
			tensors.map(({ name, type, shape }) => ({ name, type, shape })),
		);
		const bytes = readFileSync(file);
		for (const [i, tensor] of header.tensors.entries()) {
			expect(tensor.offset % 32).toBe(0);
			expect(tensor.bytes).toBe(tensorBytes(tensors[i]!));
			expect(new Set(bytes.subarray(tensor.offset, tensor.offset + tensor.bytes))).toEqual(new Set([i + 1]));
		}
	});

	it('is read with its types', async () => {
		const header = await loadNative().readGguf(path.join(folder, 'all.gguf'));
		expect(() => requireString(header, 'a.u32')).toThrow('metadata a.u32 should be a string but is a number');
		expect(() => requireString(header, 'a.none')).toThrow('metadata a.none should be a string but is missing');
		expect(() => optionalNumber(header, 'a.strings')).toThrow('should be a number but is an array of strings');
		expect(() => requireStrings(header, 'a.i32s')).toThrow('should be an array of strings but is an array');
		expect(() => optionalIntegers(header, 'a.bool')).toThrow('should be an array of integers but is a boolean');
		expect(optionalNumber(header, 'a.none')).toBeUndefined();
	});
});

describe('writing', () => {
	it('reports progress up to the whole size', async () => {
		const seen: number[] = [];
		const size = await writeGguf(path.join(folder, 'progress.gguf'), metadata, tensors, {
			onProgress: ({ writtenBytes, totalBytes }) => {
				expect(writtenBytes).toBeLessThanOrEqual(totalBytes);
				seen.push(writtenBytes);
			},
		});
		expect(seen).toEqual([...seen].sort((a, b) => a - b));
		expect(seen.at(-1)).toBe(size);
	});

	it('keeps the old file and leaves nothing behind when a producer fails', async () => {
		const file = path.join(folder, 'kept.gguf');
		await writeGguf(file, metadata, tensors);
		const before = readFileSync(file);
		const failing: GgufTensor = {
			...tensors[0]!,
			*chunks() {
				yield new Uint8Array(10);
				throw new Error('no more');
			},
		};
		await expect(writeGguf(file, metadata, [failing])).rejects.toThrow('no more');
		expect(readFileSync(file).equals(before)).toBe(true);
		expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
	});

	it('ends when aborted', async () => {
		const file = path.join(folder, 'aborted.gguf');
		const controller = new AbortController();
		const writing = writeGguf(file, metadata, tensors, {
			signal: controller.signal,
			onProgress: () => controller.abort(new Error('stopped')),
		});
		await expect(writing).rejects.toThrow('stopped');
		expect(existsSync(file)).toBe(false);
		expect(readdirSync(folder).filter((name) => name.includes('aborted'))).toEqual([]);
	});

	it('says how much room a file needs that the disk has not', async () => {
		const file = path.join(folder, 'huge.gguf');
		const huge = filled('huge', 'F32', [2 ** 24, 2 ** 24], 0);
		await expect(writeGguf(file, metadata, [huge])).rejects.toThrow(
			/^the disk is full: .*huge\.gguf needs 1125899\.91 GB and/,
		);
		expect(readdirSync(folder).filter((name) => name.includes('huge'))).toEqual([]);
	});

	it('says that the disk is full when it fills up on the way', async () => {
		const file = path.join(folder, 'full.gguf');
		const full: GgufTensor = {
			...tensors[1]!,
			chunks() {
				throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
			},
		};
		await expect(writeGguf(file, metadata, [full])).rejects.toThrow(
			/^the disk is full: .*full\.gguf needs 0\.00 GB; make room/,
		);
		expect(readdirSync(folder).filter((name) => name.includes('full.gguf'))).toEqual([]);
	});

	it('names a folder that does not exist', async () => {
		const file = path.join(folder, 'none', 'x.gguf');
		await expect(writeGguf(file, metadata, tensors)).rejects.toThrow(`cannot write ${file}: there is no folder`);
	});

	it('refuses rows that are no whole number of blocks, and producers that make too little', async () => {
		const file = path.join(folder, 'bad.gguf');
		await expect(writeGguf(file, metadata, [{ ...tensors[0]!, shape: [40, 2] }])).rejects.toThrow(
			'first: rows of 40 values cannot be MXFP4, which needs a multiple of 32',
		);
		const short: GgufTensor = { ...tensors[1]!, chunks: () => [new Uint8Array(4)] };
		await expect(writeGguf(file, metadata, [short])).rejects.toThrow(
			'second: its producer made 4 bytes where 20 belong',
		);
	});
});
