// The memory that a model needs, the memory that the machine has, and what happens when a model needs more than there
// is.
import { describe, expect, test } from 'vitest';
import { openModel } from '../../../engine/loading/open-model';
import { availableOfVmStat, linuxMemory } from '../../../engine/machine/memory';
import { catalogue, catalogueEntry, describeEntry, fileName } from '../../../engine/models/catalogue';
import catalogueData from '../../../engine/models/catalogue.json';
import { describeModel } from '../../../engine/models/describe';
import { readHeader } from '../../../engine/models/header';
import {
	alternatives,
	cacheBytesPerToken,
	cacheTokens,
	fitOf,
	type ModelSizes,
	NotEnoughMemoryError,
	needWith,
} from '../../../engine/models/memory-need';
import type { MemoryNeed } from '../../../engine/protocol';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { loadNative } from '../../../native/index';
import { makeModel, shapes, temporaryFolder } from '../../support/models';

const folder = temporaryFolder();
const GPT_OSS_20B: ModelSizes = { ...catalogueData.models[0]!.sizes!, weightBytes: 12_109_566_560 };

describe('what a model needs', () => {
	test.each(Object.entries(shapes))('is what the native core takes for its cache: %s', async (name, shape) => {
		const file = await makeModel(folder, name, { ...shape, contextLength: 4096 });
		const { sizes } = describeModel(await readHeader(file));
		const model = await loadNative().openModel(file);
		try {
			expect(sizes).toMatchObject({
				...{ layers: model.info.layers, embedding: model.info.embeddingLength, heads: model.info.headCount },
				...{ headsKv: model.info.headCountKv, keyLength: model.info.headLength, vocabulary: model.info.vocabularySize },
				...{ experts: model.info.expertCount, expertsUsed: model.info.expertUsedCount },
				...{ feedForward: model.info.expertFeedForwardLength, contextLength: model.info.contextLength },
			});
			for (const type of ['f16', 'q8_0'] as const) {
				expect(32 * cacheBytesPerToken(sizes!, type)).toBe(model.cacheBlockBytes(type));
			}
		} finally {
			model.close();
		}
	});

	test('is what the engine then holds, with the settings it is opened with', async () => {
		const file = await makeModel(folder, 'held', { contextLength: 4096 });
		const available = { totalBytes: 64e9, availableBytes: 32e9 };
		for (const cacheType of ['f16', 'q8_0'] as const) {
			const settings = { ...DEFAULT_SETTINGS, cacheType, contextTokens: 3001 };
			const { engine, need } = await openModel(file, {
				...{ contextTokens: 3001, cacheTokens: cacheTokens(settings), cacheType },
				memory: { settings, limit: 'available', available },
			});
			expect(need?.cacheBytes).toBe(engine.cacheBytes);
			expect(engine.heldBytes).toBe(0);
			await engine.generate({ tokens: [1, 2, 3], priority: 'chat', maxTokens: 1 });
			expect(engine.heldBytes).toBeGreaterThan(0);
			await engine.close();
			expect(engine.heldBytes).toBe(0);
		}
	});

	test('counts a smaller model that guesses ahead, without what both share', async () => {
		const file = await makeModel(folder, 'large', { contextLength: 4096 });
		const draftModelPath = await makeModel(folder, 'small', { contextLength: 2048, layers: 1 });
		const settings = { ...DEFAULT_SETTINGS, contextTokens: 3000 };
		const open = (path: string, availableBytes: number, draft?: string) =>
			openModel(path, {
				...{ contextTokens: 3000, cacheTokens: cacheTokens(settings), cacheType: 'f16', threads: 1 },
				...(draft !== undefined && { draftModelPath: draft }),
				memory: { settings, limit: 'available', available: { totalBytes: 64e9, availableBytes } },
			});
		const needs: MemoryNeed[] = [];
		for (const path of [file, draftModelPath]) {
			const { engine, need } = await open(path, 32e9);
			needs.push(need!);
			await engine.close();
		}
		const [large, small] = needs as [MemoryNeed, MemoryNeed];
		const both = await open(file, 32e9, draftModelPath);
		expect(both.draftProblem).toBeUndefined();
		const { weightBytes, cacheBytes, scratchBytes, totalBytes, draftBytes } = both.need!;
		expect(weightBytes).toBe(large.weightBytes + small.weightBytes);
		expect(cacheBytes).toBe(large.cacheBytes + small.cacheBytes);
		expect(totalBytes).toBe(weightBytes + cacheBytes + scratchBytes);
		expect(totalBytes).toBe(large.totalBytes + draftBytes!);
		expect(draftBytes).toBeLessThan(small.totalBytes);
		await both.engine.close();

		const short = await open(file, totalBytes - 1, draftModelPath);
		expect(short.draftProblem).toMatch(/small\.gguf would take another .* of memory/);
		expect(short.need).toEqual(large);
		await short.engine.close();
	});

	test('grows with the context by 48 KB a token for gpt-oss-20b, by about half of that with q8_0, and not past the model’s own', () => {
		expect(cacheBytesPerToken(GPT_OSS_20B, 'f16')).toBe(49_152);
		expect(cacheBytesPerToken(GPT_OSS_20B, 'q8_0')).toBe(26_112);
		const small = needWith(GPT_OSS_20B, { ...DEFAULT_SETTINGS, contextTokens: 8192 });
		expect(small.totalBytes).toBe(small.weightBytes + small.cacheBytes + small.scratchBytes);
		expect(small.totalBytes / 1e9).toBeCloseTo(13, 0);
		const short = { ...GPT_OSS_20B, contextLength: 2048 };
		expect(needWith(short, { ...DEFAULT_SETTINGS, contextTokens: 2048 })).toEqual(
			needWith(short, { ...DEFAULT_SETTINGS, contextTokens: 2000 + 48 }),
		);
	});
});

