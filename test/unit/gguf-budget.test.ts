// Reading a header costs no more than a real model's header could, whatever the header says. The files here have holes
// that take no room on the disk, or are full of one thing. JavaScript's thread only copies what is wanted.
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringTable } from '../../engine/gguf/string-table';
import { type GgufValue, writeGguf } from '../../engine/gguf/writer';
import { ModelFinder } from '../../engine/models/find';
import { readHeader } from '../../engine/models/header';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import { loadNative } from '../../native/index';
import { temporaryFolder } from '../support/models';

const folder = temporaryFolder();
const native = loadNative();

const u32 = (value: number) => Buffer.of(value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24);
const u64 = (value: number) => {
	const bytes = Buffer.alloc(8);
	bytes.writeBigUInt64LE(BigInt(value));
	return bytes;
};
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const architecture = Buffer.concat([text('general.architecture'), u32(8), text('llama')]);
const array = (key: string, type: number, count: number) => Buffer.concat([text(key), u32(9), u32(type), u64(count)]);

/** Writes parts one after another. A number stands for a hole of that many bytes. */
function write(name: string, counts: { tensors?: number; entries: number }, parts: (Buffer | number)[]): string {
	const file = path.join(folder, `${name}.gguf`);
	const handle = openSync(file, 'w');
	let at = 0;
	for (const part of [Buffer.from('GGUF'), u32(3), u64(counts.tensors ?? 0), u64(counts.entries), ...parts]) {
		if (typeof part === 'number') at += part;
		else at += writeSync(handle, part, 0, part.length, at);
	}
	ftruncateSync(handle, at);
	closeSync(handle);
	return file;
}

/** Resolves to the result of reading, and how often JavaScript's thread was free meanwhile. */
async function whileRunning<T>(work: () => Promise<T>): Promise<{ result: T | Error; turns: number }> {
	let turns = 0;
	let over = false;
	const turn = () => {
		turns++;
		if (!over) setImmediate(turn);
	};
	const pending = work().catch((error: Error) => error);
	setImmediate(turn);
	const result = await pending;
	over = true;
	return { result, turns };
}

describe('a header of more than any model has', () => {
	const MORE = /header takes more than 128 MB/;
	const holes = (type: number, bytes: number, count: number, arrays: number) =>
		Array.from({ length: arrays }, (_, i) => [array(`a.${i}`, type, count), bytes * count]).flat();
	const files: [string, { tensors?: number; entries: number }, (Buffer | number)[], RegExp][] = [
		['9 arrays of 2^26 booleans', { entries: 10 }, [architecture, ...holes(7, 1, 2 ** 26, 9)], MORE],
		['9 arrays of 2^26 bytes', { entries: 10 }, [architecture, ...holes(0, 1, 2 ** 26, 9)], MORE],
		['an array of 2^27 doubles', { entries: 2 }, [architecture, ...holes(12, 8, 2 ** 27, 1)], MORE],
		['an array of 2^26 empty strings', { entries: 2 }, [architecture, ...holes(8, 8, 2 ** 26, 1)], MORE],
		['4000 arrays of 2^16 booleans', { entries: 4001 }, [architecture, ...holes(7, 1, 2 ** 16, 4000)], MORE],
		['a string of 2^30 zeros', { entries: 2 }, [architecture, text('a'), u32(8), u64(2 ** 30), 2 ** 30], MORE],
		[
			'a string of 2^24 zeros',
			{ entries: 2 },
			[architecture, text('a'), u32(8), u64(2 ** 24), 2 ** 24],
			/more than 8 MB/,
		],
		['a key of 2^24 zeros', { entries: 2 }, [architecture, u64(2 ** 24), 2 ** 24], /more than 8 MB/],
		['2^20 entries', { entries: 2 ** 20 }, [architecture, 2 ** 25], /claims 1048576 metadata entries/],
		['2^20 tensors', { tensors: 2 ** 20, entries: 1 }, [architecture, 2 ** 27], /claims 1048576 tensors/],
		['tensors without names', { tensors: 2 ** 13, entries: 1 }, [architecture, 2 ** 20], /tensor 0 has no name/],
	];

	it.each(files)('is refused: %s', async (name, counts, parts, message) => {
		const file = write(name, counts, parts);
		await expect(native.readGguf(file)).rejects.toThrow(message);
		await expect(readHeader(file)).rejects.toThrow(file);
	});

	it('is listed by what is wrong with it, on next to no disk', async () => {
		const alone = path.join(folder, 'listed');
		mkdirSync(alone);
		const written = write('listed/holes', { entries: 10 }, [architecture, ...holes(7, 1, 2 ** 26, 9)]);
		const stats = statSync(written);
		if (process.platform === 'linux') expect(stats.blocks * 512).toBeLessThan(200_000);
		expect(stats.size).toBeGreaterThan(6e8);
		const places = [{ source: 'folder' as const, folder: alone }];
		const memory = { totalBytes: 64e9, availableBytes: 32e9 };
		const found = await new ModelFinder().find({ places, settings: DEFAULT_SETTINGS, memory });
		expect(found.map(({ problem }) => problem)).toEqual([expect.stringMatching(MORE)]);
	});
});