describe('too much for the machine', () => {
	const settings = { ...DEFAULT_SETTINGS, contextTokens: 65_536 };
	const need = needWith(GPT_OSS_20B, settings);

	test('is told before loading, with settings that would fit', async () => {
		expect(fitOf(need, { totalBytes: 64e9, availableBytes: need.totalBytes })).toBe('fits');
		expect(fitOf(need, { totalBytes: 64e9, availableBytes: 1e9 })).toBe('tight');
		expect(fitOf(need, { totalBytes: 16e9, availableBytes: 15e9 })).toBe('too-large');
		const found = alternatives(GPT_OSS_20B, settings, 13.4e9);
		expect(found).toEqual([
			{ contextTokens: 16_384, cacheType: 'q8_0' },
			{ contextTokens: 8_192, cacheType: 'f16' },
		]);
		for (const each of found) expect(needWith(GPT_OSS_20B, { ...settings, ...each }).totalBytes).toBeLessThan(13.4e9);
		expect(alternatives(GPT_OSS_20B, settings, 8e9)).toEqual([]);
		expect(alternatives(GPT_OSS_20B, { ...settings, cacheType: 'q8_0' }, 13.4e9)).toEqual([found[0]]);
	});

	test('is refused by openModel unless it may take anything', async () => {
		const file = await makeModel(folder, 'refused', { contextLength: 131_072 });
		const own = { ...DEFAULT_SETTINGS, contextTokens: 131_072 };
		const memory = {
			settings: own,
			limit: 'available' as const,
			available: { totalBytes: 400e6, availableBytes: 180e6 },
		};
		const error = await openModel(file, { contextTokens: 131_072, memory }).catch((reason) => reason);
		expect(error).toBeInstanceOf(NotEnoughMemoryError);
		expect(error.message).toMatch(
			/^\S+refused.gguf needs \d+ MB of memory, but 180 MB are available now; it would fit with a context of/,
		);
		expect(error.shortage.alternatives[0]).toMatchObject({ cacheType: 'q8_0' });
		const smaller = { ...own, ...error.shortage.alternatives[0] };
		const opened = await openModel(file, { ...smaller, memory: { ...memory, settings: smaller } });
		await opened.engine.close();
		await (await openModel(file, { contextTokens: 64 })).engine.close();
	});
});

describe('what the machine has', () => {
	const meminfo = 'MemTotal:       16000000 kB\nMemFree:          500000 kB\nMemAvailable:    9000000 kB\n';
	const fallback = { totalBytes: 1, availableBytes: 1 };
	const read = (files: Record<string, string>) => (file: string) => files[file];

	test('on Linux is the kernel’s own estimate', () => {
		expect(linuxMemory(read({ '/proc/meminfo': meminfo }), fallback)).toEqual({
			totalBytes: 16_384_000_000,
			availableBytes: 9_216_000_000,
		});
		expect(linuxMemory(read({}), fallback)).toEqual(fallback);
	});

	test('in a container is what it allows, its file cache not counted as used', () => {
		const group = '/sys/fs/cgroup/user.slice/a';
		const files = {
			'/proc/meminfo': meminfo,
			'/proc/self/cgroup': '0::/user.slice/a\n',
			[`${group}/memory.max`]: 'max\n',
			[`${group}/memory.current`]: '4000000000\n',
			'/sys/fs/cgroup/user.slice/memory.max': '6000000000\n',
			'/sys/fs/cgroup/user.slice/memory.current': '5000000000\n',
			'/sys/fs/cgroup/user.slice/memory.stat': 'anon 1000000000\ninactive_file 2500000000\nactive_file 500000000\n',
		};
		expect(linuxMemory(read(files), fallback)).toEqual({ totalBytes: 6e9, availableBytes: 4e9 });
		const first = {
			'/proc/meminfo': meminfo,
			'/proc/self/cgroup': '5:cpu,memory:/docker/x\n1:name=systemd:/y\n',
			'/sys/fs/cgroup/memory/memory.limit_in_bytes': '3000000000\n',
			'/sys/fs/cgroup/memory/memory.usage_in_bytes': '2900000000\n',
			'/sys/fs/cgroup/memory/memory.stat': 'total_inactive_file 1000000000\n',
		};
		expect(linuxMemory(read(first), fallback)).toEqual({ totalBytes: 3e9, availableBytes: 1.1e9 });
	});

	test('on macOS counts what is free, inactive and speculative', () => {
		const text = [
			'Mach Virtual Memory Statistics: (page size of 16384 bytes)',
			'Pages free:                               10000.',
			'Pages active:                            300000.',
			'Pages inactive:                          200000.',
			'Pages speculative:                         5000.',
			'Pages wired down:                        100000.',
		].join('\n');
		expect(availableOfVmStat(text)).toBe(215_000 * 16_384);
		expect(availableOfVmStat('vm_stat: error')).toBeUndefined();
	});
});

describe('the catalogue', () => {
	test('has what the issue asks for, each with a page, a size or a host that tells it, and its memory', () => {
		const memory = { totalBytes: 16e9, availableBytes: 12e9 };
		const entries = catalogue().map((entry) => describeEntry(entry, DEFAULT_SETTINGS, memory));
		expect(entries.map(({ id }) => id)).toEqual([
			...['gpt-oss-20b', 'gpt-oss-120b', 'gpt-oss-20b-eagle3'],
			...['qwen2.5-coder-1.5b', 'qwen2.5-coder-3b', 'qwen2.5-coder-7b', 'smollm2-135m'],
		]);
		for (const { id, fileBytes, memory: need, page, license } of entries) {
			expect(page).toMatch(/^https:\/\/huggingface\.co\//);
			if (id === 'gpt-oss-20b-eagle3') continue;
			expect(license).toBeTruthy();
			expect(need!.totalBytes).toBeGreaterThan(fileBytes!);
		}
		// The bytes of a pinned revision cannot change, so its checksum stays right.
		for (const { files } of catalogue()) {
			for (const { url, sha256, bytes } of files) {
				if (sha256 === undefined) expect(bytes).toBeUndefined();
				else expect(url).toMatch(/\/resolve\/[0-9a-f]{40}\//);
			}
		}
		expect(() => catalogueEntry('gpt-5')).toThrow('there is no model "gpt-5"; there are gpt-oss-20b, ');
	});

	test.each([
		'https://x.example/',
		'https://x.example/..',
		'https://x.example/a%2f..%2fb',
		'https://x.example/.hidden',
		'https://x.example/a%5Cb',
		'https://x.example/a:b',
	])('an address such as %s names no file', (url) => expect(() => fileName(url)).toThrow('no usable file name'));
});