describe('a header within the budget', () => {
	it('is read beside the thread that serves everybody', async () => {
		const count = 2 ** 23;
		const file = write('strings', { entries: 2 }, [architecture, array('a', 8, count), 8 * count]);
		const { result, turns } = await whileRunning(() => readHeader(file));
		expect(result).not.toBeInstanceOf(Error);
		expect(turns).toBeGreaterThan(2);
	});

	it('gives JavaScript no arrays but typed ones, and no long ones that nothing asks for', async () => {
		const file = write('long', { entries: 5 }, [
			...[architecture, array('a', 7, 2 ** 20), 2 ** 20],
			...[array('b', 8, 5000), 8 * 5000],
			...[array('c', 7, 3), Buffer.of(1, 0, 7)],
			...[array('d', 12, 1), Buffer.alloc(8)],
		]);
		const { metadata } = await native.readGguf(file);
		expect(Object.fromEntries(metadata)).toEqual({
			'general.architecture': 'llama',
			a: { omitted: 2 ** 20 },
			b: { omitted: 5000 },
			c: Uint8Array.of(1, 0, 1),
			d: Float64Array.of(0),
		});
	});

	it('gives JavaScript no more than some megabytes of short arrays', async () => {
		const parts = Array.from({ length: 100 }, (_, i) => [array(`a.${i}`, 12, 4096), 8 * 4096]).flat();
		const { metadata } = await native.readGguf(write('short', { entries: 101 }, [architecture, ...parts]));
		const arrays = [...metadata.values()].filter((value) => value instanceof Float64Array);
		expect(arrays.length).toBeGreaterThan(10);
		expect(arrays.length).toBeLessThan(50);
		expect(metadata.get('a.99')).toEqual({ omitted: 4096 });
	});

	it('keeps the tables of a vocabulary, whatever their length', async () => {
		const file = path.join(folder, 'tables.gguf');
		const names = Array.from({ length: 50_000 }, (_, i) => `t${i}`);
		const metadata = new Map<string, GgufValue>([
			['general.architecture', { type: 'string', value: 'llama' }],
			['tokenizer.ggml.tokens', { type: 'strings', value: stringTable(names) }],
			['tokenizer.ggml.merges', { type: 'strings', value: stringTable(names) }],
			['tokenizer.ggml.token_type', { type: 'i32s', value: new Int32Array(50_000).fill(-3) }],
			['tokenizer.ggml.scores', { type: 'i32s', value: new Int32Array(50_000) }],
		]);
		await writeGguf(file, metadata, []);
		const header = await native.readGguf(file);
		expect(header.metadata.get('tokenizer.ggml.tokens')).toEqual(stringTable(names));
		expect(header.metadata.get('tokenizer.ggml.merges')).toEqual(stringTable(names));
		expect(header.metadata.get('tokenizer.ggml.token_type')).toEqual(new Int32Array(50_000).fill(-3));
		expect(header.metadata.get('tokenizer.ggml.scores')).toEqual({ omitted: 50_000 });
	});

	it('reads integers of every type', async () => {
		const bytes = (...values: number[]) => Buffer.from(values);
		const ones = (count: number) => Buffer.alloc(count, 255);
		const file = write('integers', { entries: 10 }, [
			architecture,
			...[array('u8', 0, 2), bytes(1, 255)],
			...[array('i8', 1, 2), bytes(1, 255)],
			...[array('u16', 2, 1), ones(2)],
			...[array('i16', 3, 1), ones(2)],
			...[array('u32', 4, 1), ones(4)],
			...[array('i32', 5, 1), ones(4)],
			...[array('u64', 10, 1), u64(2 ** 40)],
			...[array('i64', 11, 1), ones(8)],
			...[array('none', 5, 0)],
		]);
		const { metadata } = await native.readGguf(file);
		metadata.delete('general.architecture');
		expect(Object.fromEntries(metadata)).toEqual({
			u8: Int32Array.of(1, 255),
			i8: Int32Array.of(1, -1),
			u16: Int32Array.of(65_535),
			i16: Int32Array.of(-1),
			u32: Float64Array.of(2 ** 32 - 1),
			i32: Int32Array.of(-1),
			u64: Float64Array.of(2 ** 40),
			i64: Int32Array.of(-1),
			none: new Int32Array(0),
		});
	});

	it('says no word about rules that it was not given, and refuses bad ones', async () => {
		const file = write('rules', { entries: 1 }, [architecture]);
		expect(await native.readGguf(file)).not.toHaveProperty('refusal');
		expect((await readHeader(file)).refusal).toContain('lacks the metadata key llama.block_count');
		expect(() => native.readGguf(file, {} as never)).toThrow('preTokenizers, controlNames');
		writeFileSync(file, '');
		await expect(readHeader(file)).rejects.toThrow('is empty');
	});
});
